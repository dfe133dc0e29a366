// An answer while it grows: a reading of the layers that cost nothing to read meanwhile.

import { unpackCells } from "./reading.js";

export class GrowingReading {
  // `turns`: of the tree, as far as the answer; `steered`: whether the model was pushed meanwhile.
  constructor(turns, { steered = false } = {}) {
    Object.assign(this, { path: turns, steered, growing: true, asked: null, source: null });
    Object.assign(this, { run: "", tokens: [], pieces: [], roles: [], scored: [], rows: [] });
    Object.assign(this, { concepts: [], layers: [], best: null, turns: [] });
  }

  // What the server says there is to come; says whether anything of it was new.
  begin(source) {
    const { run_id: run, concepts, layers, best } = source;
    Object.assign(this, { source, run, concepts, layers, best });
  }

  // Put news where they belong; says whether anything came. What came twice is put once.
  take(news) {
    const n = news?.tokens.length ?? 0;
    if (!this.source || n === 0 || news.start > this.rows.length) return false;
    const at = unpackCells(news.z, this.layers.length, n, this.concepts.length);
    const keep = (list, more) => list.splice(news.start, list.length, ...more);
    keep(this.tokens, news.tokens);
    keep(this.pieces, news.pieces);
    keep(this.roles, news.roles);
    keep(
      this.scored,
      news.roles.map((role, index) => role !== "template" && news.start + index > 0),
    );
    keep(
      this.rows,
      [...news.tokens.keys()].map((token) => (layer, concept) => at(layer, token, concept)),
    );
    this.turns = turnsOfPath(this.path, this.roles);
    return true;
  }

  z(layer, token, concept) {
    const place = this.layers.indexOf(layer);
    return place < 0 || !this.rows[token] ? Number.NaN : this.rows[token](place, concept);
  }

  // The tokens of the answer so far.
  get answered() {
    if (!this.source) return [];
    const all = [...this.tokens.keys()].slice(this.source.n_prompt);
    return all.filter((token) => this.scored[token]);
  }

  // What the model has said so far of its turn, with what the turn was begun with.
  get said() {
    const { source, pieces, roles } = this;
    if (!source) return "";
    return pieces.filter((_, at) => at >= source.n_prompt && roles[at] !== "template").join("");
  }
}

// Which tokens belong to which turn of the tree: [{role, text, positions, id}], a system prompt
// first; template tokens go with what follows them. Turns that were not read have no positions.
// Null where the template does not keep the turns apart.
export function turnsOfPath(path, roles) {
  const runs = [];
  let waiting = []; // template tokens that belong to what follows
  roles.forEach((role, token) => {
    if (role === "template") {
      waiting.push(token);
      return;
    }
    const last = runs.at(-1);
    if (last?.role === role) last.positions.push(...waiting, token);
    else runs.push({ role, positions: [...waiting, token] });
    waiting = [];
  });
  runs.at(-1)?.positions.push(...waiting);
  const system = runs[0]?.role === "system" ? runs.shift() : null;
  const fits = runs.length <= path.length && runs.every((run, at) => run.role === path[at].role);
  if (!fits) return null;
  const turns = path.map(({ role, text, id }, at) => {
    return { role, text, id, positions: runs[at]?.positions ?? null };
  });
  return system ? [{ ...system, id: null }, ...turns] : turns;
}

// A reading of a whole chat, told which of its tokens are whose; the same scores.
export function withTurns(reading, path) {
  const turns = turnsOfPath(path, reading.roles);
  return Object.assign(Object.create(Object.getPrototypeOf(reading)), reading, { turns });
}

// One turn of a reading alone, for a place that shows nothing else.
export function oneTurn(reading, id) {
  const turns = (reading.turns || []).filter((turn) => turn.id === id);
  return Object.assign(Object.create(Object.getPrototypeOf(reading)), reading, { turns });
}
