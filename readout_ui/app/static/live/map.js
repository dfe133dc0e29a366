// The heatmap that grows: one canvas pixel per token and concept, stretched by the browser.

import { el } from "../lib/dom.js";
import { isScored } from "./scores.js";

const MAP_BLOCK = 256;
const ROLE_TINTS = {
  template: [128, 128, 128, 64],
  system: [170, 120, 180, 160],
  user: [0, 150, 136, 140],
  assistant: [200, 170, 40, 160],
};
const FAINT = 0.3;

export function buildMap(look, act) {
  const names = el("div", { class: "lv-map-names" });
  const cells = el("canvas", { class: "lv-map-cells" });
  const band = el("canvas", { class: "lv-map-band", height: 1 });
  const mark = el("div", { class: "lv-map-mark", hidden: true });
  const start = el("div", { class: "lv-map-start", hidden: true, title: "The answer begins here" });
  const sheet = el("div", { class: "lv-map-sheet" }, band, cells, mark, start);
  const scroll = el("div", { class: "lv-map-scroll" }, sheet);
  const tip = el("div", { class: "lv-tip", hidden: true });
  const box = el(
    "div",
    { class: "lv-map", role: "img", "aria-label": "Scores of every token" },
    names,
    scroll,
  );
  let drawn = 0;
  let columns = 0;
  let concepts = [];
  let seen = null;
  const size = { width: 10, height: 15 };

  function at(event) {
    const area = cells.getBoundingClientRect();
    const token = Math.floor((event.clientX - area.left) / size.width);
    const row = Math.floor((event.clientY - area.top) / size.height);
    return seen && token >= 0 && token < drawn && row >= 0 && row < concepts.length
      ? { token, row }
      : null;
  }

  cells.addEventListener("mousemove", (event) => {
    const cell = at(event);
    tip.hidden = !cell;
    if (!cell) return;
    const score = seen.rows[cell.token][cell.row];
    tip.textContent = `${seen.tokens[cell.token]} · ${concepts[cell.row]} ${score.toFixed(2)}`;
    const side = event.clientX > window.innerWidth - 240 ? -1 : 1;
    tip.style.transform = side < 0 ? "translateX(-100%)" : "none";
    tip.style.left = `${event.clientX + 12 * side}px`;
    tip.style.top = `${event.clientY + 14}px`;
  });
  cells.addEventListener("mouseleave", () => {
    tip.hidden = true;
  });
  cells.addEventListener("click", (event) => {
    const cell = at(event);
    if (cell) act.select(cell.token, concepts[cell.row]);
  });

  function setUp(speech) {
    concepts = speech.source.concepts;
    size.height = concepts.length > 60 ? 12 : 15;
    names.replaceChildren(
      ...concepts.map((name) =>
        el(
          "button",
          {
            type: "button",
            class: "lv-map-name",
            style: `height:${size.height}px`,
            title: `Colour the text by ${name}`,
            onclick: () => act.pick(name),
          },
          name,
        ),
      ),
    );
  }

  function widen(n) {
    columns = Math.max(MAP_BLOCK, Math.ceil(n / MAP_BLOCK) * MAP_BLOCK);
    cells.width = columns;
    cells.height = concepts.length;
    band.width = columns;
    drawn = 0;
  }

  function paint(speech, from) {
    const n = speech.rows.length - from;
    if (n <= 0) return;
    const image = new ImageData(n, concepts.length);
    const roles = new ImageData(n, 1);
    for (let column = 0; column < n; column += 1) {
      const token = from + column;
      const weight = isScored(speech, token) ? 255 : 255 * FAINT;
      roles.data.set(ROLE_TINTS[speech.roles[token]], 4 * column);
      speech.rows[token].forEach((score, row) => {
        const share = Math.max(-1, Math.min(1, score / speech.reach));
        const colour = share >= 0 ? look.above : look.below;
        image.data.set([...colour, Math.abs(share) * weight], 4 * (row * n + column));
      });
    }
    cells.getContext("2d").putImageData(image, from, 0);
    band.getContext("2d").putImageData(roles, from, 0);
  }

  return {
    box,
    tip,
    clear() {
      seen = null;
      drawn = 0;
      concepts = [];
      box.hidden = true;
      tip.hidden = true;
    },
    // `afresh`: colours changed, so every column is painted again.
    draw(speech, afresh, chosen, selected) {
      const n = speech.rows.length;
      box.hidden = n === 0;
      if (n === 0) return;
      const follow = scroll.scrollLeft + scroll.clientWidth >= scroll.scrollWidth - 24;
      if (speech.source.concepts !== concepts) {
        setUp(speech);
        columns = 0;
      }
      if (n > columns || afresh || speech !== seen) widen(n);
      seen = speech;
      paint(speech, drawn);
      drawn = n;
      size.width = Math.max(3, Math.min(12, Math.floor(24000 / n)));
      const whole = `${columns * size.width}px`;
      cells.style.width = whole;
      cells.style.height = `${concepts.length * size.height}px`;
      band.style.width = whole;
      sheet.style.width = `${n * size.width}px`;
      start.hidden = n <= speech.source.n_prompt;
      start.style.left = `${speech.source.n_prompt * size.width}px`;
      mark.hidden = selected === null;
      if (selected !== null) {
        mark.style.left = `${selected * size.width}px`;
        mark.style.width = `${size.width}px`;
      }
      for (const name of names.children) {
        name.classList.toggle("lv-chosen", name.textContent === chosen);
      }
      if (follow) scroll.scrollLeft = scroll.scrollWidth;
    },
  };
}
