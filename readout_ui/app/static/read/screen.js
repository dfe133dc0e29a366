// What stands where in the room Read, and how a reading gets there; main.js fetches and decides.

import { button, el, plural } from "../lib/dom.js";
import { number, REACH } from "../lib/scale.js";
import { TOP } from "./bars.js";
import { offer } from "./fields.js";
import { paintMap } from "./map.js";
import { mapRows, matching, means, named, ownTokens, peaks, scaleOf } from "./reading.js";
import { paintText } from "./text.js";

const byName = new Intl.Collator();
export const UNITS = { z: "z", cosine: "cosine", raw: "raw, each row on its own scale" };

export class ReadScreen {
  get layer() {
    const { layers, best } = this.reading;
    return layers.includes(this.look.layer) ? this.look.layer : best;
  }

  get concept() {
    const { concepts } = this.reading;
    if (concepts.includes(this.look.concept)) return this.look.concept;
    return concepts[this.values.indexOf(Math.max(...this.values))];
  }

  layOut() {
    this.notice = el("p", { class: "rd-notice", role: "status" }, " ");
    this.colours = el("select", {
      id: "rd-concept",
      class: "rd-select rd-by",
      "aria-label": "Coloured by",
    });
    this.threshold = el("input", {
      type: "number",
      id: "rd-threshold",
      step: 0.1,
      class: "rd-threshold",
    });
    const marked = el(
      "label",
      { class: "rd-sub rd-wide", for: "rd-threshold" },
      "underlined from z ",
      this.threshold,
    );
    const head = el(
      "div",
      { class: "rd-texthead" },
      el("span", { class: "rd-sub" }, "Coloured by"),
      this.colours,
      marked,
      el("span", { class: "rd-space" }),
      legend("below neutral", "above"),
    );
    this.text = el("div", {
      role: "group",
      "aria-label": "Coloured text: arrow keys move, Enter shows a token",
    });
    const text = el(
      "section",
      { class: "rd-text", "aria-label": "Coloured text" },
      head,
      this.text,
    );
    this.place = (name) => this.root.querySelector(`[data-place="${name}"]`);
    const left = el(
      "div",
      { class: "rd-left" },
      this.composer.element,
      this.notice,
      text,
      el("div", { "data-place": "chat" }),
    );
    this.cols = el(
      "div",
      { class: "rd-cols", hidden: false },
      left,
      this.bars.element,
      this.mapBox(),
    );
    this.colours.addEventListener("change", () => this.choose("concept", this.colours.value));
    this.threshold.addEventListener("change", () => this.keepThreshold());
    return el("div", {}, this.cols, this.panel.element, el("div", { "data-place": "drawers" }));
  }

  mapBox() {
    this.views = ["top", "all", "layers"].map((rows) =>
      el("button", { type: "button", "data-rows": rows, onclick: () => this.chooseRows(rows) }),
    );
    this.files = ["csv", "png", "svg"].map((format) =>
      button({
        label: format.toUpperCase(),
        title: `Download ${format.toUpperCase()}`,
        onclick: () => this.download(format),
      }),
    );
    this.fit = button({ label: "Whole text", onclick: () => this.fitMap() });
    this.fit.classList.add("rd-fit");
    this.only = el("input", {
      type: "search",
      class: "rd-only",
      placeholder: "only calm, sad",
      "aria-label": "Only these concepts",
      title: "Only concepts whose names contain these words; commas between them",
      value: this.look.only,
      oninput: () => this.choose("only", this.only.value),
    });
    this.nobody = el("span", { class: "rd-sub", role: "status" });
    this.mapLegend = el("span", { class: "rd-wide" });
    const seg = el("span", { class: "rd-seg", role: "group", "aria-label": "Rows" }, this.views);
    const head = el(
      "div",
      { class: "rd-maphead" },
      el("h2", {}, "Every token"),
      seg,
      this.only,
      this.nobody,
      this.fit,
      el("span", { class: "rd-space" }),
      this.mapLegend,
      el("span", { class: "rd-files" }, this.files),
    );
    this.map = el("div", {});
    return el("section", { class: "rd-mapbox", "aria-label": "Every token" }, head, this.map);
  }

  chooseRows(rows) {
    this.only.value = "";
    this.look.only = "";
    this.choose("rows", rows);
  }

  thresholdOf(concept) {
    const known = this.state.thresholds[concept];
    if (known !== undefined) return known;
    return this.chance?.threshold(this.layer, this.reading.concepts.indexOf(concept)) ?? Number.NaN;
  }

  draw() {
    const { reading, look } = this;
    if (!reading) return;
    this.own = ownTokens(reading);
    this.values = means(reading, this.layer, this.own);
    const { layer, concept } = this;
    const at = reading.concepts.indexOf(concept);
    const scale = scaleOf(reading, look.kind, layer, at);
    const threshold = this.thresholdOf(concept);
    this.drawHead(concept, threshold);
    const onTurns = (turns) => {
      for (const tell of this.listeners.turns) tell(turns);
    };
    const { kind, template } = look;
    const shown = { concept, layer, kind, scale, template, threshold };
    paintText(this.text, reading, shown, { act: this.act, onTurns });
    this.drawMap();
    this.point(this.pointed);
    this.gearBox.show(reading.layers, layer, reading.best);
    this.panel.redraw(reading, layer);
    this.n += 1;
    this.root.dataset.drawn = this.n;
  }

  drawHead(concept, threshold) {
    const { concepts } = this.reading;
    const { colours } = this;
    offer(colours, [...concepts].sort(byName.compare));
    colours.value = concept;
    if (document.activeElement !== this.threshold) {
      this.threshold.value = Number.isFinite(threshold) ? threshold.toFixed(1) : "";
    }
  }

  // Bars of the text, or of the token under the pointer.
  point(token) {
    const { reading, chance, state } = this;
    this.pointed = token;
    if (!reading) return;
    if (token !== null && token >= reading.tokens.length) return;
    const single = token !== null;
    const { layer } = this;
    const known = chance && chance.run === reading.run;
    const at = (one) => reading.concepts.map((_, c) => reading.z(layer, one, c));
    const live = !single && reading.growing && reading.answered.length > 0;
    this.bars.draw({
      ...(single ? this.aboutToken(token) : this.aboutText(live)),
      chance: known ? chanceWords(chance, this.own.length, single) : (this.progress ?? ""),
      names: reading.concepts,
      values: single ? at(token) : [...this.values],
      last: live ? at(this.own.at(-1)) : null,
      band: (c) => (known ? finite(chance.band(layer, c, single)) : null),
      doubts: state.doubts,
      chosen: this.concept,
      single,
    });
    this.map.readoutMap?.point(token);
    this.text.querySelector(".rd-on")?.classList.remove("rd-on");
    if (single) this.text.querySelector(`[data-t="${token}"]`)?.classList.add("rd-on");
  }

  aboutToken(token) {
    const word = `“${named(this.reading.tokens[token])}”`;
    return {
      title: "This word reads as",
      about: `${word} · token ${token + 1} · layer ${this.layer}`,
    };
  }

  aboutText(live) {
    const { reading, layer, own } = this;
    const last = named(reading.tokens[own.at(-1)]);
    if (live)
      return {
        title: "This answer reads as",
        about: `mean z of ${plural(own.length, "token")} · last “${last}” · layer ${layer}`,
      };
    const who = reading.roles[own[0]] === "user" ? "user’s" : "model’s";
    return {
      title: "This text reads as",
      about: `mean z of the ${who} ${plural(own.length, "token")} · layer ${layer}`,
    };
  }

  // Which rows there are to choose from, and the concepts that were asked for by name, or null.
  drawMapHead(n) {
    const { reading, look } = this;
    const only = matching(reading.concepts, look.only);
    const words = { top: n > TOP ? `Top ${TOP}` : `All ${n}`, all: `All ${n}`, layers: "Layers" };
    for (const view of this.views) {
      view.textContent = words[view.dataset.rows];
      view.setAttribute("aria-pressed", String(view.dataset.rows === look.rows && !only));
      view.hidden =
        (view.dataset.rows === "all" && n <= TOP) ||
        (view.dataset.rows === "layers" && reading.layers.length < 2);
    }
    const missed = Boolean(look.only.trim() && !only);
    this.only.setAttribute("aria-invalid", String(missed));
    this.nobody.textContent = missed ? "none found" : "";
    return only;
  }

  drawMap() {
    const { reading, look, layer, concept } = this;
    const n = reading.concepts.length;
    const only = this.drawMapHead(n);
    const columns = [...reading.tokens.keys()].filter(
      (token) => look.template || reading.roles[token] !== "template",
    );
    const scales = new Map();
    const scaleFor = (each, at) => {
      const key = look.kind === "raw" ? `${each} ${at}` : each;
      if (!scales.has(key)) scales.set(key, scaleOf(reading, look.kind, each, at));
      return scales.get(key);
    };
    const rows = mapRows(reading, {
      only,
      order: look.order,
      values: this.values,
      highest: look.order === "peak" ? peaks(reading, layer, this.own) : null,
      alike: this.alike?.get(`${reading.run} ${layer}`),
      most: look.rows === "top" ? TOP : n,
    });
    const layers =
      look.rows === "layers" && !only && reading.layers.length > 1
        ? [...reading.layers].reverse()
        : null;
    const map = paintMap(
      this.map,
      reading,
      { layer, concept, kind: look.kind, columns, rows, layers, scaleOf: scaleFor },
      this.act,
    );
    this.fit.hidden = map.bar.hidden && !map.whole;
    this.mapLegend.replaceChildren(
      look.kind === "z"
        ? legend()
        : el("span", { class: "rd-scale" }, `colours: ${UNITS[look.kind]}`),
    );
    this.files[0].hidden = !reading.asked;
    if (look.order === "similarity" && !this.alike?.has(`${reading.run} ${layer}`))
      this.findAlike(reading, layer);
  }

  fitMap() {
    const map = this.map.readoutMap;
    map.whole = !map.whole;
    this.fit.querySelector("span").textContent = map.whole ? "Readable" : "Whole text";
    this.draw();
  }
}

const finite = (band) => (band.every(Number.isFinite) ? band : null);

function chanceWords(chance, length, single) {
  const stretch = single ? "neutral tokens" : `stretches of ${chance.length} neutral tokens`;
  // While the band of this length is not there yet, the one before is shown.
  const asked = !single && chance.asked === length;
  const shorter = asked && chance.length < length ? ", the longest there are" : "";
  return `chance: 95 % of ${stretch}${shorter}`;
}

function legend(low = "", high = "") {
  const words = [low, high].map((end) => el("span", { class: "rd-wide" }, end));
  const [least, most] = [number(-REACH, 0), `+${REACH} z`];
  return el("span", { class: "rd-scale" }, words[0], least, el("i"), most, words[1]);
}
