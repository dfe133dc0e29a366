// A chat as a tree: every turn may have several ways on, of which one is shown. No page in here.
//
// A turn: {id, parent, role, text, when, children: [id], shown: place in children, star, note} and,
// of an answer, what made it: {recipe, sampling}. The root is the turn before the first one.

const ROOT = "0";
const ROLES = ["user", "assistant"];
const TITLE = 48;

export class Tree {
  // `data`: what `toJSON` gave; nothing for an empty chat.
  constructor(data = null) {
    this.turns = data ? data.turns : { [ROOT]: { id: ROOT, children: [], shown: 0 } };
    this.next = data ? data.next : 1;
  }

  toJSON() {
    return { turns: this.turns, next: this.next };
  }

  turn(id) {
    return this.turns[id];
  }

  get empty() {
    return this.turns[ROOT].children.length === 0;
  }

  // The turns that are shown, first to last.
  get path() {
    return this.pathFrom(ROOT);
  }

  pathFrom(id) {
    const found = [];
    let at = this.turns[id];
    while (at.children.length > 0) {
      at = this.turns[at.children[at.shown]];
      found.push(at);
    }
    return found;
  }

  get last() {
    return this.path.at(-1) ?? null;
  }

  // The turns from the first one to this one.
  pathTo(id) {
    const found = [];
    for (let at = this.turns[id]; at && at.id !== ROOT; at = this.turns[at.parent]) {
      found.unshift(at);
    }
    return found;
  }

  // One more way on from `parent` (a turn's id, null for the beginning), which is shown from now on.
  add(parent, { role, text, ...more }) {
    const before = this.turns[parent ?? ROOT];
    const id = String(this.next);
    this.next += 1;
    const when = new Date().toISOString();
    const turn = { id, parent: before.id, role, text, when, children: [], shown: 0, ...more };
    this.turns[id] = turn;
    before.children.push(id);
    before.shown = before.children.length - 1;
    return turn;
  }

  // The same place in the chat with another text; what followed the first stays with it.
  edit(id, text) {
    const { parent, role } = this.turns[id];
    return this.add(parent, { role, text });
  }

  // Where a turn stands among the ways on from the turn before it.
  branch(id) {
    const { children } = this.turns[this.turns[id].parent];
    return { at: children.indexOf(id) + 1, of: children.length };
  }

  // Show the way beside this one; nothing at either end. Says whether another is shown now.
  step(id, by) {
    const before = this.turns[this.turns[id].parent];
    const place = before.children.indexOf(id) + by;
    if (place < 0 || place >= before.children.length) return false;
    before.shown = place;
    return true;
  }

  // Make a turn one of those shown, with all before it.
  show(id) {
    for (const turn of this.pathTo(id)) {
      const before = this.turns[turn.parent];
      before.shown = before.children.indexOf(turn.id);
    }
  }

  // Take a turn and everything after it away; the way before it is shown.
  remove(id) {
    const { parent } = this.turns[id];
    const before = this.turns[parent];
    const place = before.children.indexOf(id);
    before.children.splice(place, 1);
    if (before.shown >= place) before.shown = Math.max(0, before.shown - 1);
    const gone = [id];
    while (gone.length > 0) {
      const turn = this.turns[gone.pop()];
      gone.push(...turn.children);
      delete this.turns[turn.id];
    }
  }

  // Every whole way through the chat: the id of its last turn, and where it parts from the others.
  get leaves() {
    const every = Object.values(this.turns);
    return every.filter((turn) => turn.id !== ROOT && turn.children.length === 0);
  }

  // What the model is told of the chat as far as a turn.
  told(id) {
    return this.pathTo(id).map(({ role, text }) => ({ role, text }));
  }

  // The shown turn with the same turns before it, null where another branch is shown or was read.
  find(turns) {
    const { path } = this;
    const same = turns.every(
      (turn, at) => path[at]?.role === turn.role && path[at].text === turn.text,
    );
    return same ? (path[turns.length] ?? null) : null;
  }

  // The first words from a turn on, counted from 0.
  title(from = 0) {
    const first = this.path.slice(from).find((turn) => turn.text.trim()) ?? this.path[0];
    const words = (first?.text ?? "Empty chat").trim().replace(/\s+/g, " ");
    return words.length > TITLE ? `${words.slice(0, TITLE - 1)}…` : words;
  }
}

// What a file or the browser's memory holds, as a tree. Throws an Error that says what is wrong.
export function readTree(value) {
  const turns = value?.turns;
  if (!turns?.[ROOT]?.children || !Number.isInteger(value.next)) throw new Error("not a chat");
  const seen = new Set();
  const waiting = [ROOT];
  while (waiting.length > 0) {
    const id = waiting.pop();
    const turn = turns[id];
    if (seen.has(id) || !turn || turn.id !== id)
      throw new Error(`turn ${id} is not where it belongs`);
    seen.add(id);
    const fits = id === ROOT || (ROLES.includes(turn.role) && typeof turn.text === "string");
    const shown = turn.children?.[turn.shown] !== undefined || turn.children?.length === 0;
    if (!fits || !shown || Number(id) >= value.next) throw new Error(`turn ${id} is no turn`);
    for (const child of turn.children) {
      if (turns[child]?.parent !== id) throw new Error(`turn ${child} is not where it belongs`);
      waiting.push(child);
    }
  }
  if (seen.size !== Object.keys(turns).length) throw new Error("some turns belong to no chat");
  return new Tree(value);
}
