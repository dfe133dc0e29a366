// The coloured text: turns of tokens, coloured by one concept, reachable by pointer and keys.

import { el } from "../lib/dom.js";
import { rove, stopAt } from "../lib/roving.js";
import { paint, Z_SCALE } from "../lib/scale.js";
import { named, scoreOf, turnsOf, written } from "./reading.js";

const WHO = { user: "You", assistant: "Model", system: "System", template: "Template" };
const TOKEN = ".rd-token";

// Draws a reading into an element, or colours what is there anew; `onTurns` gets new head lines.
//
// look: concept (name), layer, kind, scale, template (show its tokens), threshold (z, or null).
export function paintText(element, reading, look, { onTurns = () => {}, act = null } = {}) {
  const state = element.readoutText || begin(element, act);
  const same = state.reading === reading && state.template === Boolean(look.template);
  if (!same) {
    element.replaceChildren();
    Object.assign(state, { reading, template: Boolean(look.template), spans: [], turns: [] });
  }
  if (grow(element, state))
    onTurns(state.turns.map(({ role, place }, index) => ({ index, role, element: place })));
  colour(state, look);
  return state.spans;
}

function begin(element, act) {
  const state = { spans: [], turns: [], act };
  element.readoutText = state;
  element.classList.add("rd-turns");
  if (!act) return state;
  const tokenOf = (event) => event.target.closest?.(TOKEN);
  element.addEventListener("pointerover", (event) => {
    const span = tokenOf(event);
    act.point(span ? Number(span.dataset.t) : null);
  });
  element.addEventListener("pointerleave", () => act.point(null));
  element.addEventListener("click", (event) => {
    const span = tokenOf(event);
    if (!span) return;
    stopAt(element, TOKEN, span);
    act.open(Number(span.dataset.t));
  });
  rove(element, TOKEN, (span) => act.point(Number(span.dataset.t)));
  element.addEventListener("focusin", (event) => {
    const span = tokenOf(event);
    if (span) act.point(Number(span.dataset.t));
  });
  element.addEventListener("focusout", () => act.point(null));
  element.addEventListener("keydown", (event) => {
    const span = tokenOf(event);
    if (!span || !["Enter", " "].includes(event.key)) return;
    event.preventDefault();
    act.open(Number(span.dataset.t));
  });
  return state;
}

// Turns and tokens that are not on the page yet; true where a head line is new.
function grow(element, state) {
  const { reading } = state;
  const before = state.turns.length;
  turnsOf(reading).forEach((turn, index) => {
    const drawn = state.turns[index] || addTurn(element, state, turn);
    if (!turn.positions) drawn.words.textContent = turn.text;
    for (const token of (turn.positions || []).slice(drawn.n)) addToken(drawn, state, token);
    drawn.n = turn.positions?.length ?? 0;
  });
  const first = state.spans.find((span) => span && !span.classList.contains("rd-template"));
  if (state.act && first && !element.querySelector(`${TOKEN}[tabindex="0"]`)) first.tabIndex = 0;
  return state.turns.length > before;
}

function addTurn(element, state, turn) {
  const words = el("p", { class: "rd-words" });
  const place = el("span", { class: "rd-place", "data-place": "branches" });
  const head = el("div", { class: "rd-who" }, el("span", {}, WHO[turn.role]), place);
  const box = el("div", { class: `rd-turn rd-${turn.role}` }, head, words);
  element.append(box);
  const drawn = { role: turn.role, words, place, n: 0 };
  state.turns.push(drawn);
  return drawn;
}

function addToken(drawn, state, token) {
  if (state.spans[token]) return; // a turn that was cut at another place for a while
  const { reading } = state;
  const template = reading.roles[token] === "template";
  const shown = reading.pieces?.[token] ?? written(reading.tokens[token]);
  const text = template ? reading.tokens[token] : shown;
  if (!text || (template && !state.template)) return;
  const kind = `rd-token${template ? " rd-template" : ""}`;
  const reach = state.act ? { role: "button", tabindex: -1 } : {};
  const span = el("span", { class: kind, "data-t": token, ...reach }, text);
  if (state.act && !text.trim()) span.setAttribute("aria-label", named(reading.tokens[token]));
  state.spans[token] = span;
  drawn.words.append(span);
}

function colour({ reading, spans }, { concept, layer, kind = "z", scale = Z_SCALE, threshold }) {
  const at = reading.concepts.indexOf(concept);
  spans.forEach((span, token) => {
    const score = at < 0 ? Number.NaN : scoreOf(reading, kind, layer, token, at);
    const counts = reading.scored[token] || reading.roles[token] === "template";
    span.style.background = counts ? paint(score, scale) : "";
    const over = Number.isFinite(threshold) && reading.scored[token];
    span.classList.toggle("rd-over", Boolean(over) && reading.z(layer, token, at) >= threshold);
  });
}
