// A reading as the page keeps it: tokens, who says them, and their scores at every layer held.

import { Z_SCALE } from "../lib/scale.js";

// What app/read/calls.py packs: a step for each layer and token, then whole numbers.
export function unpackCells(packed, nLayers, nTokens, nConcepts) {
  const binary = atob(packed);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i += 1) bytes[i] = binary.charCodeAt(i);
  const nSteps = nLayers * nTokens;
  const steps = new Float32Array(bytes.buffer, 0, nSteps);
  const whole = new Int16Array(bytes.buffer, 4 * nSteps, nSteps * nConcepts);
  return (layer, token, concept) => {
    const place = layer * nTokens + token;
    return whole[place * nConcepts + concept] * steps[place];
  };
}

export class Reading {
  // `answer`: what `read_text` gives; `asked`: the question, to ask for more.
  constructor(answer, asked) {
    const { run, tokens, roles, concepts, layers, best, turns } = answer;
    Object.assign(this, { run, tokens, roles, concepts, layers, best, asked });
    this.said = turns;
    this.pieces = spelled(tokens);
    this.scored = answer.scored.map(Boolean);
    this.cells = { z: new Map(), cosine: new Map(), raw: new Map() };
    this.take(answer);
  }

  // Scores of more layers, or in another unit.
  take({ kind, held, scores }) {
    const { tokens, concepts } = this;
    const at = unpackCells(scores, held.length, tokens.length, concepts.length);
    held.forEach((layer, index) => {
      this.cells[kind].set(layer, (token, concept) => at(index, token, concept));
    });
  }

  has(kind, layer) {
    return this.cells[kind].has(layer);
  }

  z(layer, token, concept) {
    return this.cells.z.get(layer)?.(token, concept) ?? Number.NaN;
  }

  score(kind, layer, token, concept) {
    return this.cells[kind].get(layer)?.(token, concept) ?? Number.NaN;
  }
}

// A score in any unit; other readings than ours, such as a chat's, have z alone.
export function scoreOf(reading, kind, layer, token, concept) {
  return reading.score && kind !== "z"
    ? reading.score(kind, layer, token, concept)
    : reading.z(layer, token, concept);
}

// Tokens that count for the text's means: of an answer that grows its own; else the model's, or
// where it says nothing all that count.
export function ownTokens(reading) {
  if (reading.growing && reading.answered.length) return reading.answered;
  const scored = [...reading.tokens.keys()].filter((token) => reading.scored[token]);
  const own = scored.filter((token) => reading.roles[token] === "assistant");
  if (own.length) return own;
  return scored.length ? scored : [...reading.tokens.keys()];
}

// Mean of every concept over some tokens.
export function means(reading, layer, tokens, kind = "z") {
  const sums = new Float64Array(reading.concepts.length);
  for (const token of tokens) {
    for (let c = 0; c < sums.length; c += 1) sums[c] += scoreOf(reading, kind, layer, token, c);
  }
  return sums.map((sum) => sum / Math.max(1, tokens.length));
}

// Highest z of every concept over some tokens.
export function peaks(reading, layer, tokens) {
  return reading.concepts.map((_, c) =>
    tokens.reduce((most, token) => Math.max(most, reading.z(layer, token, c)), -Infinity),
  );
}

// Positions of the concepts, highest value first; equal ones keep their order.
export function ranked(values) {
  return [...values.keys()].sort((a, b) => values[b] - values[a] || a - b);
}

// Which concepts a bar chart shows: all, or the first and the last of many with a gap (null).
export function topAndTail(order, top, tail) {
  if (order.length <= top + tail) return order;
  return [...order.slice(0, top), null, ...order.slice(order.length - tail)];
}

// Concepts whose names contain one of the words between commas; null where there are none.
export function matching(concepts, words) {
  const parts = words.toLowerCase().split(",");
  const asked = parts.map((part) => part.trim()).filter(Boolean);
  const found = concepts.filter((name) => asked.some((part) => name.toLowerCase().includes(part)));
  return found.length ? new Set(found) : null;
}

// The rows of a map in the order asked for: the `most` highest of `values`, or those in `only`.
export function mapRows(reading, { order, values, highest, alike, most, only }) {
  const byValue = ranked(order === "peak" ? highest : values);
  const shown = only
    ? byValue.filter((concept) => only.has(reading.concepts[concept]))
    : byValue.slice(0, most);
  if (order === "alphabet") {
    const name = (c) => reading.concepts[c].toLowerCase();
    return shown.sort((a, b) => (name(a) < name(b) ? -1 : 1));
  }
  if (order === "similarity" && alike) {
    const place = new Map(alike.map((concept, at) => [reading.concepts.indexOf(concept), at]));
    return shown.sort((a, b) => place.get(a) - place.get(b));
  }
  return shown;
}

// The colours of one row. z has one scale everywhere; a cosine one per layer; raw scores one per
// row, because those of two concepts cannot be compared.
export function scaleOf(reading, kind, layer, concept) {
  if (kind === "z") return Z_SCALE;
  const tokens = [...reading.tokens.keys()].filter((token) => reading.scored[token]);
  const concepts = kind === "raw" ? [concept] : [...reading.concepts.keys()];
  const scores = tokens.flatMap((t) => concepts.map((c) => reading.score(kind, layer, t, c)));
  const middle = kind === "raw" ? quantile(scores, 0.5) : 0;
  const reach = quantile(
    scores.map((score) => Math.abs(score - middle)),
    0.99,
  );
  return { middle, reach: reach > 0 ? reach : 1 };
}

export function quantile(values, share) {
  const sorted = values.filter(Number.isFinite).sort((a, b) => a - b);
  if (!sorted.length) return 0;
  return sorted[Math.min(sorted.length - 1, Math.round(share * (sorted.length - 1)))];
}

// The text in turns: who speaks, and which tokens; template tokens go with the turn before them.
export function turnsOf(reading) {
  if (reading.turns) return reading.turns;
  const turns = [];
  reading.roles.forEach((role, token) => {
    const last = turns.at(-1);
    if (last && (last.role === role || role === "template")) last.positions.push(token);
    else if (last && last.role === "template") {
      last.role = role;
      last.positions.push(token);
    } else turns.push({ role, positions: [token] });
  });
  return turns;
}

// A token as people write it: "·word" begins with a space, "⏎" is a line break.
export function written(token) {
  return token.replace(/^·+/, (dots) => " ".repeat(dots.length)).replaceAll("⏎", "\n");
}

// What each token adds to the text: a character of several tokens belongs to the last of them.
export function spelled(tokens) {
  const [encoder, decoder] = [new TextEncoder(), new TextDecoder("utf-8", { ignoreBOM: true })];
  return tokens.map((token) => {
    const bytes = written(token)
      .split(/<0x([0-9A-F]{2})>/)
      .flatMap((part, at) => (at % 2 ? [Number.parseInt(part, 16)] : [...encoder.encode(part)]));
    return decoder.decode(new Uint8Array(bytes), { stream: true });
  });
}

// What stands for a token where it is shown alone.
export function named(token) {
  return token.replace(/^·(?=.)/, "") || token;
}

// The band of neutral texts as `read_chance` gives it: ends by layer and concept, thresholds.
export class Chance {
  constructor(answer, nConcepts) {
    Object.assign(this, { run: answer.run, asked: answer.asked, length: answer.length });
    this.texts = answer.texts;
    this.layers = answer.layers;
    const at = unpackCells(answer.ends, answer.layers.length, 5, nConcepts);
    this.at = (what, layer, concept) => {
      const index = this.layers.indexOf(layer);
      return index < 0 ? Number.NaN : at(index, what, concept);
    };
  }

  // [low, high] of the mean over the text, or of a single token.
  band(layer, concept, single) {
    const first = single ? 2 : 0;
    return [this.at(first, layer, concept), this.at(first + 1, layer, concept)];
  }

  threshold(layer, concept) {
    return this.at(4, layer, concept);
  }
}
