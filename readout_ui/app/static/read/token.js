// One token in a drawer: its concepts over the layers, what the model takes to come next.

import { button, el } from "../lib/dom.js";
import { number } from "../lib/scale.js";
import { named, ranked, turnsOf, unpackCells, written } from "./reading.js";

const CURVES = 5;
const [WIDTH, HEIGHT, LEFT, BOTTOM] = [424, 176, 30, 20];
const WHO = { user: "You", assistant: "Model", system: "System", template: "template" };

export class TokenPanel {
  // `ask(name, request)`: the server; `act.pick(concept)`; `act.fork(reading, token)`; `act.closed()`.
  constructor(ask, act) {
    Object.assign(this, { ask, act, token: null });
    this.title = el("h2", { tabindex: -1 });
    this.about = el("p", { class: "rd-sub" });
    this.curves = el("div", { class: "rd-curves" });
    this.next = el("div", { class: "rd-next" });
    this.all = el("div");
    this.fork = button({
      label: "Fork the chat from here",
      kind: "plain",
      onclick: () => act.fork(this.reading, this.token),
    });
    const close = button({
      symbol: "close",
      label: "Close",
      iconOnly: true,
      onclick: () => this.close(),
    });
    this.element = el(
      "section",
      { class: "rd-drawer rd-token-panel", hidden: true, "aria-label": "One token" },
      el("div", { class: "rd-drawer-head" }, el("div", {}, this.title, this.about), close),
      this.curves,
      el("h3", {}, "What comes next"),
      this.next,
      this.fork,
      el("details", {}, el("summary", {}, "All concepts at this layer"), this.all),
    );
    this.element.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      this.close();
    });
  }

  close() {
    if (this.element.hidden) return;
    this.element.hidden = true;
    this.token = null;
    this.act.closed();
  }

  async open(reading, token, layer) {
    Object.assign(this, { reading, token, layer, scores: null });
    this.element.hidden = false;
    const role = WHO[reading.roles[token]];
    this.title.textContent = `“${named(reading.tokens[token])}”`;
    this.about.textContent = `token ${token + 1} of ${reading.tokens.length} · ${role} · layer ${layer}`;
    this.fork.hidden = !forkAt(reading, token);
    this.draw();
    this.next.replaceChildren(el("p", { class: "rd-sub" }, "Asking the model…"));
    this.title.focus({ preventScroll: true });
    const { asked } = reading;
    if (!asked) {
      const words = reading.stored
        ? "Train on your texts to ask the model."
        : "What comes next is asked of unsteered, finished answers only.";
      this.next.replaceChildren(el("p", { class: "rd-sub" }, words));
      return;
    }
    const answer = await this.ask("read_token", {
      ...asked,
      position: token,
      token: reading.tokens[token],
    });
    if (this.reading !== reading || this.token !== token) return;
    if (!answer.ok) {
      this.next.replaceChildren(el("p", { class: "rd-message" }, answer.message));
      return;
    }
    this.next.replaceChildren(nextList(answer.next));
    const at = unpackCells(answer.scores, reading.layers.length, 1, reading.concepts.length);
    this.scores = (place, concept) => at(place, 0, concept);
    this.draw();
  }

  // Layer or run changed elsewhere.
  redraw(reading, layer) {
    if (this.token === null) return;
    if (reading !== this.reading) this.close();
    else Object.assign(this, { layer }) && this.draw();
  }

  scoreAt(place, concept) {
    const { reading, token } = this;
    return this.scores
      ? this.scores(place, concept)
      : reading.z(reading.layers[place], token, concept);
  }

  draw() {
    const { reading, layer } = this;
    const place = reading.layers.indexOf(layer);
    const values = reading.concepts.map((_, concept) => this.scoreAt(place, concept));
    const order = ranked(values);
    const shown = order.slice(0, CURVES);
    const names = shown.map((concept, index) =>
      el(
        "button",
        {
          type: "button",
          class: "rd-key",
          onclick: () => this.act.pick(reading.concepts[concept]),
        },
        el("i", { class: `rd-line-${index}` }),
        el("span", {}, reading.concepts[concept]),
        el("b", {}, number(values[concept])),
      ),
    );
    const picture = reading.layers.length > 1 ? this.chart(shown) : null;
    this.curves.replaceChildren(
      ...[picture, el("div", { class: "rd-keys" }, names)].filter(Boolean),
    );
    const line = (concept) =>
      el(
        "tr",
        {},
        el("td", {}, reading.concepts[concept]),
        el("td", { class: "num" }, number(values[concept])),
      );
    this.all.replaceChildren(el("table", { class: "rd-table" }, el("tbody", {}, order.map(line))));
  }

  chart(shown) {
    const { layers } = this.reading;
    const lines = shown.map((concept) => layers.map((_, place) => this.scoreAt(place, concept)));
    const known = lines.flat().filter(Number.isFinite);
    const [low, high] = [Math.min(-1, ...known), Math.max(1, ...known)];
    const x = (place) => LEFT + ((WIDTH - LEFT - 6) * place) / (layers.length - 1);
    const y = (z) => 8 + ((HEIGHT - BOTTOM - 8) * (high - z)) / (high - low);
    const path = (line) =>
      line
        .map((z, place) =>
          Number.isFinite(z) ? `${x(place).toFixed(1)} ${y(z).toFixed(1)}` : null,
        )
        .filter(Boolean)
        .join("L");
    const parts = lines.map((line, index) => `<path class="rd-line-${index}" d="M${path(line)}"/>`);
    const now = x(layers.indexOf(this.layer));
    const label = (words, at, height, anchor = "middle") =>
      `<text x="${at}" y="${height}" text-anchor="${anchor}">${words}</text>`;
    const host = el("div");
    // Numbers alone: no name from a person ever gets into this markup.
    host.innerHTML =
      `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="z over the layers">` +
      `<path class="rd-axis-line" d="M${LEFT} ${y(0)}H${WIDTH - 6}"/>` +
      `<path class="rd-now" d="M${now} 8V${HEIGHT - BOTTOM}"/>${parts.join("")}` +
      label(number(high, 1), LEFT - 4, 14, "end") +
      label(number(low, 1), LEFT - 4, HEIGHT - BOTTOM, "end") +
      label(layers[0], LEFT, HEIGHT - 4) +
      label(`layer ${layers.at(-1)}`, WIDTH - 6, HEIGHT - 4, "end") +
      "</svg>";
    return host.firstChild;
  }
}

function nextList(found) {
  const most = Math.max(...found.map(({ share }) => share), 1e-9);
  const row = ({ token, share }) => {
    const bar = el("i", { class: "rd-share" });
    bar.style.width = `${(100 * share) / most}%`;
    const percent = share < 0.001 ? "<0.1 %" : `${(100 * share).toFixed(1)} %`;
    return el(
      "li",
      {},
      el("code", {}, token),
      el("span", { class: "rd-share-track" }, bar),
      el("span", {}, percent),
    );
  };
  return el("ol", {}, found.map(row));
}

// The turns before a token's turn, and that turn up to and with the token; null where none is.
export function forkAt(reading, token) {
  const turns = turnsOf(reading).filter((turn) => turn.role !== "template");
  const at = turns.findIndex((turn) => turn.positions?.includes(token));
  if (at < 0 || reading.roles[token] === "template") return null;
  const words = ({ positions }, last) =>
    positions
      .filter((each) => reading.roles[each] !== "template" && each <= last)
      .map((each) => reading.pieces?.[each] ?? written(reading.tokens[each]))
      .join("")
      .trimStart();
  const before = turns
    .slice(0, at)
    .map((turn) => ({ role: turn.role, text: turn.text ?? words(turn, Number.POSITIVE_INFINITY) }));
  return { turns: before, cut: { role: turns[at].role, text: words(turns[at], token) } };
}
