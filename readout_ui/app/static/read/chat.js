// The chat of the room Read: what was read may be the first turn; every answer is a branch of a tree.

import { el, say } from "../lib/dom.js";
import { saveText } from "../lib/download.js";
import { Answers } from "./answers.js";
import { buildReply, chatRows, statusWords } from "./chat_parts.js";
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
import { turnsOfPath, withTurns } from "./growing.js";
import { TurnHeads } from "./heads.js";
import { Reading, turnsOf } from "./reading.js";
import { buildSampling } from "./sampling.js";
import { SteerDrawer } from "./steer.js";

export function mountChat(room) {
  const chat = new Chat(room);
  chat.begin();
  return chat;
}

class Chat {
  constructor(room) {
    Object.assign(this, { room, readings: new Map() });
    this.kept = loadChat();
    this.settings = loadSettings({});
    this.parts = buildReply(this);
    this.parts.box.value = this.kept.draft;
    room.place("chat").append(this.parts.element);
    this.menu = popover(this.parts.opener, this.parts.list);
    this.answers = new Answers(this);
    this.heads = new TurnHeads(this);
    this.steer = new SteerDrawer(this);
    this.compare = new CompareView(this);
  }

  get tree() {
    return this.kept.tree;
  }

  get busy() {
    return this.answers.now !== null;
  }

  // Whether there is more than the text that was read.
  get owns() {
    return Boolean(this.kept.changed) && !this.tree.empty;
  }

  // What steers the next answer.
  get recipe() {
    return this.settings.steering ? this.settings.recipe : "";
  }

  get system() {
    return this.kept.system || this.settings.system;
  }

  // The last turn of the user's that is shown.
  get userTurn() {
    return this.tree.path.findLast((turn) => turn.role === "user") ?? null;
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
    if (this.kept.asked) this.answers.resume();
    else if (this.owns) this.showPath();
    this.draw();
    this.parts.box.fit();
  }

  listen() {
    const { parts } = this;
    document.addEventListener("read-fork", (event) => this.fork(event.detail));
    parts.opener.addEventListener("click", () => this.drawList());
    document.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || event.defaultPrevented || !this.busy) return;
      if (parts.element.offsetParent === null || document.querySelector("dialog[open]")) return;
      event.preventDefault();
      this.answers.stop();
    });
  }

  keep() {
    if (!keepChat(this.kept))
      say(this.parts.line, "This browser has no room for the chat; download it.");
  }

  keepSettings() {
    keepSettings(this.settings);
  }

  nextSeed() {
    const { sampling } = this.settings;
    sampling.seed = (Number(sampling.seed) || 0) + 1;
    this.sampling?.show();
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
    this.compare.form.prefill();
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
    const { tree, readings, room } = this;
    const { path } = tree;
    const answering = this.answers.now;
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
    const system = this.system.trim();
    return [...(system ? [{ role: "system", text: system }] : []), ...this.tree.told(id)];
  }

  // The chat as far as a turn: as a text to read, and as a question to the model.
  asText(id) {
    return { text: "", mode: "chat", turns: this.told(id) };
  }

  asking(id) {
    const { sampling, thinking } = this.settings;
    return { turns: this.tree.told(id), system: this.system, sampling, thinking };
  }

  // Read by the model as it is, at every layer: {reading}, or {message} where that failed.
  async readAsText(id) {
    const asked = this.asText(id);
    const answer = await this.ask("read_text", { ...asked, kind: "z", layers: null });
    return answer.ok ? { reading: new Reading(answer, asked) } : { message: answer.message };
  }

  async readPath(turn) {
    if (!this.room.state.ready) return;
    const { kept } = this;
    const { reading, message } = await this.readAsText(turn.id);
    if (kept !== this.kept || !this.tree.turn(turn.id)) return;
    if (!reading) {
      say(this.parts.line, message);
      return;
    }
    const live = this.readings.get(turn.id);
    // Broken characters become other tokens when the text is read again: then what came live stays.
    if (live && !sameTokens(live, reading)) return;
    this.readings.set(turn.id, reading);
    if (this.tree.path.includes(turn)) this.showPath();
  }

  send() {
    const { parts, tree, kept } = this;
    const text = parts.box.value.trim();
    const { last } = tree;
    if (this.busy || !this.answers.may()) return;
    if (!text && last?.role !== "user") return;
    let asked = last;
    if (text && last?.role === "user") asked = tree.edit(last.id, `${last.text}\n\n${text}`);
    else if (text) asked = tree.add(last?.id, { role: "user", text });
    parts.box.value = "";
    parts.box.fit();
    kept.draft = "";
    this.answers.ask(asked, { recipe: this.recipe });
  }

  // Another chat takes the place of this one.
  leave() {
    this.answers.leave();
    leaveChat();
    this.heads.editing = null;
    this.readings.clear();
    say(this.parts.line, "");
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
    if (cut.role === "user") this.heads.edit(turn, cut.text);
    else if (this.answers.may()) this.answers.ask(this.tree.turn(turn.parent), { begun: cut.text });
  }

  // Chats of this browser.

  fresh() {
    this.leave();
    this.kept = newChat();
    this.parts.box.value = "";
    this.room.clear();
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

  draw() {
    this.drawState();
    this.heads.draw();
    this.drawPending();
  }

  drawState() {
    const { parts, busy, tree } = this;
    const { now, last } = this.answers;
    parts.send.hidden = busy;
    parts.stop.hidden = !busy;
    parts.fresh.hidden = tree.empty;
    parts.save.hidden = tree.empty;
    parts.status.textContent = statusWords(now ?? last);
  }

  // Turns that are in the chat, but not among those the room shows yet.
  drawPending() {
    const { parts, tree, room } = this;
    const { now } = this.answers;
    const shown = new Set((room.reading?.turns ?? []).map((turn) => turn.id));
    const waiting = now ? tree.pathTo(now.turn.id) : tree.path;
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
