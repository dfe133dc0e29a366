// A recipe: one line says it all, the controls below only rewrite the line.

import { button, el, say } from "../lib/dom.js";
import { number } from "../lib/scale.js";
import { choice, field, options } from "./fields.js";

const WAIT_MS = 300;
const PLACES = {
  all: "All tokens",
  prompt: "Prompt only",
  generated: "Answer only",
  from: "From a token on",
  spans: "Chosen tokens",
};
const PICKED = ["from", "spans"]; // places for which tokens are written

export class RecipeLine {
  // `act`: ask(name, request), changed() after every change, entered() for the Enter key.
  constructor(act) {
    Object.assign(this, { act, checked: null, asked: 0 });
    this.line = el("input", {
      id: "steer-recipe",
      "aria-label": "Recipe",
      placeholder: "0.4 calm + -0.2 angry @generated",
      spellcheck: "false",
      autocomplete: "off",
    });
    this.line.addEventListener("input", () => this.typed());
    this.line.addEventListener("keydown", (event) => event.key === "Enter" && act.entered());
    this.fault = el("p", { class: "rc-message", id: "steer-fault", role: "alert", hidden: true });
    this.terms = el("div", { class: "rs-terms" });
    this.add = el("select", { id: "steer-add", "aria-label": "Add a concept" });
    this.add.addEventListener("change", () => this.change({ add: this.add.value }));
    this.where = choice(PLACES, { id: "steer-where" });
    this.where.addEventListener("change", () => this.placed());
    this.tokens = el("input", {
      id: "steer-tokens",
      "aria-label": "Token positions",
      placeholder: "3-7,12",
      hidden: true,
    });
    this.tokens.addEventListener("change", () => this.placed());
    this.layers = el("input", { id: "steer-layers", placeholder: "best" });
    this.layers.addEventListener("change", () => this.change({ layers: this.layers.value }));
  }

  get text() {
    return this.line.value.trim();
  }

  // What stands below the line.
  get controls() {
    const beside = (...controls) => ({ shown: el("span", { class: "rs-controls" }, controls) });
    return [
      this.fault,
      this.terms,
      field("Concept", this.add),
      field("Tokens", this.where, beside(this.where, this.tokens)),
      field("Layers", this.layers, beside(this.layers)),
    ];
  }

  offer(names) {
    const choices = [["", "Add a concept…"], ...names.map((name) => [name, name])];
    this.add.replaceChildren(...options(choices));
    if (this.text) this.change({});
  }

  typed() {
    this.act.changed();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.change({}, { typing: true }), WAIT_MS);
  }

  placed() {
    const place = this.where.value;
    const picks = PICKED.includes(place);
    this.tokens.hidden = !picks;
    if (picks && !this.tokens.value.trim()) this.tokens.focus();
    else this.change({ where: picks ? `${place}:${this.tokens.value.trim()}` : place });
  }

  // Ask what the line means after a change; while a person types, the line itself is left alone.
  async change(how, { typing = false, sliding = false } = {}) {
    this.asked += 1;
    const mine = this.asked;
    const answer = await this.act.ask("steer_check", { recipe: this.line.value, ...how });
    if (mine !== this.asked) return;
    say(this.fault, answer.ok ? "" : answer.message);
    this.line.setAttribute("aria-invalid", String(!answer.ok));
    this.add.value = "";
    if (!answer.ok) return;
    this.checked = answer;
    if (!typing) this.line.value = answer.recipe;
    this.act.changed();
    this.show(answer, sliding);
  }

  show({ terms, where, tokens, layers, best }, sliding) {
    this.where.value = where;
    this.tokens.hidden = !PICKED.includes(where);
    if (tokens) this.tokens.value = tokens;
    this.layers.placeholder = `best: ${best}`;
    this.layers.value = layers === String(best) ? "" : layers;
    if (!sliding) this.terms.replaceChildren(...terms.map((term, at) => this.term(term, at)));
  }

  term({ concept, amount, label, unit }, at) {
    const reach =
      unit === "norm" ? Math.max(1, Math.abs(amount)) : Math.max(1, 2 * Math.abs(amount));
    const value = el("output", {}, number(amount));
    const slider = el("input", {
      type: "range",
      min: -reach,
      max: reach,
      step: reach / 20,
      "aria-label": `How much ${concept}`,
    });
    slider.value = amount;
    slider.addEventListener("input", () => {
      value.textContent = number(Number(slider.value));
      this.change({ term: at, amount: Number(slider.value) }, { sliding: true });
    });
    const drop = button({
      symbol: "close",
      label: `Take ${concept} out`,
      iconOnly: true,
      onclick: () => this.change({ drop: at }),
    });
    const name = el("span", { class: "rs-name", title: label }, concept);
    return el("div", { class: "rs-term" }, name, slider, value, drop);
  }
}
