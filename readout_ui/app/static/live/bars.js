// Top concepts as bars that keep their places, at one token or over the answer so far.

import { el } from "../lib/dom.js";
import { steadyOrder } from "./order.js";
import { colourOf } from "./scores.js";

export const TOP_ROWS = 10;
export const ABOUT_ROWS = 5;
const ZERO = 30;

export function buildBars(label, count, look, pick) {
  const list = el("ol", { class: "lv-bars", "aria-label": label });
  const rows = new Map();
  let shown = [];
  let concepts = [];

  function makeRow(index) {
    const fill = el("i", { class: "lv-fill" });
    const value = el("span", { class: "lv-value" });
    const name = el(
      "button",
      {
        type: "button",
        class: "lv-name",
        title: `Colour the text by ${concepts[index]}`,
        onclick: () => pick(concepts[index]),
      },
      concepts[index],
    );
    const row = el("li", {}, name, el("span", { class: "lv-track" }, fill), value);
    return { row, fill, value, name };
  }

  // Rows that change places glide there.
  function place(order) {
    const before = new Map(order.map((index) => [index, rows.get(index)?.row.offsetTop]));
    const fresh = order.map((index) => {
      if (!rows.has(index)) rows.set(index, makeRow(index));
      return rows.get(index).row;
    });
    list.replaceChildren(...fresh);
    if (window.matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    for (const index of order) {
      const { row } = rows.get(index);
      const moved = before.get(index) === undefined ? 0 : before.get(index) - row.offsetTop;
      if (moved && row.animate) {
        row.animate([{ transform: `translateY(${moved}px)` }, { transform: "none" }], 160);
      }
    }
  }

  return {
    list,
    clear() {
      shown = [];
      rows.clear();
      concepts = [];
      list.replaceChildren();
    },
    // `steady`: by how much, as a share of `reach`, a row must be ahead to move.
    draw(names, values, reach, chosen, steady) {
      if (names !== concepts) {
        this.clear();
        concepts = names;
      }
      const order = steadyOrder(shown, values, count, shown.length ? reach * steady : 0);
      if (order.join() !== shown.join()) place(order);
      shown = order;
      for (const index of order) {
        const { row, fill, value, name } = rows.get(index);
        const share = Math.max(-1, Math.min(1, values[index] / reach));
        const width = Math.min(share < 0 ? ZERO : 100, Math.abs(share) * (100 - ZERO));
        fill.style.width = `${width}%`;
        fill.style.left = `${share < 0 ? ZERO - width : ZERO}%`;
        fill.style.background = colourOf(values[index], Math.abs(values[index]) || 1, look, 0.85);
        value.textContent = `${values[index] < 0 ? "−" : ""}${Math.abs(values[index]).toFixed(2)}`;
        row.classList.toggle("lv-chosen", name.textContent === chosen);
      }
    },
  };
}
