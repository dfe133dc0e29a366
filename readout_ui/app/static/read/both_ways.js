// The same question answered as the model is and steered: two branches of the chat, beside each other.

import { el, tableHead } from "../lib/dom.js";
import { number } from "../lib/scale.js";
import { oneTurn, withTurns } from "./growing.js";
import { means } from "./reading.js";
import { paintText } from "./text.js";

const MOVED = 8;

export class BothWays {
  // `pair`: the two turns and what is known of them, or null.
  constructor(chat, recipe) {
    Object.assign(this, { chat, recipe, pair: null });
    this.answers = el("div", { class: "rs-two" });
    this.cost = el("p", { class: "rd-sub", id: "steer-cost", role: "status" });
    this.table = el("div", { class: "rs-moved" });
    this.parts = [this.answers, this.cost, this.table];
    chat.room.onLook((_look, name) => name === "layer" && this.draw());
  }

  async answer(question) {
    const { chat } = this;
    this.pair = null;
    for (const part of this.parts) part.replaceChildren();
    this.cost.textContent = "Answering without steering";
    const plain = this.known(question) ?? (await chat.answers.ask(question));
    if (!plain) return;
    this.cost.textContent = "Answering with steering";
    const steered = await chat.answers.ask(question, { recipe: chat.settings.recipe });
    if (!steered) return;
    const during = chat.readings.get(steered.id);
    this.pair = { kept: chat.kept, plain, steered, during, costs: null, alone: null };
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
    const { plain, steered } = pair;
    this.draw();
    this.cost.textContent = "Measuring perplexity";
    const asked = { ...chat.asking(plain.parent), recipe: steered.recipe, text: plain.text };
    pair.costs = await chat.ask("steer_cost", asked);
    const { reading } = await chat.readAsText(steered.id);
    if (pair !== this.pair) return;
    pair.alone = reading;
    this.draw();
  }

  // The pair as it is known so far, at the layer of the room.
  draw() {
    const { pair, chat } = this;
    if (!pair || pair.kept !== chat.kept) return;
    const plain = chat.readings.get(pair.plain.id);
    const { room } = chat;
    const look = {
      concept: this.recipe.checked?.terms[0]?.concept ?? room.concept,
      kind: "z",
    };
    const wanted = layerOf(plain, room.layer);
    const sides = [
      side("As it is", pair.plain),
      side(`Steered · ${pair.steered.recipe}`, pair.steered),
    ];
    this.answers.replaceChildren(...sides.map((one) => one.box));
    [plain, pair.during].forEach((reading, at) => {
      const own = this.turnOf(reading, [pair.plain, pair.steered][at]);
      paintText(sides[at].text, own, { ...look, layer: layerOf(reading, wanted) });
    });
    const { costs } = pair;
    if (costs) this.cost.textContent = costs.ok ? costWords(costs) : costs.message;
    this.table.replaceChildren(this.movedTable(plain, pair));
  }

  turnOf(reading, { id }) {
    return oneTurn(withTurns(reading, this.chat.tree.pathTo(id)), id);
  }

  meansOf(reading, turn) {
    if (!reading) return null;
    const own = this.turnOf(reading, turn).turns[0]?.positions ?? [];
    const layer = layerOf(reading, this.chat.room.layer);
    return means(
      reading,
      layer,
      own.filter((token) => reading.scored[token]),
    );
  }

  movedTable(plain, { plain: first, steered, during, alone }) {
    const columns = [
      this.meansOf(plain, first),
      this.meansOf(during, steered),
      this.meansOf(alone, steered),
    ];
    const names = during.concepts;
    const pushed = new Set(this.recipe.checked?.terms.map((term) => term.concept));
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
    return el(
      "table",
      {},
      el(
        "caption",
        {},
        `Mean z of the answer at layer ${layerOf(during, this.chat.room.layer)}; “words alone” reads the steered answer without steering.`,
      ),
      tableHead(["", "plain", "steered", "words alone"]),
      el("tbody", {}, rows),
    );
  }
}

function side(title, turn) {
  const text = el("div", { class: "rs-text" });
  return {
    text,
    box: el("div", { class: "rs-answer", "data-turn": turn.id }, el("h4", {}, title), text),
  };
}

function costWords({ plain, steered }) {
  if (plain === null || steered === null)
    return "No perplexity: the plain answer is empty, or the steered model rules it out.";
  const fluent =
    steered <= 2 * plain ? "still fluent" : "more than twice as surprised by its own plain answer";
  return `Perplexity of the plain answer ${plain.toFixed(1)} → ${steered.toFixed(1)}, ${fluent}.`;
}

// The layer of the room, or the one of a reading that is nearest to it.
function layerOf(reading, wanted) {
  const far = (layer) => Math.abs(layer - wanted);
  return reading.layers.reduce((best, layer) => (far(layer) < far(best) ? layer : best));
}
