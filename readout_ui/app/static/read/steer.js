// The steering drawer: one line says it all, the controls below only rewrite the line.

import { button, el, say } from "../lib/dom.js";
import { openDrawer } from "../lib/drawer.js";
import { number } from "../lib/scale.js";
import { small } from "./chat_parts.js";
import { oneTurn, withTurns } from "./growing.js";
import { means, Reading } from "./reading.js";
import { drawSweep } from "./sweep.js";
import { paintText } from "./text.js";

const ID = "read-steer";
const WAIT_MS = 300;
const POLL_MS = 250;
const MOVED = 8;
const PLACES = {
  all: "All tokens",
  prompt: "Prompt only",
  generated: "Answer only",
  from: "From a token on",
  spans: "Chosen tokens",
};

export class SteerDrawer {
  constructor(chat) {
    Object.assign(this, { chat, checked: null, pair: null, sweeping: false });
    this.recipe = el("input", {
      id: "steer-recipe",
      "aria-label": "Recipe",
      placeholder: "0.4 calm + -0.2 angry @generated",
      spellcheck: "false",
      autocomplete: "off",
    });
    this.recipe.addEventListener("input", () => this.typed());
    this.recipe.addEventListener("keydown", (event) => event.key === "Enter" && this.both());
    this.fault = el("p", { class: "rc-message", id: "steer-fault", role: "alert", hidden: true });
    this.terms = el("div", { class: "rs-terms" });
    this.add = el("select", { id: "steer-add", "aria-label": "Add a concept" });
    this.add.addEventListener("change", () => this.change({ add: this.add.value }));
    this.where = el(
      "select",
      { id: "steer-where" },
      Object.entries(PLACES).map(([value, words]) => el("option", { value }, words)),
    );
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
    this.replies = el("input", { type: "checkbox", id: "steer-replies" });
    this.replies.addEventListener("change", () => this.keep());
    this.answers = el("div", { class: "rs-two" });
    this.cost = el("p", { class: "rd-sub", id: "steer-cost", role: "status" });
    this.table = el("div", { class: "rs-moved" });
    this.swept = el("div", { class: "rs-swept" });
    this.element = this.layOut();
    this.opener = el(
      "button",
      {
        type: "button",
        class: "btn quiet",
        "data-drawer": ID,
        "aria-expanded": "false",
        "aria-haspopup": "dialog",
      },
      el("span", {}, "Steer"),
    );
    chat.room.place("drawers").append(this.element);
    chat.room.place("tools").append(this.opener);
  }

  get settings() {
    return this.chat.settings;
  }

  layOut() {
    const close = button({ symbol: "close", label: "Close", iconOnly: true, "data-drawer": ID });
    const copy = button({
      symbol: "copy",
      label: "Copy the recipe",
      iconOnly: true,
      onclick: () => this.copy(this.recipe.value),
    });
    this.factors = el("input", { id: "steer-factors", "aria-label": "Factors of the sweep" });
    this.factors.addEventListener("change", () => this.keep());
    this.stopSweep = small("Stop", () => this.chat.ask("sweep_stop", { chat: this.chat.kept.id }), {
      class: "btn",
      hidden: true,
    });
    const field = (label, control, ...more) =>
      el(
        "div",
        { class: "rd-field" },
        el("label", { for: control.id }, label),
        el("span", { class: "rs-controls" }, control, more),
      );
    return el(
      "aside",
      { class: "drawer rs-steer", id: ID, "aria-label": "Steering" },
      el("header", {}, el("h2", {}, "Steer the model"), close),
      el(
        "p",
        { class: "rd-sub" },
        "One line says it all; the command line and the server take the same.",
      ),
      el("div", { class: "rs-recipe" }, this.recipe, copy),
      this.fault,
      this.terms,
      el("div", { class: "rd-field" }, el("label", { for: "steer-add" }, "Concept"), this.add),
      field("Tokens", this.where, this.tokens),
      field("Layers", this.layers),
      el("label", { class: "rs-check" }, this.replies, " Steer the chat’s answers too"),
      el(
        "div",
        { class: "rs-go" },
        el(
          "button",
          { type: "button", class: "btn go", id: "steer-both", onclick: () => this.both() },
          "Answer both ways",
        ),
        small("Copy command", () => this.copy(this.command()), {
          class: "btn quiet",
          id: "steer-command",
        }),
        small("Copy curl", () => this.copy(this.curl()), { class: "btn quiet", id: "steer-curl" }),
      ),
      this.answers,
      this.cost,
      this.table,
      el("h3", {}, "Sweep of the recipe"),
      el(
        "div",
        { class: "rs-go" },
        this.factors,
        el(
          "button",
          { type: "button", class: "btn", id: "steer-sweep", onclick: () => this.sweep() },
          "Sweep strengths",
        ),
        this.stopSweep,
      ),
      this.swept,
    );
  }

  begin() {
    const { recipe, factors, steering } = this.settings;
    this.recipe.value = recipe;
    this.factors.value = factors;
    this.replies.checked = steering;
    this.opener.addEventListener("click", () => this.refresh());
    this.chat.room.onLook((_look, name) => name === "layer" && this.draw());
    this.mark();
    if (window.location.hash.includes("steer")) openDrawer(ID, this.opener);
  }

  keep() {
    Object.assign(this.settings, {
      recipe: this.recipe.value.trim(),
      factors: this.factors.value,
      steering: this.replies.checked,
    });
    this.chat.keepSettings();
    this.mark();
  }

  // The button says that answers are steered, also while the drawer is closed.
  mark() {
    const on = this.settings.steering && this.settings.recipe;
    this.opener.classList.toggle("rs-on", Boolean(on));
    this.opener.title = on
      ? `Answers are steered: ${this.settings.recipe}`
      : "Push the model along concepts";
  }

  // The line and its controls.

  refresh() {
    const names = this.chat.room.state.concepts;
    this.add.replaceChildren(
      el("option", { value: "" }, "Add a concept…"),
      ...names.map((name) => el("option", { value: name }, name)),
    );
    if (this.recipe.value.trim()) this.change({});
  }

  typed() {
    this.keep();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.change({}, { typing: true }), WAIT_MS);
  }

  placed() {
    const place = this.where.value;
    const picks = place === "from" || place === "spans";
    this.tokens.hidden = !picks;
    if (picks && !this.tokens.value.trim()) this.tokens.focus();
    else this.change({ where: picks ? `${place}:${this.tokens.value.trim()}` : place });
  }

  // Ask what the line means after a change; while a person types, the line itself is left alone.
  async change(how, { typing = false, sliding = false } = {}) {
    this.n = (this.n ?? 0) + 1;
    const mine = this.n;
    const answer = await this.chat.ask("steer_check", { recipe: this.recipe.value, ...how });
    if (mine !== this.n) return;
    say(this.fault, answer.ok ? "" : answer.message);
    this.recipe.setAttribute("aria-invalid", String(!answer.ok));
    this.add.value = "";
    if (!answer.ok) return;
    this.checked = answer;
    if (!typing) this.recipe.value = answer.recipe;
    this.keep();
    this.show(answer, sliding);
  }

  show({ terms, where, tokens, layers, best }, sliding) {
    this.where.value = where;
    this.tokens.hidden = !["from", "spans"].includes(where);
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
    return el(
      "div",
      { class: "rs-term" },
      el("span", { class: "rs-name", title: label }, concept),
      slider,
      value,
      drop,
    );
  }

  copy(text) {
    navigator.clipboard?.writeText(text);
    this.cost.textContent = "Copied.";
  }

  command() {
    return `readout-ui steer --vectors EXPORT --recipe ${quoted(this.recipe.value)} ${quoted(this.asked()?.at(-1)?.text ?? "PROMPT")}`;
  }

  curl() {
    const messages = (this.asked() ?? []).map(({ role, text }) => ({ role, content: text }));
    const body = JSON.stringify({ model: "MODEL", messages, steer: this.recipe.value });
    return `curl http://127.0.0.1:8000/v1/chat/completions -H 'Content-Type: application/json' -d ${quoted(body)}`;
  }

  // What the model is asked: the chat as far as the last turn of the user's.
  asked() {
    const user = this.chat.tree.path.findLast((turn) => turn.role === "user");
    return user ? this.chat.tree.told(user.id) : null;
  }

  // Both answers, as two branches of the chat.

  question() {
    const { tree, parts, kept } = this.chat;
    const text = parts.box.value.trim();
    if (text) {
      parts.box.value = "";
      kept.draft = "";
      return tree.add(tree.last?.id, { role: "user", text });
    }
    return tree.path.findLast((turn) => turn.role === "user") ?? null;
  }

  async ready() {
    await this.change({});
    if (!this.recipe.value.trim()) say(this.fault, "Write a recipe first, or add a concept.");
    return this.fault.hidden && !this.chat.busy && this.chat.mayAsk();
  }

  async both() {
    if (!(await this.ready())) return;
    const { chat } = this;
    const question = this.question();
    if (!question) {
      say(this.fault, "Write what the user says in the line below the text, then press again.");
      return;
    }
    this.pair = null;
    for (const part of [this.answers, this.cost, this.table]) part.replaceChildren();
    this.cost.textContent = "Answering without steering";
    const plain = this.known(question) ?? (await chat.answer(question));
    if (!plain) return;
    this.cost.textContent = "Answering with steering";
    const steered = await chat.answer(question, { recipe: this.settings.recipe });
    if (!steered) return;
    this.pair = {
      kept: chat.kept,
      plain,
      steered,
      during: chat.readings.get(steered.id),
      costs: null,
      alone: null,
    };
    await this.measure(this.pair);
  }

  // An unsteered answer that the same settings made already.
  known(question) {
    const { tree, settings, readings } = this.chat;
    const same = JSON.stringify(settings.sampling);
    const siblings = question.children.map((id) => tree.turn(id));
    return siblings.find(
      (turn) => !turn.recipe && readings.has(turn.id) && JSON.stringify(turn.sampling) === same,
    );
  }

  async measure(pair) {
    const { chat } = this;
    const { tree, settings, kept } = chat;
    this.draw();
    this.cost.textContent = "Measuring perplexity";
    const turns = tree.told(pair.plain.parent);
    const system = kept.system || settings.system;
    const { sampling, thinking } = settings;
    const { recipe } = pair.steered;
    pair.costs = await chat.ask("steer_cost", {
      turns,
      system,
      sampling,
      thinking,
      recipe,
      text: pair.plain.text,
    });
    const asked = { text: "", mode: "chat", turns: chat.told(pair.steered.id) };
    const alone = await chat.ask("read_text", { ...asked, kind: "z", layers: null });
    if (pair !== this.pair) return;
    pair.alone = alone.ok ? new Reading(alone, asked) : null;
    this.draw();
  }

  // The pair as it is known so far, at the layer of the room.
  draw() {
    const { pair, chat } = this;
    if (!pair || pair.kept !== chat.kept) return;
    const plain = chat.readings.get(pair.plain.id);
    const { room } = chat;
    const look = {
      concept: this.checked?.terms[0]?.concept ?? room.concept,
      layer: layerOf(plain, room.layer),
      kind: "z",
    };
    const sides = [
      side("As it is", pair.plain),
      side(`Steered · ${pair.steered.recipe}`, pair.steered),
    ];
    this.answers.replaceChildren(...sides.map((one) => one.box));
    [plain, pair.during].forEach((reading, at) => {
      const turn = [pair.plain, pair.steered][at];
      const only = oneTurn(withTurns(reading, chat.tree.pathTo(turn.id)), turn.id);
      paintText(sides[at].text, only, { ...look, layer: layerOf(reading, look.layer) });
    });
    const { costs } = pair;
    if (costs) this.cost.textContent = costs.ok ? costWords(costs) : costs.message;
    this.table.replaceChildren(this.movedTable(plain, pair));
  }

  movedTable(plain, { plain: first, steered, during, alone }) {
    const { room, tree } = this.chat;
    const mean = (reading, turn) => {
      if (!reading) return null;
      const own =
        withTurns(reading, tree.pathTo(turn.id)).turns?.find((one) => one.id === turn.id)
          ?.positions ?? [];
      return means(
        reading,
        layerOf(reading, room.layer),
        own.filter((token) => reading.scored[token]),
      );
    };
    const columns = [mean(plain, first), mean(during, steered), mean(alone, steered)];
    const names = during.concepts;
    const pushed = new Set(this.checked?.terms.map((term) => term.concept));
    const moved = (at) => Math.abs(columns[1][at] - columns[0][at]);
    const order = [...names.keys()].sort(
      (a, b) => pushed.has(names[b]) - pushed.has(names[a]) || moved(b) - moved(a),
    );
    const rows = order.slice(0, MOVED).map((at) =>
      el(
        "tr",
        { class: pushed.has(names[at]) ? "rs-pushed" : null },
        el("th", { scope: "row" }, names[at]),
        columns.map((values) => el("td", {}, values ? number(values[at]) : "…")),
      ),
    );
    const titles = ["", "plain", "steered", "words alone"].map((title) =>
      el("th", { scope: "col" }, title),
    );
    return el(
      "table",
      {},
      el(
        "caption",
        {},
        `Mean z of the answer at layer ${layerOf(during, room.layer)}; “words alone” reads the steered answer without steering.`,
      ),
      el("thead", {}, el("tr", {}, titles)),
      el("tbody", {}, rows),
    );
  }

  // The sweep.

  async sweep() {
    if (this.sweeping || !(await this.ready())) return;
    const { chat } = this;
    const turns = this.asked();
    if (!turns) {
      say(this.fault, "Write what the user says in the line below the text, then press again.");
      return;
    }
    const { kept, settings } = chat;
    const { sampling, thinking, recipe, factors } = settings;
    const asked = {
      chat: kept.id,
      turns,
      system: kept.system || settings.system,
      sampling,
      thinking,
      recipe,
      factors,
    };
    this.sweeping = true;
    this.stopSweep.hidden = false;
    const answer = await chat.ask("sweep_ask", asked);
    this.swept.replaceChildren(
      answer.ok ? "Waiting for the device" : el("p", { class: "rc-message" }, answer.message),
    );
    if (answer.ok) await this.follow(kept.id);
    this.sweeping = false;
    this.stopSweep.hidden = true;
  }

  async follow(id) {
    let state = "waiting";
    while (["waiting", "running"].includes(state)) {
      await new Promise((resume) => {
        setTimeout(resume, POLL_MS);
      });
      const answer = await this.chat.ask("sweep_poll", {
        chat: id,
        layer: this.chat.room.layer ?? 0,
      });
      state = answer.ok ? answer.state : "failed";
      if (answer.result) drawSweep(this.swept, answer.result);
      else
        this.swept.replaceChildren(
          el("p", { class: "rd-sub", role: "status" }, sweepWords(answer)),
        );
    }
  }
}

function side(title, turn) {
  const text = el("div", { class: "rs-text" });
  return {
    text,
    box: el("div", { class: "rs-answer", "data-turn": turn.id }, el("h4", {}, title), text),
  };
}

function sweepWords({
  ok,
  message,
  state,
  before = [],
  stage = "",
  done = 0,
  total = 0,
  error = "",
}) {
  if (!ok) return message;
  if (state === "waiting")
    return before.length ? `Waiting behind ${before.join(", ")}` : "Waiting for the device";
  if (state === "running") return total ? `${stage}: ${done} of ${total} answers` : stage;
  return error || "Stopped; the model is as it was.";
}

function costWords({ plain, steered }) {
  if (plain === null || steered === null)
    return "No perplexity: the plain answer is empty, or the steered model rules it out.";
  const fluent =
    steered <= 2 * plain ? "still fluent" : "more than twice as surprised by its own plain answer";
  return `Perplexity of the plain answer ${plain.toFixed(1)} → ${steered.toFixed(1)}, ${fluent}.`;
}

function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

// The layer of the room, or the one of a reading that is nearest to it.
function layerOf(reading, wanted) {
  const far = (layer) => Math.abs(layer - wanted);
  return reading.layers.reduce((best, layer) => (far(layer) < far(best) ? layer : best));
}
