// Rows of the scoreboard: a tick, the name, and what is known about the concept.

import { button, el } from "../lib/dom.js";
import { addressOf } from "../lib/route.js";
import { decimals } from "../lib/scale.js";
import { placeOn, STATE_MEANING, TONES } from "./scoreboard.js";

// Columns that a phone leaves out, and columns of numbers.
export const FOLDED = { texts: "rs-fold rs-num", state: "rs-fold", nearest: "rs-fold" };
const LINE = 64; // pixels of the line from .5 to 1

export function conceptAddress(key) {
  return addressOf({ room: "write", part: key });
}

export function conceptLink(name) {
  return el("a", { href: conceptAddress(name) }, name);
}

// The interval as a line with a dot, on a scale from .5 to 1.
export function interval({ auroc, low, high, verdict }) {
  if (auroc === null) return null;
  const [from, to] = [placeOn(low ?? auroc, LINE), placeOn(high ?? auroc, LINE)];
  const at = placeOn(auroc, LINE);
  return el(
    "span",
    { class: `rs-ci rs-ci-${TONES[verdict] || "none"}`, "aria-hidden": "true" },
    el("i", { style: `left:${from}px;width:${to - from}px` }),
    el("b", { style: `left:${at}px` }),
  );
}

function scoreCell({ score }) {
  if (!score || score.auroc === null) return el("td", { class: "rs-dim" }, "–");
  const { low, high, n_held_out: n } = score;
  const range = low === null ? "" : `95 %: ${decimals(low, 2)} to ${decimals(high, 2)}, `;
  return el("td", { title: `${range}${n} held-out texts` }, interval(score), decimals(score.auroc));
}

function nearestCell({ score }) {
  if (!score?.nearest) return el("td", { class: "rs-fold rs-dim" }, "–");
  const name = el("span", { title: score.nearest }, score.nearest);
  const cosine = el("span", { class: "rs-dim" }, ` ${decimals(score.cosine, 2)}`);
  return el("td", { class: "rs-fold" }, el("span", { class: "rs-nearest" }, name, cosine));
}

function verdictCell(row) {
  const { score } = row;
  if (row.problem || row.neutral || !score) return el("td", { class: "rs-dim" }, "–");
  const tone = TONES[score.verdict] || "none";
  return el("td", {}, el("span", { class: `rs-v rs-v-${tone}` }, score.verdict));
}

function stateCell({ state }) {
  const title = STATE_MEANING[state] || null;
  return el(
    "td",
    { class: "rs-fold" },
    el("span", { class: `rs-state rs-state-${state}`, title }, state),
  );
}

function nameCell(list, row) {
  const { app } = list;
  const link = el(
    "a",
    {
      class: "rs-row-name",
      href: conceptAddress(row.key),
      tabindex: "-1",
      "aria-current": app.selected === row.key ? "true" : null,
      title: row.name,
      // A click keeps the focus here (and a phone's keyboard down); Enter goes on to the text.
      onclick: (event) => {
        if (event.ctrlKey || event.metaKey || event.shiftKey) return;
        event.preventDefault();
        app.open(row.key, { focus: event.detail === 0 });
      },
    },
    row.name,
  );
  const unsaved = !row.problem && app.hasDraft(row.name);
  const dot = el("span", { class: "rs-unsaved-dot", title: "Text not saved yet" }, " •");
  const hits = list.hits(row);
  return el(
    "td",
    { class: "rs-name-cell" },
    link,
    unsaved ? dot : null,
    hits ? el("span", { class: "rs-tag" }, hits) : null,
  );
}

export function conceptRow(list, row) {
  const { app } = list;
  const tick = el("input", {
    type: "checkbox",
    tabindex: "-1",
    checked: row.ticked,
    disabled: app.readOnly(),
    "aria-label": `Train ${row.name}`,
    onchange: (event) => list.tick([row], event.target.checked),
  });
  const current = app.selected === row.key ? " rs-current" : "";
  const out = row.ticked ? "" : " rs-left-out";
  return el(
    "tr",
    { class: `rs-row${current}${out}`, "data-key": row.key },
    el("td", {}, row.problem || row.neutral ? null : tick),
    nameCell(list, row),
    el("td", { class: "rs-fold rs-num" }, row.problem ? "!" : String(row.n_descriptions)),
    stateCell(row),
    scoreCell(row),
    nearestCell(row),
    verdictCell(row),
  );
}

// What stands below the titles when no row does.
export function emptyTable(app, nAll, query) {
  if (app.overview.error) return el("p", { class: "rs-none" }, app.overview.error);
  if (!nAll) {
    const words = app.readOnly()
      ? "This folder has no concepts."
      : "No concepts yet. Press New to write the first one, or Import to bring a set.";
    return el("p", { class: "rs-none" }, words);
  }
  if (!query)
    return el("p", { class: "rs-none" }, "Nothing here. Choose All to see every concept.");
  const name = query.replace(/\s+/g, "_");
  const create = button({
    symbol: "add",
    label: `Create “${name}”`,
    kind: "soft",
    onclick: () => app.dialogs.create(name),
  });
  return el(
    "div",
    { class: "rs-none" },
    el("p", {}, `No concept has “${query}” in its name or texts.`),
    app.readOnly() ? null : create,
  );
}
