// "This text reads as": ranked bars with the band of neutral texts, of a text or of one token.

import { el } from "../lib/dom.js";
import { rove, stopAt } from "../lib/roving.js";
import { number, paint, REACH, Z_SCALE } from "../lib/scale.js";
import { ranked, topAndTail } from "./reading.js";

export const TOP = 20;
export const TAIL = 4;
const NAME = ".rd-bar-name";
const HALF_WORD = 4; // a single token's bars go this far at least

export class Bars {
  // `act.pick(concept)`: a bar was clicked.
  constructor(act) {
    this.title = el("h2", {}, "This text reads as");
    this.about = el("p", { class: "rd-sub" }, " ");
    this.list = el("div", { class: "rd-bars", role: "group", "aria-label": "Ranked concepts" });
    // Seen while an answer grows: of which token the second number and the mark are.
    const columns = ["", "", "mean", "last"].map((words) => el("span", {}, words));
    this.columns = el("div", { class: "rd-columns", "aria-hidden": "true" }, columns);
    this.chance = el("span", {}, "");
    this.doubt = el(
      "span",
      { class: "rd-doubt", hidden: true },
      el("b", { class: "rd-q" }, "?"),
      " unproven, ",
      el("a", { href: "#/judge" }, "see Judge"),
    );
    this.element = el(
      "section",
      { class: "rd-rail", "aria-label": "What the text reads as" },
      this.title,
      this.about,
      this.columns,
      this.list,
      el(
        "div",
        { class: "rd-axis" },
        el("span", {}, el("i", { class: "rd-swatch" }), this.chance),
        this.doubt,
      ),
    );
    this.rows = [];
    this.list.addEventListener("click", (event) => {
      const name = event.target.closest(NAME);
      if (name) act.pick(name.dataset.concept);
    });
    rove(this.list, NAME);
  }

  // values: by concept; last: those of an answer's last token while it grows, beside its means;
  // band(concept) -> [low, high] or null; doubts: verdict by name; scale: of z.
  draw({
    title,
    about,
    chance,
    names,
    values,
    last = null,
    band,
    single,
    scale = Z_SCALE,
    ...how
  }) {
    this.title.textContent = title;
    this.about.textContent = about;
    this.chance.textContent = chance;
    this.element.classList.toggle("rd-live", last !== null);
    const shown = topAndTail(ranked(values), TOP, TAIL);
    // One that follows every token would jump.
    const axis = axisOf(shown, values, band, single || last !== null, scale);
    while (this.rows.length < shown.length) this.rows.push(this.addRow());
    this.rows.forEach((row, index) => {
      const concept = shown[index];
      row.box.hidden = index >= shown.length;
      if (row.box.hidden) return;
      row.box.classList.toggle("rd-cut", concept === null);
      if (concept === null) return;
      fill(row, {
        name: names[concept],
        z: values[concept],
        now: last?.[concept],
        band: band(concept),
        axis,
        scale,
        ...how,
      });
    });
    this.doubt.hidden = !shown.some((concept) => concept !== null && how.doubts[names[concept]]);
    if (!this.list.querySelector(`${NAME}[tabindex="0"]`))
      stopAt(this.list, NAME, this.rows[0]?.name);
  }

  addRow() {
    const name = el("button", { type: "button", class: "rd-bar-name", tabindex: -1 });
    const doubt = el("a", { class: "rd-q" }, "?");
    const kinds = ["rd-chance", "rd-fill", "rd-zero", "rd-mark"];
    const [chance, bar, zero, mark] = kinds.map((kind) => el("i", { class: kind }));
    const [value, last] = ["rd-value", "rd-last"].map((kind) => el("span", { class: kind }));
    const track = el("span", { class: "rd-track", "aria-hidden": "true" }, chance, bar, zero, mark);
    const box = el(
      "div",
      { class: "rd-bar" },
      el("span", { class: "rd-label" }, name, doubt),
      track,
      value,
      last,
    );
    this.list.append(box);
    return { box, name, doubt, chance, bar, zero, mark, value, last };
  }
}

function fill(row, { name, z, now, band, axis, doubts, chosen, scale }) {
  const { box, doubt, chance, bar, zero, mark, value, last } = row;
  row.name.textContent = name;
  row.name.dataset.concept = name;
  row.name.title = `Colour the text by ${name}`;
  row.name.setAttribute("aria-pressed", String(name === chosen));
  const verdict = doubts[name];
  doubt.hidden = !verdict;
  if (verdict) {
    doubt.href = `#/judge?concept=${encodeURIComponent(name)}`;
    doubt.title = `Judge: ${verdict} on held-out texts`;
    doubt.setAttribute("aria-label", `${name} is ${verdict} on held-out texts: see Judge`);
  }
  const place = (at) =>
    (100 * (Math.max(axis[0], Math.min(axis[1], at)) - axis[0])) / (axis[1] - axis[0]);
  const span = (part, low, high) => {
    part.style.left = `${place(low)}%`;
    part.style.width = `${place(high) - place(low)}%`;
  };
  chance.hidden = !band;
  if (band) span(chance, band[0], band[1]);
  span(bar, Math.min(0, z), Math.max(0, z));
  bar.style.background = paint(z, scale);
  bar.classList.toggle("rd-neg", z < 0);
  zero.style.left = `${place(0)}%`;
  const words = number(z, scale.reach < 1 ? 3 : 2);
  value.textContent = words;
  const within = Boolean(band) && z >= band[0] && z <= band[1];
  box.classList.toggle("rd-within", within);
  const live = now !== undefined;
  mark.hidden = !live;
  last.textContent = live ? number(now, 2) : "";
  if (live) mark.style.left = `${place(now)}%`;
  const said = [name, words, within && "within chance", live && `last token ${last.textContent}`];
  row.name.setAttribute("aria-label", said.filter(Boolean).join(", "));
}

// Lowest and highest value that the bars reach.
export function axisOf(shown, values, band, single, { reach } = Z_SCALE) {
  const least = ((single ? HALF_WORD : 0.5) * reach) / REACH;
  let [low, high] = [-least / (single ? 1 : 2), least];
  for (const concept of shown) {
    if (concept === null) continue;
    const ends = band(concept) || [0, 0];
    low = Math.min(low, ends[0], single ? -least : values[concept]);
    high = Math.max(high, ends[1], single ? least : values[concept]);
  }
  return single ? [Math.max(low, -5), Math.min(high, 6)] : [low, high];
}
