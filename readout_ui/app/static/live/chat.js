// The transcript: one block per speaker, tokens coloured, turns that can be edited and answered anew.

import { el } from "../lib/dom.js";
import { colourOf, isScored, streamParts } from "./scores.js";
import { sameTurns } from "./store.js";

const SPEAKERS = { system: "System", user: "You", assistant: "Model" };

// Text area in which Enter sends, Shift+Enter begins a line and text sets the height.
export function growingBox({ typed, ...attributes }, send) {
  const fit = () => {
    box.style.height = "auto";
    box.style.height = `${Math.min(260, box.scrollHeight + 2)}px`;
  };
  const box = el("textarea", {
    rows: 1,
    ...attributes,
    oninput: () => {
      fit();
      typed(box.value);
    },
    onkeydown: (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      send(box.value);
    },
  });
  box.fit = fit;
  return box;
}

const small = (label, onclick, { title = null, kind = "" } = {}) =>
  el("button", { type: "button", class: `lv-small${kind}`, title, onclick }, label);

export class Transcript {
  // `chat`: see store.js; `act`: what turns and tokens ask of the page.
  constructor(chat, look, act) {
    Object.assign(this, { chat, look, act });
    this.spans = []; // the element of each token
    this.live = null; // where the answer under way is written
    this.list = el("div", {
      class: "lv-turns",
      tabindex: "0",
      role: "log",
      "aria-label": "Chat",
      "aria-live": "off",
    });
    this.listen();
  }

  listen() {
    const { list, act } = this;
    list.addEventListener("click", (event) => {
      const token = event.target.closest("[data-i]");
      if (token) act.select(Number(token.dataset.i));
    });
    list.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step || event.target !== list) return;
      event.preventDefault();
      act.step(step);
    });
    list.addEventListener("mouseover", (event) => {
      const token = event.target.closest("[data-i]");
      if (token) token.title = act.describe(Number(token.dataset.i));
    });
  }

  get atEnd() {
    const { list } = this;
    return list.scrollHeight - list.scrollTop - list.clientHeight < 90;
  }

  scrollToEnd() {
    this.list.scrollTop = this.list.scrollHeight;
  }

  tokenSpan(stream, index) {
    const seen =
      this.chat.template || isScored(stream, index) || stream.roles[index] !== "template";
    const span = el(
      "span",
      { class: "lv-token", "data-i": index },
      seen ? stream.pieces[index] : "",
    );
    this.spans[index] = span;
    return span;
  }

  tokenSpans(stream, positions) {
    return positions.map((index) => this.tokenSpan(stream, index));
  }

  body(stream, positions, text) {
    const content = positions ? this.tokenSpans(stream, positions) : text;
    return el("div", { class: "lv-text" }, content);
  }

  editor(turn, at) {
    const { chat, act } = this;
    const save = (text) => act.save(at, text);
    const typed = (text) => {
      chat.editing.text = text;
      act.keep();
    };
    const label = `Edit turn ${at + 1}`;
    const box = growingBox({ class: "lv-input lv-edit", "aria-label": label, typed }, save);
    box.value = chat.editing.text;
    box.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      act.leave();
    });
    queueMicrotask(() => box.isConnected && box.fit());
    const words = turn.role === "user" ? "Answer anew" : "Save";
    const tools = el(
      "div",
      { class: "lv-actions lv-shown" },
      small(words, () => save(box.value), { kind: " lv-strong" }),
      small("Cancel", () => act.leave()),
    );
    return [box, tools];
  }

  actions(turn, at) {
    const { chat, act } = this;
    const again = turn.role === "assistant" || at === chat.turns.length - 1;
    const from = turn.role === "assistant" ? at : at + 1;
    const title = "Answer anew with the next seed; Undo brings this back";
    return el(
      "div",
      { class: "lv-actions" },
      small("Edit", () => act.edit(at), { title: "Change this turn and go on from it" }),
      again ? small("Regenerate", () => act.regenerate(from), { title }) : null,
      small("Copy", () => navigator.clipboard?.writeText(turn.text), { title: "Copy the text" }),
    );
  }

  turnBlock(turn, at, { stream, parts, busy }) {
    const { chat } = this;
    if (chat.editing?.at === at) return block(turn.role, this.editor(turn, at));
    const positions = stream ? turnPositions(chat.turns, at, stream, parts) : null;
    const tools = busy ? null : this.actions(turn, at);
    return block(turn.role, this.body(stream, positions, turn.text), tools);
  }

  systemBlock({ stream, parts }) {
    const { system } = this.chat;
    const run = stream && parts.runs.find((one) => one.role === "system");
    if (run) return block("system", this.body(stream, run.positions, ""));
    return system.trim() ? block("system", this.body(null, null, system)) : null;
  }

  answerBlock(stream) {
    this.live = el("span", {});
    const caret = el("span", { class: "lv-caret", "aria-hidden": "true" });
    if (stream) this.grow(stream);
    return block("assistant", el("div", { class: "lv-text" }, this.live, caret));
  }

  // Turns with the template's own tokens between them, in the order of the text.
  withTemplate([system, ...turns], { stream, parts }) {
    const rest = [...turns];
    let first = system;
    const shown = parts.runs.map((run) => {
      if (run.role === "template") {
        const tokens = this.tokenSpans(stream, run.positions);
        return el("div", { class: "lv-template", title: "Template tokens" }, tokens);
      }
      if (run.role !== "system") return rest.shift();
      const own = first;
      first = null;
      return own;
    });
    return [first, ...shown, ...rest];
  }

  // Everything anew: turns came, went or are being edited.
  draw(stream, busy) {
    const { chat, list } = this;
    const [end, top] = [this.atEnd, list.scrollTop];
    this.spans = [];
    this.live = null;
    const shown = { stream, busy, parts: stream ? streamParts(stream) : null };
    let blocks = [
      this.systemBlock(shown),
      ...chat.turns.map((turn, at) => this.turnBlock(turn, at, shown)),
    ];
    const whole =
      chat.template &&
      shown.parts?.spoken &&
      sameTurns(stream.base, chat.turns, stream.base.length);
    if (whole) blocks = this.withTemplate(blocks, shown);
    if (busy) blocks.push(this.answerBlock(stream));
    list.replaceChildren(...blocks.filter(Boolean));
    list.scrollTop = end ? list.scrollHeight : top;
  }

  // New tokens of the answer under way.
  grow(stream) {
    if (!this.live || !stream.source) return;
    for (let index = stream.source.n_prompt; index < stream.rows.length; index += 1) {
      if (stream.roles[index] === "assistant" && !this.spans[index]) {
        this.live.append(this.tokenSpan(stream, index));
      }
    }
  }

  // From token `first` on; the ones before have their colours.
  colour(stream, column, first) {
    this.spans.slice(first).forEach((span, place) => {
      const index = first + place;
      const scored = column >= 0 && isScored(stream, index) && index < stream.rows.length;
      const score = scored ? stream.rows[index][column] : 0;
      span.style.background = scored ? colourOf(score, stream.reach, this.look) : "";
    });
  }

  mark(selected) {
    this.list.querySelector(".lv-selected")?.classList.remove("lv-selected");
    if (selected !== null) this.spans[selected]?.classList.add("lv-selected");
  }
}

function block(role, content, tools = null) {
  const head = el("header", {}, el("b", {}, SPEAKERS[role]), tools);
  return el("article", { class: `lv-turn lv-${role}` }, head, content);
}

// The tokens of turn `at`, null where the text on the page is not what was read.
function turnPositions(turns, at, stream, parts) {
  const { base, ending } = stream;
  if (!sameTurns(turns, base, Math.min(at + 1, base.length))) return null;
  if (at < base.length) return parts.spoken ? parts.spoken[at].positions : null;
  return at === base.length && ending && turns[at].text === ending.text ? parts.answer : null;
}
