// The one input of the room: a text, how it is read, and three examples to click.

import { button, el } from "../lib/dom.js";
import { choice } from "./fields.js";
import { popover } from "./gear.js";

const MODES = {
  assistant: "As the model",
  user: "As the user",
  raw: "Raw, no template",
  chat: "As a chat",
};
const TEXT = "readout-read-text";
const MODE = "readout-read-mode";
const MOST_LINES = 9;

export class Composer {
  // `act`: read(), example(text), many(); `examples`: texts by name; `gear` and `kept`: elements of the popovers.
  constructor(act, examples, gear, kept) {
    this.box = el("textarea", {
      id: "rd-input",
      rows: 2,
      placeholder: "Type or paste a text, then press Enter",
    });
    this.mode = choice(MODES, { id: "rd-mode", "aria-label": "Read as", class: "rd-select" });
    this.go = el(
      "button",
      { type: "submit", class: "btn go rd-go" },
      "Read ",
      el("span", { "aria-hidden": "true" }, "⏎"),
    );
    const many = button({ label: "Many texts", onclick: () => act.many() });
    const keep = button({ label: "Saved" });
    const title = "The passages of a file that a concept is strongest in";
    const passages = el(
      "a",
      { class: "rs-button rs-quiet", href: "#/read/passages", title },
      "Passages",
    );
    const turn = button({ label: "Layer, unit, order, template", iconOnly: true });
    turn.append(gearIcon());
    turn.classList.add("rd-gear");
    this.tools = el("span", { class: "rd-place", "data-place": "tools" });
    this.pops = [popover(turn, gear), popover(keep, kept)];
    const foot = el(
      "div",
      { class: "rd-foot" },
      this.mode,
      many,
      keep,
      passages,
      el("span", { class: "rd-space" }),
      this.tools,
      turn,
      this.go,
      gear,
      kept,
    );
    const label = el("label", { class: "vh", for: "rd-input" }, "Text to read");
    this.form = el("form", { class: "rd-composer" }, label, this.box, foot);
    const tries = Object.entries(examples).map(([name, text]) =>
      el("button", { type: "button", onclick: () => act.example(text) }, name),
    );
    this.element = el(
      "div",
      {},
      this.form,
      el("div", { class: "rd-tries" }, el("span", {}, "Try"), tries),
    );
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      act.read();
    });
    this.box.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      act.read();
    });
    this.box.addEventListener("input", () => this.keep());
    this.mode.addEventListener("change", () => this.keep());
  }

  // A reload keeps what was typed, in this browser tab only.
  keep() {
    sessionStorage.setItem(TEXT, this.box.value);
    sessionStorage.setItem(MODE, this.mode.value);
    this.fit();
  }

  restore() {
    this.box.value = sessionStorage.getItem(TEXT) ?? "";
    const mode = sessionStorage.getItem(MODE);
    if (mode in MODES) this.mode.value = mode;
    this.fit();
  }

  set(text, mode = this.mode.value) {
    this.box.value = text;
    this.mode.value = mode;
    this.keep();
  }

  get typed() {
    return { text: this.box.value, mode: this.mode.value };
  }

  // As high as its text, up to some lines.
  fit() {
    const { box } = this;
    box.style.height = "auto";
    if (box.scrollHeight) box.style.height = `${Math.min(box.scrollHeight, MOST_LINES * 24)}px`;
  }
}

function gearIcon() {
  const host = el("span");
  host.innerHTML =
    '<svg viewBox="0 0 24 24" width="16" height="16" fill="none" stroke="currentColor" stroke-width="1.8" stroke-linecap="round" aria-hidden="true"><path d="M4 7h9M17 7h3M4 17h3M11 17h9"/><circle cx="15" cy="7" r="2.2"/><circle cx="9" cy="17" r="2.2"/></svg>';
  return host.firstChild;
}
