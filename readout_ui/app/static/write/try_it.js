// A slider that steers by the concept that is open, and two short answers: without it and with it;
// and the strongest passages of the newest search in a large file.

import { button, el, messageLine, remember, remembered, say } from "../lib/dom.js";

const PROMPT_KEY = "readout-ui:write:prompt";
const PROMPT = "How was your day, and what comes next?";
const PAUSE = 500;

function signed(value) {
  return `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(1)}`;
}

export class TryIt {
  constructor(app) {
    this.app = app;
    this.asked = 0;
    this.slider = el("input", {
      type: "range",
      min: -1,
      max: 1,
      step: 0.1,
      value: 0.5,
      oninput: () => this.moved(),
    });
    this.amount = el("output", {}, "+0.5");
    this.prompt = el("input", {
      type: "text",
      class: "rs-input",
      value: remembered(PROMPT_KEY) || PROMPT,
      "aria-label": "What the user says",
      onkeydown: (event) => event.key === "Enter" && this.answer(),
    });
    this.line = messageLine();
    this.answers = el("div", { class: "rs-two", "aria-live": "polite" });
    this.label = el("label", { class: "rs-slider" }, el("span", {}), this.slider, this.amount);
    const go = button({ label: "Answer", kind: "soft", onclick: () => this.answer() });
    const form = el("div", { class: "rs-try" }, this.prompt, go);
    const head = el("header", {}, el("h3", {}, "Try it in an answer"));
    this.root = el(
      "section",
      { class: "rs-sect" },
      head,
      this.label,
      form,
      this.line,
      this.answers,
    );
  }

  open(name) {
    this.name = name;
    this.asked += 1;
    this.label.firstChild.textContent = name;
    this.slider.setAttribute("aria-label", `Strength of ${name}`);
    this.answers.replaceChildren();
    say(this.line, "");
  }

  // Once there are answers they follow the slider.
  moved() {
    this.amount.textContent = signed(Number(this.slider.value));
    clearTimeout(this.timer);
    if (this.answers.children.length) this.timer = setTimeout(() => this.answer(), PAUSE);
  }

  async answer() {
    const { name } = this;
    const strength = Number(this.slider.value);
    const prompt = this.prompt.value.trim() || PROMPT;
    remember(PROMPT_KEY, prompt);
    this.asked += 1;
    const number = this.asked;
    say(this.line, "");
    this.answers.classList.add("rs-waiting");
    if (!this.answers.children.length) this.draw("…", "…", strength);
    const found = await this.app.call("try_concept", { name, strength, prompt });
    if (number !== this.asked) return;
    this.answers.classList.remove("rs-waiting");
    if (found.ok) this.draw(found.plain, found.steered, strength);
    else {
      this.answers.replaceChildren();
      say(this.line, found.message);
    }
  }

  draw(plain, steered, strength) {
    const side = (title, text) =>
      el("div", { class: "rs-ans" }, el("h4", {}, title), text || "(nothing)");
    const title = `${signed(strength)} ${this.name}`;
    this.answers.replaceChildren(side("As it is", plain), side(title, steered));
  }
}

export class Passages {
  constructor(app) {
    this.app = app;
    this.about = el("span", { class: "rs-small" });
    this.list = el("ul", { class: "rs-passages" });
    const head = el("header", {}, el("h3", {}, "Strongest passages"), this.about);
    this.root = el("section", { class: "rs-sect" }, head, this.list);
  }

  async show(name, trained) {
    this.root.hidden = !trained;
    this.about.textContent = "";
    this.list.replaceChildren();
    if (!trained) return;
    const answer = await this.app.call("read_passages", { name });
    if (!answer.ok || this.app.editor.state?.name !== name) return;
    const { passages, file } = answer;
    this.about.textContent = passages ? `in ${file}` : "";
    const none = passages ? "None in this file is above its threshold." : "";
    const find = el(
      "a",
      { class: "rs-button rs-soft", href: "#/read/passages" },
      "Find them in a file",
    );
    const lines = (passages || []).map((one) =>
      el(
        "li",
        {},
        one.before,
        el("mark", {}, one.strong),
        one.after,
        el("span", { class: "rs-dim" }, ` ${one.strength}`),
      ),
    );
    this.list.replaceChildren(...lines);
    if (!lines.length) this.list.append(el("li", {}, none, " ", find));
  }
}
