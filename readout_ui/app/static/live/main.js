// The Live page: a chat whose answers are read token by token while the model speaks.

import { say } from "../lib/dom.js";
import { arrange, buildParts } from "./parts.js";
import { emptyStream, fitReach, takeNews } from "./scores.js";
import { setOptions } from "./settings.js";
import { statusWords } from "./status.js";
import { keepChat, loadChat, rememberTurns } from "./store.js";

const POLL_MS = 120;
const READY_MS = 2000;
const OFFLINE = {
  ok: false,
  offline: true,
  message: "The app does not answer. It may be restarting.",
};

// What gr.HTML hands over; `server` holds the functions of the app.
export function start({ element, server }) {
  const page = new LivePage(element.querySelector(".rs-live"), server);
  page.draw();
  page.composer.fit();
  page.resume();
  page.checkReady();
}

class LivePage {
  constructor(root, server) {
    Object.assign(this, { root, server });
    this.look = JSON.parse(root.dataset.look);
    this.chat = loadChat(this.look.sampling);
    this.stream = null; // the newest answer, see scores.js
    this.selected = null; // position of a token
    this.ready = false;
    this.fault = "";
    this.painted = { key: "", n: 0 };
    Object.assign(this, buildParts(this));
    root.replaceChildren(arrange(this), this.readings.side, this.readings.wide);
    this.listen();
  }

  listen() {
    document.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || event.defaultPrevented) return;
      if (this.root.offsetParent === null) return;
      if (this.busy) this.stop();
      else if (this.selected !== null) this.select(this.selected);
    });
  }

  // Gradio answers undefined, or throws, when the server did not.
  async ask(name, request) {
    const answer = await Promise.resolve(this.server[name](request)).catch(() => undefined);
    return answer || OFFLINE;
  }

  keep() {
    keepChat(this.chat);
  }

  get busy() {
    return this.stream !== null && ["waiting", "running"].includes(this.stream.state);
  }

  // Which score of a row colours the text.
  get column() {
    const { stream, chat } = this;
    return stream?.source ? stream.source.concepts.indexOf(chat.concept) : -1;
  }

  get layer() {
    const { source } = this.stream;
    return source.layers.includes(this.chat.layer) ? this.chat.layer : source.best;
  }

  changed(what) {
    this.keep();
    if (what === "layer" || what === "kind") this.reread();
    else if (what === "concept") this.paint();
    else if (what === "template" || what === "system") this.draw();
  }

  // What bars, heatmap and transcript ask for.

  pick(name) {
    this.chat.concept = name;
    this.keep();
    this.paint();
  }

  takeMean(mean) {
    this.chat.mean = mean;
    this.keep();
    this.paint();
  }

  select(index, concept = null) {
    if (concept) this.chat.concept = concept;
    this.selected = this.selected === index && !concept ? null : index;
    this.keep();
    this.paint();
  }

  step(by) {
    const { stream } = this;
    const at = (this.selected ?? stream?.rows.length ?? 0) + by;
    if (!stream || at < 0 || at >= stream.rows.length) return;
    this.selected = at;
    this.paint();
  }

  describe(index) {
    const { stream, column, chat } = this;
    const score = column < 0 ? "" : `\n${chat.concept} ${stream.rows[index][column].toFixed(2)}`;
    return `${stream.tokens[index]} · token ${index} · ${stream.roles[index]}${score}`;
  }

  edit(at) {
    this.chat.editing = { at, text: this.chat.turns[at].text };
    this.keep();
    this.draw();
    const box = this.root.querySelector(".lv-edit");
    box?.focus();
    box?.setSelectionRange(box.value.length, box.value.length);
  }

  leave() {
    this.chat.editing = null;
    this.keep();
    this.draw();
    this.composer.focus();
  }

  save(at, text) {
    const { chat } = this;
    if (!text.trim()) {
      say(this.line, "A turn cannot be empty.");
      return;
    }
    const { role } = chat.turns[at];
    rememberTurns(chat);
    chat.turns = [...chat.turns.slice(0, at), { role, text }];
    if (role === "user") this.answerTurns();
    else this.leave();
  }

  regenerate(at) {
    const { chat } = this;
    if (chat.turns.length > at) rememberTurns(chat);
    chat.turns = chat.turns.slice(0, at);
    chat.sampling.seed = (Number(chat.sampling.seed) || 0) + 1;
    this.settings.showSeed();
    this.answerTurns();
  }

  // What the buttons do.

  begin() {
    const { chat } = this;
    rememberTurns(chat);
    Object.assign(chat, { turns: [], asked: null });
    this.stream = null;
    this.selected = null;
    say(this.line, "");
    this.leave();
  }

  undo() {
    const turns = this.chat.past.pop();
    if (!turns) return;
    Object.assign(this.chat, { turns, editing: null });
    this.keep();
    this.draw();
  }

  stop() {
    if (this.busy) this.ask("live_stop", { chat: this.chat.chat });
  }

  send() {
    const { chat, composer } = this;
    const text = composer.value.trim();
    if (this.busy || !this.ready) return;
    if (!text && chat.turns.at(-1)?.role !== "user") return;
    if (text) {
      chat.turns.push({ role: "user", text });
      composer.value = "";
      composer.fit();
      chat.draft = "";
    }
    this.answerTurns();
  }

  // Drawing.

  draw() {
    const { stream } = this;
    this.transcript.draw(stream?.source ? stream : null, this.busy);
    this.drawState();
    this.paint(true);
  }

  drawState() {
    const { chat, busy, buttons } = this;
    buttons.stop.hidden = !busy;
    buttons.send.hidden = busy;
    buttons.send.disabled = !this.ready;
    buttons.undo.hidden = chat.past.length === 0 || busy;
    buttons.begin.hidden = chat.turns.length === 0 || busy;
    this.transcript.list.hidden = chat.turns.length === 0 && !busy && !chat.system.trim();
    this.status.textContent = this.fault || statusWords(this.stream, chat.turns.length > 0);
  }

  // Colours, bars and heatmap from what is here; `afresh` where colours changed for every token.
  paint(afresh = false) {
    const { stream, chat, look } = this;
    const there = Boolean(stream?.source && stream.rows.length > 0);
    this.root.classList.toggle("lv-read", there);
    if (!there) {
      this.readings.clear();
      return;
    }
    if (!stream.source.concepts.includes(chat.concept)) chat.concept = loudest(stream);
    if (this.selected !== null && this.selected >= stream.rows.length) this.selected = null;
    this.fillChoices(stream.source);
    const reach = fitReach(stream, look.quantile);
    const rescaled = reach !== stream.reach;
    stream.reach = reach;
    const key = `${chat.concept} ${reach}`;
    const from = afresh || key !== this.painted.key ? 0 : this.painted.n;
    this.transcript.colour(stream, this.column, from);
    this.painted = { key, n: stream.rows.length };
    this.transcript.mark(this.selected);
    this.readings.draw(stream, {
      concept: chat.concept,
      layer: this.layer,
      kind: chat.kind,
      mean: chat.mean,
      selected: this.selected,
      busy: this.busy,
      afresh: afresh || rescaled,
    });
  }

  fillChoices({ concepts, layers, best }) {
    const { concept, layer } = this.settings;
    const names = concepts.map((name) => [name, name]);
    setOptions(concept, names, this.chat.concept);
    const numbers = layers.map((number) => [
      `${number}${number === best ? " (best)" : ""}`,
      number,
    ]);
    setOptions(layer, numbers, this.layer);
  }

  // Asking, and following the answer.

  async answerTurns() {
    const { chat, transcript } = this;
    say(this.line, "");
    this.selected = null;
    chat.editing = null;
    const mine = emptyStream(
      0,
      chat.turns.map((turn) => ({ ...turn })),
    );
    this.stream = mine;
    this.keep();
    this.draw();
    transcript.scrollToEnd();
    const { chat: id, turns, system, sampling, thinking } = chat;
    const answer = await this.ask("live_ask", { chat: id, turns, system, sampling, thinking });
    if (this.stream !== mine) return;
    if (!answer.ok) {
      this.stream = null;
      say(this.line, answer.message);
      this.draw();
      return;
    }
    mine.number = answer.number;
    chat.asked = { number: answer.number, base: mine.base, taken: false };
    this.keep();
    this.poll(mine);
  }

  async poll(mine) {
    while (this.stream === mine && this.root.isConnected) {
      await this.tick(mine);
      if (this.stream !== mine || !this.busy) return;
      await new Promise((resume) => {
        setTimeout(resume, POLL_MS);
      });
    }
  }

  async tick(mine, afresh = false) {
    const { chat, layer, kind } = this.chat;
    const have = afresh ? 0 : mine.rows.length;
    const answer = await this.ask("live_poll", { chat, have, layer, kind });
    const same = this.chat.layer === layer && this.chat.kind === kind;
    if (this.stream !== mine || !same) return;
    this.fault = answer.ok ? "" : answer.message;
    if (!answer.ok) this.drawState();
    else if (answer.number !== mine.number) this.lost();
    else this.take(mine, answer, afresh);
  }

  // News of the answer under way.
  take(mine, answer, afresh) {
    const began = mine.rows.length === 0;
    const { state, before, made, error } = answer;
    Object.assign(mine, { state, before, made, error });
    if (answer.source) mine.source = answer.source;
    const came = mine.source !== null && takeNews(mine, answer.news);
    if (answer.ending) mine.ending = answer.ending;
    if (!this.busy) {
      this.finished(mine);
      return;
    }
    if (began && came) this.draw();
    else if (came) {
      this.transcript.grow(mine);
      this.paint(afresh);
    }
    this.drawState();
    this.follow();
  }

  follow() {
    if (this.transcript.atEnd) this.transcript.scrollToEnd();
  }

  // The app was restarted, or another page of the same chat asked.
  lost() {
    const words = "The app was restarted and lost this answer. Press Regenerate.";
    if (!this.chat.asked?.taken) say(this.line, words);
    this.stream = null;
    this.chat.asked = null;
    this.keep();
    this.draw();
  }

  finished(mine) {
    const { asked } = this.chat;
    if (mine.error) say(this.line, mine.error);
    if (mine.ending && !asked?.taken) {
      const { text } = mine.ending;
      const silent =
        "The model ended its answer without a word. Press Regenerate for the next seed.";
      if (text.trim()) this.chat.turns = [...mine.base, { role: "assistant", text }];
      else say(this.line, silent);
      if (asked) asked.taken = true;
      this.keep();
    }
    this.draw();
    this.follow();
  }

  // Layer or unit changed: the same tokens with other scores.
  reread() {
    if (!this.stream?.source) return;
    const mine = this.stream;
    mine.reach = 1e-9;
    if (this.busy) {
      this.stream = { ...mine, rows: [] };
      this.poll(this.stream);
      return;
    }
    this.tick(mine, true);
  }

  async checkReady() {
    const answer = await this.ask("live_look", {});
    this.ready = Boolean(answer.ok && answer.ready);
    if (this.ready) this.fault = "";
    else {
      this.fault = answer.ok ? answer.missing : answer.message;
      if (this.root.isConnected) setTimeout(() => this.checkReady(), READY_MS);
    }
    this.drawState();
  }

  // After a reload: the answer goes on, or is still there.
  resume() {
    const { asked } = this.chat;
    if (!asked) return;
    this.stream = emptyStream(asked.number, asked.base);
    this.poll(this.stream);
  }
}

// The concept with the highest score at the prompt's last token.
function loudest({ source, rows }) {
  const row = rows[Math.min(source.n_prompt, rows.length) - 1];
  return source.concepts[row.indexOf(Math.max(...row))];
}
