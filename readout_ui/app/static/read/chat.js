// The chat of the room Read: what was read may be the first turn; every answer is a branch of a tree.

import { el, say } from "../lib/dom.js";
import { saveText } from "../lib/download.js";
import { buildReply, chatRows, editorOf, headOf, noteOf, statusWords } from "./chat_parts.js";
import {
  dropChat,
  keepChat,
  keepSettings,
  leaveChat,
  listChats,
  loadChat,
  loadSettings,
  newChat,
  readChat,
} from "./chats.js";
import { CompareView } from "./compare.js";
import { popover } from "./gear.js";
import { GrowingReading, turnsOfPath, withTurns } from "./growing.js";
import { Reading, turnsOf } from "./reading.js";
import { buildSampling } from "./sampling.js";
import { SteerDrawer } from "./steer.js";

const POLL_MS = 120;
const LOST = "The app was restarted and lost this answer. Press Again.";
const SILENT = "The model ended its answer without a word. Press Send for the next seed.";

export function mountChat({ room, server }) {
  const chat = new Chat(room, server);
  chat.begin();
  return chat;
}

class Chat {
  constructor(room, server) {
    Object.assign(this, { room, server, readings: new Map(), answering: null, editing: null });
    this.kept = loadChat();
    this.settings = loadSettings({});
    this.heads = [];
    this.last = {}; // what is said of the last answer
    this.parts = buildReply(this);
    this.parts.box.value = this.kept.draft;
    room.place("chat").append(this.parts.element);
    this.menu = popover(this.parts.opener, this.parts.list);
    this.steer = new SteerDrawer(this);
    this.compare = new CompareView(this);
  }

  get tree() {
    return this.kept.tree;
  }

  get busy() {
    return this.answering !== null;
  }

  // Whether there is more than the text that was read.
  get owns() {
    return Boolean(this.kept.changed) && !this.tree.empty;
  }

  ask(name, request) {
    return this.room.ask(name, request);
  }

  async begin() {
    this.listen();
    const answer = await this.ask("chat_look", {});
    this.settings = loadSettings(answer.sampling ?? {});
    this.sampling = buildSampling(this.settings, () => this.keepSettings());
    this.room.gear.append(this.sampling.element);
    this.steer.begin();
    if (this.kept.asked) this.resume();
    else if (this.owns) this.showPath();
    this.draw();
    this.parts.box.fit();
  }

  listen() {
    const { room, parts } = this;
    room.onTurns((heads) => {
      this.heads = heads;
      this.drawHeads();
    });
    document.addEventListener("read-fork", (event) => this.fork(event.detail));
    parts.opener.addEventListener("click", () => this.drawList());
    document.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || event.defaultPrevented || !this.busy) return;
      if (parts.element.offsetParent === null || document.querySelector("dialog[open]")) return;
      event.preventDefault();
      this.stop();
    });
  }

  keep() {
    if (!keepChat(this.kept))
      say(this.parts.line, "This browser has no room for the chat; download it.");
  }

  keepSettings() {
    keepSettings(this.settings);
  }

  typed(text) {
    this.kept.draft = text;
    if (this.owns) this.keep();
  }

  // What was read.

  // A text became a reading: it is the first turn, unless the chat here begins with it already.
  take(reading, { turns, mode }) {
    const system = turns[0]?.role === "system" ? turns[0].text : "";
    const said = turns.filter((turn) => turn.role !== "system");
    const { path } = this.tree;
    const same =
      said.length > 0 &&
      said.every(
        (turn, at) => path[at]?.role === turn.role && path[at].text.trim() === turn.text.trim(),
      );
    if (!same) {
      this.leave();
      this.kept = newChat(system, mode === "assistant" ? 1 : 0);
      for (const turn of said) this.tree.add(this.tree.last?.id, turn);
    }
    this.readings.clear();
    this.compare.prefill();
    const last = this.tree.path[said.length - 1];
    if (last) this.readings.set(last.id, reading);
    this.showPath();
  }

  // Other vectors are in use: what is shown is read with them.
  reread() {
    this.readings.clear();
    this.showPath();
  }

  // The branch that is shown, with the deepest reading there is; the rest is read when it comes.
  showPath() {
    const { tree, readings, room, answering } = this;
    const { path } = tree;
    const under = answering && path.includes(answering.turn);
    const read = path.findLast((turn) => readings.has(turn.id));
    if (under && answering.reading.tokens.length) room.show(answering.reading);
    else if (read) this.showReading(readings.get(read.id), path);
    this.draw();
    const last = under ? answering.turn : path.at(-1);
    if (last && !under && !readings.has(last.id)) this.readPath(last);
  }

  // A reading that is on screen already is not drawn again where only its turns get names.
  showReading(reading, path) {
    const turns = turnsOfPath(path, reading.roles);
    const whole = turns?.every((turn) => turn.positions);
    if (reading === this.room.reading && whole && turns.length === turnsOf(reading).length)
      reading.turns = turns;
    else this.room.show(withTurns(reading, path));
  }

  told(id) {
    const system = (this.kept.system || this.settings.system).trim();
    return [...(system ? [{ role: "system", text: system }] : []), ...this.tree.told(id)];
  }

  // The chat as far as a turn, read by the model as it is.
  async readPath(turn) {
    if (!this.room.state.ready) return;
    const { kept } = this;
    const asked = { text: "", mode: "chat", turns: this.told(turn.id) };
    const answer = await this.ask("read_text", { ...asked, kind: "z", layers: null });
    if (kept !== this.kept || !this.tree.turn(turn.id)) return;
    if (!answer.ok) {
      say(this.parts.line, answer.message);
      return;
    }
    const reading = new Reading(answer, asked);
    const live = this.readings.get(turn.id);
    // Broken characters become other tokens when the text is read again: then what came live stays.
    if (live && !sameTokens(live, reading)) return;
    this.readings.set(turn.id, reading);
    if (this.tree.path.includes(turn)) this.showPath();
  }

  // Asking, and following the answer.

  send() {
    const { parts, tree, kept } = this;
    const text = parts.box.value.trim();
    const { last } = tree;
    if (this.busy || !this.mayAsk()) return;
    if (!text && last?.role !== "user") return;
    let asked = last;
    if (text && last?.role === "user") asked = tree.edit(last.id, `${last.text}\n\n${text}`);
    else if (text) asked = tree.add(last?.id, { role: "user", text });
    parts.box.value = "";
    parts.box.fit();
    kept.draft = "";
    this.answer(asked, { recipe: this.settings.steering ? this.settings.recipe : "" });
  }

  mayAsk() {
    const { ready, missing, run } = this.room.state;
    if (ready) return true;
    say(
      this.parts.line,
      run ? missing || "The model is not loaded yet." : "Train first; then the model answers here.",
    );
    return false;
  }

  // One more answer after a turn; gives the finished turn, or null.
  async answer(parent, { recipe = "", begun = "" } = {}) {
    const { kept, tree } = this;
    const { sampling, thinking } = this.settings;
    say(this.parts.line, "");
    this.editing = null;
    const turn = tree.add(parent.id, {
      role: "assistant",
      text: begun,
      recipe,
      sampling: { ...sampling },
    });
    const reading = new GrowingReading(tree.pathTo(turn.id), { steered: Boolean(recipe) });
    const mine = { turn, reading, number: 0, state: "waiting", before: [], made: 0 };
    this.answering = mine;
    this.keep();
    this.showPath();
    const turns = tree.told(parent.id);
    const system = kept.system || this.settings.system;
    const asked = { chat: kept.id, turns, system, sampling, thinking, recipe, begun };
    const answer = await this.ask("chat_ask", asked);
    if (this.answering !== mine) return null;
    if (!answer.ok) return this.fail(mine, answer.message);
    mine.number = answer.number;
    kept.asked = { number: answer.number, turn: turn.id };
    this.keep();
    return this.follow(mine);
  }

  // After a reload: the answer goes on, or is still there.
  resume() {
    const { number, turn: id } = this.kept.asked;
    const turn = this.tree.turn(id);
    if (!turn) return;
    const reading = new GrowingReading(this.tree.pathTo(id), { steered: Boolean(turn.recipe) });
    this.answering = { turn, reading, number, state: "waiting", before: [], made: 0 };
    this.showPath();
    this.follow(this.answering);
  }

  async follow(mine) {
    while (this.answering === mine) {
      const request = { chat: this.kept.id, have: mine.reading.tokens.length };
      const answer = await this.ask("chat_poll", request);
      if (this.answering !== mine) return null;
      if (!answer.ok) this.parts.status.textContent = answer.message;
      else if (answer.number !== mine.number) return this.fail(mine, LOST);
      else if (this.takeNews(mine, answer)) return this.finish(mine, answer);
      await new Promise((resume) => {
        setTimeout(resume, POLL_MS);
      });
    }
    return null;
  }

  // News of the answer under way; says whether it has ended.
  takeNews(mine, answer) {
    const { state, before, made, source, news } = answer;
    Object.assign(mine, { state, before, made });
    if (source) mine.reading.begin(source);
    if (mine.reading.take(news) && this.tree.path.includes(mine.turn)) this.room.show(mine.reading);
    this.drawState();
    return !["waiting", "running"].includes(state);
  }

  finish(mine, { ending, error }) {
    const { turn, reading } = mine;
    if (!ending) return this.fail(mine, error);
    if (!ending.text.trim()) {
      this.settings.sampling.seed = (Number(this.settings.sampling.seed) || 0) + 1;
      this.sampling?.show();
      return this.fail(mine, SILENT);
    }
    turn.text = ending.text;
    reading.growing = false;
    this.readings.set(turn.id, reading);
    this.settle({ state: "done", ending });
    // The same scores at every layer; a steered answer's are those of the steered model.
    if (!turn.recipe) this.readPath(turn);
    return turn;
  }

  fail(mine, message) {
    this.tree.remove(mine.turn.id);
    this.settle({});
    say(this.parts.line, message);
    return null;
  }

  settle(last) {
    Object.assign(this, { answering: null, last });
    this.kept.asked = null;
    this.keep();
    this.showPath();
  }

  stop() {
    if (this.busy) this.ask("chat_stop", { chat: this.kept.id });
  }

  // Another chat takes the place of this one.
  leave() {
    this.stop();
    leaveChat();
    Object.assign(this, { answering: null, editing: null, last: {} });
    this.readings.clear();
    say(this.parts.line, "");
  }

  // What turns ask for.

  step(turn, by) {
    const { tree } = this;
    const siblings = tree.turn(turn.parent).children;
    if (!tree.step(turn.id, by)) return;
    this.keep();
    this.showPath();
    const head = this.head(siblings[siblings.indexOf(turn.id) + by]);
    const [before, next] = [...(head?.querySelectorAll(".rc-step") ?? [])];
    (by < 0 ? before : next)?.focus();
    if (document.activeElement?.closest(".rd-turn") !== head) (by < 0 ? next : before)?.focus();
  }

  again(turn) {
    const { sampling } = this.settings;
    sampling.seed = (Number(sampling.seed) || 0) + 1;
    this.sampling?.show();
    this.keepSettings();
    if (this.mayAsk()) this.answer(this.tree.turn(turn.parent), { recipe: turn.recipe });
  }

  edit(turn, text = turn.text) {
    this.editing = { id: turn.id, text };
    this.drawHeads();
    const box = this.head(turn.id)?.querySelector(".rc-edit-box");
    box?.focus();
    box?.setSelectionRange(box.value.length, box.value.length);
  }

  saveEdit(turn, text) {
    if (!text.trim()) {
      say(this.parts.line, "A turn cannot be empty.");
      return;
    }
    const other = this.tree.edit(turn.id, text);
    this.editing = null;
    if (turn.role === "user" && this.mayAsk())
      this.answer(other, { recipe: this.settings.steering ? this.settings.recipe : "" });
    else {
      this.keep();
      this.showPath();
    }
  }

  leaveEdit() {
    this.editing = null;
    this.drawHeads();
    this.parts.box.focus();
  }

  star(turn) {
    turn.star = !turn.star;
    this.keep();
    this.drawHeads();
    this.head(turn.id)?.querySelector(".rc-star")?.focus();
  }

  note(turn) {
    turn.note ??= "";
    this.drawHeads();
    this.head(turn.id)?.querySelector(".rc-note")?.focus();
  }

  compareBranches(turn) {
    const { at, of } = this.tree.branch(turn.id);
    const siblings = this.tree.turn(turn.parent).children;
    const other = siblings[at > 1 ? at - 2 : of - 1];
    this.compare.openBranches(other, turn.id);
  }

  // From a token on: the model goes on with its turn, or the user's turn is written anew.
  fork({ turns, cut }) {
    const said = turns.filter((turn) => turn.role !== "system");
    let turn = this.tree.find(said);
    if (!turn) {
      this.leave();
      this.kept = newChat();
      for (const one of [...said, cut]) turn = this.tree.add(this.tree.last?.id, one);
    }
    if (this.busy) return;
    if (cut.role === "user") this.edit(turn, cut.text);
    else if (this.mayAsk()) this.answer(this.tree.turn(turn.parent), { begun: cut.text });
  }

  // Chats of this browser.

  fresh() {
    this.leave();
    this.kept = newChat();
    this.parts.box.value = "";
    this.room.clearText();
    this.draw();
    this.parts.box.focus();
  }

  open(id) {
    const found = readChat(id);
    this.menu.close();
    if (!found) return;
    this.leave();
    this.kept = found;
    this.parts.box.value = found.draft;
    this.keep();
    this.showPath();
  }

  drop(id) {
    dropChat(id);
    if (id === this.kept.id) this.kept.changed = "";
    this.drawList();
    this.parts.opener.focus();
  }

  download() {
    const { kept } = this;
    const text = JSON.stringify({ format: "readout-studio chat", version: 1, ...kept }, null, 2);
    saveText(text, "chat.json", "application/json");
  }

  // Drawing.

  head(id) {
    const at = this.room.reading?.turns?.findIndex((turn) => turn.id === id) ?? -1;
    return this.heads[at]?.element.closest(".rd-turn") ?? null;
  }

  draw() {
    this.drawState();
    this.drawHeads();
    this.drawPending();
  }

  drawState() {
    const { parts, busy, answering, tree, last } = this;
    parts.send.hidden = busy;
    parts.stop.hidden = !busy;
    parts.fresh.hidden = tree.empty;
    parts.save.hidden = tree.empty;
    parts.status.textContent = statusWords(busy ? answering : last);
  }

  // Turns that are in the chat, but not among those the room shows yet.
  drawPending() {
    const { parts, tree, answering, room } = this;
    const shown = new Set((room.reading?.turns ?? []).map((turn) => turn.id));
    const waiting = answering ? tree.pathTo(answering.turn.id) : tree.path;
    const missing = waiting.filter((turn) => !shown.has(turn.id) && turn.text);
    parts.pending.hidden = missing.length === 0;
    parts.pending.replaceChildren(
      ...missing.map((turn) =>
        el(
          "p",
          { class: `rc-waits rd-${turn.role}` },
          el("b", {}, turn.role === "user" ? "You" : "Model"),
          ` ${turn.text}`,
        ),
      ),
    );
  }

  drawHeads() {
    const { tree, busy, editing } = this;
    const turns = this.room.reading?.turns ?? [];
    for (const old of this.room.root.querySelectorAll(".rd-text :is(.rc-edit, .rc-note)"))
      old.remove();
    this.heads.forEach(({ index, element }) => {
      const turn = tree.turn(turns[index]?.id);
      const box = element.closest(".rd-turn");
      box?.classList.toggle("rc-editing", Boolean(turn) && editing?.id === turn.id);
      element.replaceChildren(
        ...(turn ? headOf(turn, { branch: tree.branch(turn.id), busy }, this.act) : []),
      );
      if (!turn || !box) return;
      element.onkeydown = (event) => this.walk(turn, event);
      if (turn.note !== undefined) box.append(noteOf(turn, (text) => this.noteTyped(turn, text)));
      if (editing?.id === turn.id) box.append(this.editor(turn));
    });
  }

  get act() {
    return {
      step: (turn, by) => this.step(turn, by),
      star: (turn) => this.star(turn),
      edit: (turn) => this.edit(turn),
      again: (turn) => this.again(turn),
      note: (turn) => this.note(turn),
      compare: (turn) => this.compareBranches(turn),
    };
  }

  // Arrow keys at a turn's head walk its branches.
  walk(turn, event) {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    this.step(turn, by);
  }

  noteTyped(turn, text) {
    if (text) turn.note = text;
    else delete turn.note;
    this.keep();
  }

  editor(turn) {
    return editorOf(turn, this.editing.text, {
      typed: (text) => {
        this.editing.text = text;
      },
      save: (text) => this.saveEdit(turn, text),
      leave: () => this.leaveEdit(),
    });
  }

  drawList() {
    const act = { open: (id) => this.open(id), drop: (id) => this.drop(id) };
    this.parts.list.replaceChildren(...chatRows(listChats(), this.kept.id, act));
  }
}

// Whether two readings are of the same tokens; the text alone may have more of the template behind.
function sameTokens(some, others) {
  const n = Math.min(some.tokens.length, others.tokens.length);
  const same = some.tokens.slice(0, n).every((token, at) => token === others.tokens[at]);
  const rest = [...some.roles.slice(n), ...others.roles.slice(n)];
  return same && rest.every((role) => role === "template");
}
