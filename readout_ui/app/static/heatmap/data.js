// A packed score map (views/score_map.py) as numbers: score(unit, row, column).

const HALVES = decodeHalves();

// The 65,536 half precision numbers.
function decodeHalves() {
  const table = new Float32Array(65536);
  for (let bits = 0; bits < 65536; bits += 1) {
    const sign = bits & 0x8000 ? -1 : 1;
    const exponent = (bits >> 10) & 31;
    const rest = bits & 1023;
    if (exponent === 0) table[bits] = sign * rest * 2 ** -24;
    else if (exponent === 31) table[bits] = rest ? NaN : sign * Infinity;
    else table[bits] = sign * (1 + rest / 1024) * 2 ** (exponent - 15);
  }
  return table;
}

export function unpackMap(packed) {
  const binary = atob(packed);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i += 1) bytes[i] = binary.charCodeAt(i);
  const length = new DataView(bytes.buffer).getUint32(0, true);
  const map = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  const nColumns = map.tokens.length;
  const nRows = map.rows.length + (map.strip ? 1 : 0);
  let at = 4 + length;
  const take = (n) => {
    at += n;
    return bytes.slice(at - n, at);
  };
  for (const unit of map.units) {
    if (unit.kind === "half") unit.codes = new Uint16Array(take(2 * nRows * nColumns).buffer);
    if (unit.kind === "steps") unit.codes = take(nRows * nColumns);
  }
  const [rows, columns] = map.overview;
  map.pooled = take(rows * columns);
  map.score = (index, row, column) => {
    const unit = map.units[index];
    const cell = row * nColumns + column;
    if (unit.kind === "half") return HALVES[unit.codes[cell]] + unit.offset[row];
    if (unit.kind === "line") {
      return map.score(unit.of, row, column) * unit.gain[row] + unit.shift[row];
    }
    const code = unit.codes[cell];
    return code ? unit.low[row] + (code - 1) * unit.step[row] : NaN;
  };
  map.first = 1; // the number of the first token
  map.colours = Boolean(map.strip); // a row label then colours the text
  map.share = (score) => Math.max(-1, Math.min(1, (score - map.middle) / map.reach));
  return map;
}

// One line per score, as exact as it was sent.
export function scoreLines(map, row, column) {
  return map.units.map((unit, index) => {
    const score = map.score(index, row, column);
    return `${unit.name} ${
      Number.isFinite(score) ? score.toFixed(unit.digits).replace("-", "−") : "none"
    }`;
  });
}

export function cssColour(map, share, strength) {
  const [red, green, blue] = share >= 0 ? map.above : map.below;
  return `rgba(${red},${green},${blue},${(Math.abs(share) * strength).toFixed(3)})`;
}
