// Tokens and scores of one answer as the server sent them, and their colours.

const MOST_CELLS = 20000;
const ROLES = { t: "template", s: "system", u: "user", a: "assistant" };

export function emptyStream(number = 0, base = []) {
  return {
    number,
    base,
    state: "waiting",
    before: [],
    made: 0,
    error: "",
    source: null,
    ending: null,
    pieces: [],
    tokens: [],
    roles: [],
    rows: [],
    reach: 1,
  };
}

// Whole numbers of 2 bytes times a step, as `pack_scores` wrote them: one row per token.
function unpackRows(news, width) {
  const bytes = Uint8Array.from(atob(news.scores), (letter) => letter.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  const rows = [];
  for (let row = 0; row < news.tokens.length; row += 1) {
    const scores = new Float32Array(width);
    for (let column = 0; column < width; column += 1) {
      scores[column] = view.getInt16(2 * (row * width + column), true) * news.step;
    }
    rows.push(scores);
  }
  return rows;
}

// Put news where they belong; says whether anything came. What came twice is put once.
export function takeNews(stream, news) {
  if (!news || news.start > stream.rows.length) return false;
  const rows = unpackRows(news, stream.source.concepts.length);
  const keep = (list, more) => list.splice(news.start, list.length, ...more);
  const before = stream.rows.length;
  keep(stream.pieces, news.pieces);
  keep(stream.tokens, news.tokens);
  keep(
    stream.roles,
    [...news.roles].map((letter) => ROLES[letter]),
  );
  keep(stream.rows, rows);
  return rows.length > 0 || news.start < before;
}

// The first token carries massive activations and template tokens mean little: no colour.
export function isScored(stream, index) {
  return index > 0 && stream.roles[index] !== "template";
}

// The score of full colour: the largest but for one in a hundred. It only grows while tokens come,
// and only by a visible step, so that the text does not change colour at every token.
export function fitReach(stream, quantile) {
  const sizes = [];
  const cells = stream.rows.length * (stream.source?.concepts.length ?? 0);
  const stride = Math.max(1, Math.ceil(cells / MOST_CELLS));
  stream.rows.forEach((row, index) => {
    if (!isScored(stream, index)) return;
    for (let at = index % stride; at < row.length; at += stride) sizes.push(Math.abs(row[at]));
  });
  if (sizes.length === 0) return stream.reach;
  sizes.sort((one, other) => one - other);
  const reach = sizes[Math.min(sizes.length - 1, Math.floor(quantile * sizes.length))] || 1;
  return reach > stream.reach * 1.1 || reach < stream.reach / 2 ? reach : stream.reach;
}

export function colourOf(score, reach, look, strength = look.strength) {
  const share = Math.max(-1, Math.min(1, score / reach));
  const [red, green, blue] = share >= 0 ? look.above : look.below;
  return `rgba(${red},${green},${blue},${(Math.abs(share) * strength).toFixed(3)})`;
}

// Positions of the answer's own tokens up to `last`.
export function answerPositions(stream, last = stream.rows.length - 1) {
  const positions = [];
  for (let index = stream.source ? stream.source.n_prompt : 0; index <= last; index += 1) {
    if (stream.roles[index] === "assistant") positions.push(index);
  }
  return positions;
}

export function meanRow(stream, positions) {
  const mean = new Float32Array(stream.source.concepts.length);
  for (const index of positions) {
    stream.rows[index].forEach((score, at) => {
      mean[at] += score;
    });
  }
  return mean.map((sum) => sum / Math.max(1, positions.length));
}

// Tokens of each turn: runs of one speaker. `turns` holds user and assistant turns in order, or
// null where the template joined some; `system` and `template` hold the others.
export function streamParts(stream) {
  const runs = [];
  let last = null;
  stream.roles.forEach((role, index) => {
    const answers = stream.source && index >= stream.source.n_prompt;
    if (answers && role === "template") return;
    if (!last || last.role !== role || (answers && !last.answers)) {
      last = { role, answers, positions: [] };
      runs.push(last);
    }
    last.positions.push(index);
  });
  const merged = runs.filter((run) => !run.answers);
  const answer = runs.filter((run) => run.answers).flatMap((run) => run.positions);
  const spoken = merged.filter((run) => run.role === "user" || run.role === "assistant");
  const fits =
    spoken.length === stream.base.length &&
    spoken.every((run, at) => run.role === stream.base[at].role);
  return { runs: merged, spoken: fits ? spoken : null, answer };
}
