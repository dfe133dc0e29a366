// A comparison that was made: both sides on one colour scale, and B - A.

import { el, plural } from "../lib/dom.js";
import { Bars, TOP } from "./bars.js";
import { small } from "./chat_parts.js";
import { choice, offer, showLayer } from "./fields.js";
import { paintMap } from "./map.js";
import { means, Reading, ranked, scaleOf } from "./reading.js";
import { paintText } from "./text.js";

const LEAD = 3; // columns before the place where two texts part
const BEST = [-1, -1];
const UNITS = { z: "z", cosine: "cosine" };

export class Comparison {
  // `room`: where a concept is chosen; `act.ask(wanted)`: gives the same at other layers or in another unit.
  constructor(room, act) {
    Object.assign(this, { room, act, found: null, layers: BEST, all: false });
    this.about = el("p", { class: "rd-sub", id: "compare-about" });
    this.sides = ["A", "B"].map((letter) => sideOf(letter));
    this.bars = new Bars({ pick: (concept) => this.pick(concept) });
    this.difference = el("div");
    this.differs = el(
      "div",
      { class: "rc-differs" },
      el(
        "div",
        {},
        el("h3", {}, "B − A, token by token"),
        el("p", { class: "rd-sub" }, "Orange where B has more, blue where A has"),
        this.difference,
      ),
      this.bars.element,
    );
    const boxes = this.sides.map((side) => side.box);
    this.element = el(
      "div",
      { class: "rc-results", hidden: true },
      this.about,
      this.lookBox(),
      el("div", { class: "rc-sides" }, boxes),
      this.differs,
    );
  }

  lookBox() {
    this.concept = el("select", { id: "compare-concept", "aria-label": "Coloured by" });
    this.concept.addEventListener("change", () => this.pick(this.concept.value));
    this.unit = choice(UNITS, { id: "compare-unit", "aria-label": "Unit" });
    this.unit.addEventListener("change", () => this.ask());
    this.sliders = [0, 1].map((side) => {
      const slider = el("input", { type: "range", min: 0, step: 1, id: `compare-layer-${side}` });
      slider.addEventListener("input", () => this.moveLayer(side, Number(slider.value)));
      return { slider, shown: el("output", { for: slider.id }) };
    });
    this.layerFields = this.sliders.map(({ slider, shown }, side) =>
      el(
        "span",
        { class: "rd-layer" },
        el("label", { for: slider.id }, side ? "Layer of B" : "Layer"),
        slider,
        shown,
      ),
    );
    this.more = small("", () => this.toggleAll(), { id: "compare-all", "aria-pressed": "false" });
    const label = el("span", { class: "rd-sub" }, "Coloured by");
    return el(
      "div",
      { class: "rc-look" },
      label,
      this.concept,
      this.unit,
      this.layerFields,
      this.more,
    );
  }

  // Another one is asked for: at its best layers, and open where its texts part.
  renew() {
    this.layers = BEST;
    this.opens = true;
  }

  hide() {
    this.found = null;
    this.element.hidden = true;
  }

  take(result) {
    this.found = {
      ...result,
      sides: result.sides.map((side) => columnReading(side)),
      difference: result.difference && columnReading(result.difference),
    };
    this.element.hidden = false;
    this.draw();
  }

  pick(concept) {
    this.room.choose("concept", concept);
    this.draw();
  }

  moveLayer(side, place) {
    const layers = this.found.sides.map((reading) => reading.best);
    layers[side] = this.found.layers[side][place];
    this.layers = this.found.same_model ? [layers[0], layers[0]] : layers;
    this.sliders[side].shown.textContent = layers[side];
    this.ask();
  }

  // The layers and the unit that are chosen.
  get wanted() {
    return { layers: this.layers, kind: this.unit.value };
  }

  async ask() {
    const wanted = JSON.stringify(this.wanted);
    const { result } = await this.act.ask(this.wanted);
    if (result && wanted === JSON.stringify(this.wanted)) this.take(result);
  }

  toggleAll() {
    this.all = !this.all;
    this.draw();
  }

  draw() {
    const { found } = this;
    const { sides, difference } = found;
    const { concepts } = sides[0];
    const values = valuesOf(found);
    const order = ranked(difference ? values.map(Math.abs) : values);
    const wanted = this.room.look.concept;
    const concept = concepts.includes(wanted) ? wanted : concepts[order[0]];
    this.drawAbout(found);
    this.drawLook(concepts, concept);
    const rows = this.all ? order : order.slice(0, TOP);
    const columns = [...sides[0].tokens.keys()].filter((at) => shownColumn(sides, at));
    const scales = sides.map((side) => scaleOf(side, side.kind, side.best, 0));
    const scale = scales.reduce((a, b) => (b.reach > a.reach ? b : a)); // one for both sides
    const look = { concept, kind: sides[0].kind, rows, columns, scale };
    this.drawSides(look);
    this.differs.hidden = !difference;
    if (difference) this.drawDifference(look, values);
  }

  drawAbout({ about, left_out: left, alignment }) {
    this.about.textContent = left.length
      ? `${about} Only one side has: ${left.slice(0, 8).join(", ")}${left.length > 8 ? " …" : ""}.`
      : about;
    this.about.dataset.alignment = alignment;
  }

  drawLook(concepts, concept) {
    const { found } = this;
    offer(this.concept, concepts);
    this.concept.value = concept;
    this.more.textContent = this.all
      ? `Top ${Math.min(TOP, concepts.length)}`
      : `All ${concepts.length}`;
    this.more.hidden = concepts.length <= TOP;
    this.layerFields[1].hidden = found.same_model;
    this.layerFields[0].querySelector("label").textContent = found.same_model
      ? "Layer"
      : "Layer of A";
    this.sliders.forEach(({ slider, shown }, side) => {
      showLayer(slider, shown, found.layers[side], found.sides[side].best);
    });
  }

  get maps() {
    return [...this.sides.map((side) => side.map), this.difference];
  }

  drawMap(map, reading, look) {
    const { concepts } = this.found.sides[0];
    paintMap(
      map,
      reading,
      { ...look, layer: reading.best },
      {
        point: (token) => {
          for (const each of this.maps) each.readoutMap?.point(token);
        },
        open: (_token, row) => row && this.pick(row),
        row: (row) => this.pick(concepts[row]),
        pick: (name) => this.pick(name),
      },
    );
  }

  drawSides(look) {
    const { sides, difference, names } = this.found;
    const { concept, kind, scale } = look;
    sides.forEach((reading, at) => {
      const side = this.sides[at];
      side.title.textContent = ` ${names[at]} · layer ${reading.best}`;
      paintText(side.text, reading, { concept, layer: reading.best, kind, scale });
      const columns = difference
        ? look.columns
        : [...reading.tokens.keys()].filter((column) => reading.roles[column] !== "template");
      this.drawMap(side.map, reading, { ...look, columns });
    });
  }

  drawDifference(look, values) {
    const { sides, difference } = this.found;
    this.drawMap(this.difference, difference, look);
    if (this.opens) openWherePart(this.maps, sides, look.columns);
    this.opens = false;
    const n = difference.scored.filter(Boolean).length;
    this.bars.draw({
      title: "B reads more as",
      about: `mean of B − A over ${plural(n, "token")} that both have · ${look.kind}`,
      scale: look.scale,
      chance: "",
      names: sides[0].concepts,
      values: [...values],
      band: () => null,
      doubts: {},
      chosen: look.concept,
      single: false,
    });
  }
}

// A side of a comparison: a column is a token; columns that only the other side has are not said.
function columnReading(side) {
  const reading = new Reading(side, null);
  const turns = [];
  reading.roles.forEach((role, at) => {
    if (!reading.tokens[at] || role === "template") return;
    if (turns.at(-1)?.role === role) turns.at(-1).positions.push(at);
    else turns.push({ role, positions: [at] });
  });
  return Object.assign(reading, { turns, kind: side.kind });
}

// Maps begin shortly before the first column that only one side has.
function openWherePart(maps, sides, columns) {
  const parts = columns.findIndex((at) => sides.some((side) => !side.tokens[at]));
  for (const map of maps) map.readoutMap?.slide(Math.max(0, parts - LEAD));
}

// Columns of the template say nothing; where nothing is aligned each side has its own.
function shownColumn(sides, at) {
  return sides.some((side) => side.roles[at] !== "template");
}

// Mean of B - A over the columns both have; without any, the higher mean of the two.
function valuesOf({ sides, difference }) {
  const mean = (reading) => {
    const counted = [...reading.tokens.keys()].filter((at) => reading.scored[at]);
    return means(reading, reading.best, counted, reading.kind);
  };
  if (difference) return mean(difference);
  const [first, second] = sides.map(mean);
  return first.map((value, at) => Math.max(value, second[at]));
}

function sideOf(letter) {
  const title = el("span", {});
  const [text, map] = [el("div", { class: "rc-text" }), el("div")];
  return {
    title,
    text,
    map,
    box: el("div", { class: "rc-side" }, el("h3", {}, el("b", {}, letter), title), text, map),
  };
}
