// The room Read: one input, the coloured text, what it reads as, every token below.

import { button, el, remember, remembered } from "../lib/dom.js";
import { saveText } from "../lib/download.js";
import { number, REACH } from "../lib/scale.js";
import { Bars } from "./bars.js";
import { Composer } from "./composer.js";
import { Gear } from "./gear.js";
import { KeptTexts } from "./kept.js";
import { openMany } from "./many.js";
import { paintMap } from "./map.js";
import { savePicture } from "./picture.js";
import { Chance, mapRows, means, named, ownTokens, peaks, Reading, scaleOf } from "./reading.js";
import { paintText } from "./text.js";
import { forkAt, TokenPanel } from "./token.js";

const LOOK = "readout-read-look";
const POLL_MS = 2000;
const TOP = 20;
const UNITS = { z: "z", cosine: "cosine", raw: "raw, each row on its own scale" };
const OFFLINE = { ok: false, message: "The app does not answer. It may be restarting." };

// What gr.HTML hands over; `server` holds the functions of the app.
export function start({ element, server }) {
  const room = new ReadRoom(element.querySelector(".rs-read"), server);
  room.begin();
}

class ReadRoom {
  constructor(root, server) {
    Object.assign(this, { root, server, reading: null, chance: null, pointed: null });
    this.look = {
      layer: null,
      kind: "z",
      order: "mean",
      template: false,
      concept: "",
      rows: "top",
      ...stored(),
    };
    this.state = { ready: false, run: "", concepts: [], doubts: {}, thresholds: {}, prompts: [] };
    this.listeners = { look: [], turns: [] };
    this.examples = JSON.parse(root.dataset.examples);
    this.n = 0; // drawings so far
    const act = {
      point: (token) => this.point(token),
      open: (token, concept) => this.open(token, concept),
      pick: (concept) => this.choose("concept", concept),
      row: (row, isLayer) =>
        isLayer ? this.choose("layer", row) : this.choose("concept", this.reading.concepts[row]),
      fork: (reading, token) => this.fork(reading, token),
      closed: () =>
        this.text.querySelector('.rd-token[tabindex="0"]')?.focus({ preventScroll: true }),
    };
    this.act = act;
    this.gearBox = new Gear(this.look, (name, value) => this.choose(name, value));
    this.kept = new KeptTexts({
      ask: (...all) => this.ask(...all),
      typed: () => this.composer.typed,
      open: (text, mode) => this.readText(text, mode),
    });
    this.composer = new Composer(
      {
        read: () => this.read(),
        example: (text) => this.readText(text, "assistant"),
        many: () => this.many(),
      },
      this.examples,
      this.gearBox.element,
      this.kept.element,
    );
    this.bars = new Bars(act);
    this.panel = new TokenPanel((...all) => this.ask(...all), act);
    root.replaceChildren(this.layOut());
    this.resume();
  }

  get element() {
    return this.root;
  }

  get gear() {
    return this.gearBox.element;
  }

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
      legend(),
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
      el("button", { type: "button", "data-rows": rows, onclick: () => this.choose("rows", rows) }),
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
    this.mapLegend = el("span", { class: "rd-wide" });
    const seg = el("span", { class: "rd-seg", role: "group", "aria-label": "Rows" }, this.views);
    const head = el(
      "div",
      { class: "rd-maphead" },
      el("h2", {}, "Every token"),
      seg,
      this.fit,
      el("span", { class: "rd-space" }),
      this.mapLegend,
      el("span", { class: "rd-files" }, this.files),
    );
    this.map = el("div", {});
    return el("section", { class: "rd-mapbox", "aria-label": "Every token" }, head, this.map);
  }

  // Gradio answers undefined, or throws, when the server did not.
  async ask(name, request) {
    const answer = await Promise.resolve(this.server[name](request)).catch(() => undefined);
    return answer || OFFLINE;
  }

  say(words) {
    this.notice.replaceChildren(words || " ");
  }

  // Reading.

  async begin() {
    await this.lookAgain();
    this.openAddress();
    window.addEventListener("hashchange", () => this.openAddress());
    setInterval(
      () => document.visibilityState === "visible" && this.root.offsetParent && this.lookAgain(),
      POLL_MS,
    );
  }

  resume() {
    this.composer.restore();
    this.root.classList.add("rd-empty");
  }

  // "#/read?text=…" brings a text along.
  openAddress() {
    const [place, details = ""] = window.location.hash.split(/\?(.*)/s);
    const { text, mode } = Object.fromEntries(new URLSearchParams(details));
    if (place === "#/read" && text && text !== this.composer.typed.text)
      this.readText(text, mode || "assistant");
  }

  // What there is now: a model, a run, a report; a new run reads the text again.
  async lookAgain() {
    const answer = await this.ask("read_look", {});
    if (!answer.ok) {
      this.say(answer.message);
      return;
    }
    const before = this.state;
    this.state = answer;
    this.kept.show(answer.prompts);
    if (!answer.run) await this.showStored();
    else if (!answer.ready) this.say(answer.missing);
    else if (answer.run !== before.run || !before.ready)
      await this.welcome(before.run !== answer.run);
    else if (JSON.stringify(answer.doubts) !== JSON.stringify(before.doubts)) this.draw();
  }

  async welcome(newRun) {
    if (newRun) this.chance = null;
    if (this.chat?.owns) {
      if (newRun) this.chat.reread();
      return;
    }
    const { text, mode } = this.composer.typed;
    await this.readText(
      text.trim() ? text : Object.values(this.examples)[0],
      text.trim() ? mode : "assistant",
    );
  }

  // Before any training: what the page shows with the shipped library.
  async showStored() {
    this.library ||= await fetch(new URL("./stored.json", import.meta.url)).then((found) =>
      found.json(),
    );
    const train = button({
      label: "Train on your texts",
      kind: "primary",
      onclick: () => document.querySelector("#retrain")?.click(),
    });
    if (!this.notice.querySelector("button"))
      this.notice.replaceChildren(el("span", {}, this.library.origin), " ", train);
    if (!this.reading) this.readStored(Object.values(this.examples)[0]);
  }

  readStored(text) {
    const answer = this.library.readings[text];
    if (!answer) return;
    this.composer.set(text, "assistant");
    const reading = new Reading(answer, null);
    reading.stored = true;
    this.chance = new Chance(this.library.chance[text], answer.concepts.length);
    this.show(reading);
  }

  readText(text, mode) {
    this.composer.set(text, mode);
    return this.read();
  }

  async read() {
    const asked = this.composer.typed;
    if (!this.state.run) {
      if (this.library?.readings[asked.text]) this.readStored(asked.text);
      return;
    }
    this.root.dataset.busy = "1";
    const answer = await this.ask("read_text", { ...asked, kind: "z", layers: null });
    delete this.root.dataset.busy;
    this.say(answer.ok ? "" : answer.message);
    if (!answer.ok) return;
    const reading = new Reading(answer, asked);
    this.show(reading);
    this.chat?.take(reading, { turns: answer.turns, mode: asked.mode });
  }

  // An empty page, before a chat begins.
  clear() {
    this.composer.set("");
    this.panel.close();
    this.reading = null;
    this.text.replaceChildren();
    if (this.text.readoutText) this.text.readoutText.reading = null;
    this.root.classList.add("rd-empty");
  }

  // Any reading, also one that grows: the same object again after tokens came.
  show(reading) {
    if (reading !== this.reading) this.panel.close();
    this.reading = reading;
    this.root.classList.remove("rd-empty");
    this.draw();
    this.measureChance();
  }

  // Neutral texts are read a few at a time, until the band of this length is known.
  async measureChance() {
    const { reading } = this;
    if (!reading.run || reading.growing) return;
    const length = ownTokens(reading).length;
    if (reading.stored || (this.chance?.asked === length && this.chance.run === reading.run))
      return;
    let answer = null;
    do {
      answer = await this.ask("read_chance", { length });
      if (reading !== this.reading || !answer.ok || answer.run !== reading.run) return;
      this.progress = `chance: ${answer.read} of ${answer.texts} neutral texts read`;
      this.point(this.pointed);
    } while (!answer.ends);
    this.chance = new Chance(answer, reading.concepts.length);
    this.draw();
  }

  // What is chosen.

  onLook(callback) {
    this.listeners.look.push(callback);
  }

  onTurns(callback) {
    this.listeners.turns.push(callback);
  }

  async choose(name, value) {
    this.look[name] = value;
    remember(LOOK, JSON.stringify(this.look));
    for (const tell of this.listeners.look) tell(this.look, name);
    const { reading } = this;
    if (!reading) return;
    if (reading.has && !(reading.has("z", this.layer) && reading.has(this.look.kind, this.layer)))
      await this.fetchScores(reading);
    this.draw();
  }

  async fetchScores(reading) {
    for (const kind of new Set(["z", this.look.kind])) {
      if (reading.has(kind, this.layer) || !reading.asked) continue;
      const answer = await this.ask("read_text", {
        ...reading.asked,
        kind,
        layers: kind === "z" ? [this.layer] : null,
      });
      if (answer.ok && answer.tokens.length === reading.tokens.length) reading.take(answer);
      else this.say(answer.message ?? "The text changed; read it again.");
    }
    if (!reading.has(this.look.kind, this.layer)) this.look.kind = "z";
  }

  async keepThreshold() {
    const z = this.threshold.value === "" ? null : Number(this.threshold.value);
    const { concept } = this;
    if (z === null) delete this.state.thresholds[concept];
    else this.state.thresholds[concept] = z;
    this.draw();
    const answer = await this.ask("keep_threshold", { concept, z });
    if (!answer.ok) this.say(answer.message);
  }

  thresholdOf(concept) {
    const known = this.state.thresholds[concept];
    if (known !== undefined) return known;
    return this.chance?.threshold(this.layer, this.reading.concepts.indexOf(concept)) ?? Number.NaN;
  }

  // Drawing.

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
    paintText(
      this.text,
      reading,
      { concept, layer, kind: look.kind, scale, template: look.template, threshold },
      { act: this.act, onTurns: (turns) => this.listeners.turns.forEach((tell) => tell(turns)) },
    );
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
    if (colours.dataset.names !== concepts.join("\n")) {
      colours.dataset.names = concepts.join("\n");
      const names = [...concepts].sort((a, b) => a.localeCompare(b));
      colours.replaceChildren(...names.map((name) => el("option", {}, name)));
    }
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
    const who = reading.roles[this.own[0]] === "user" ? "user’s" : "model’s";
    this.bars.draw({
      title: single ? "This word reads as" : "This text reads as",
      about: single
        ? `“${named(reading.tokens[token])}” · token ${token + 1} · layer ${layer}`
        : `mean z of the ${who} ${this.own.length} tokens · layer ${layer}`,
      chance: known ? chanceWords(chance, this.own.length, single) : (this.progress ?? ""),
      names: reading.concepts,
      values: single
        ? reading.concepts.map((_, c) => reading.z(layer, token, c))
        : [...this.values],
      band: (c) => (known ? finite(chance.band(layer, c, single)) : null),
      doubts: state.doubts,
      chosen: this.concept,
      single,
    });
    this.map.readoutMap?.point(token);
    this.text.querySelector(".rd-on")?.classList.remove("rd-on");
    if (single) this.text.querySelector(`[data-t="${token}"]`)?.classList.add("rd-on");
  }

  drawMap() {
    const { reading, look, layer, concept } = this;
    const n = reading.concepts.length;
    const words = { top: `Top ${Math.min(TOP, n)}`, all: `All ${n}`, layers: "Layers" };
    for (const view of this.views) {
      view.textContent = words[view.dataset.rows];
      view.setAttribute("aria-pressed", String(view.dataset.rows === look.rows));
      view.hidden =
        (view.dataset.rows === "all" && n <= TOP) ||
        (view.dataset.rows === "layers" && reading.layers.length < 2);
    }
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
      order: look.order,
      values: this.values,
      highest: look.order === "peak" ? peaks(reading, layer, this.own) : null,
      alike: this.alike?.get(`${reading.run} ${layer}`),
      most: look.rows === "top" ? TOP : n,
    });
    const layers =
      look.rows === "layers" && reading.layers.length > 1 ? [...reading.layers].reverse() : null;
    const map = paintMap(
      this.map,
      reading,
      { layer, concept, kind: look.kind, columns, rows, layers, scaleOf: scaleFor },
      this.act,
    );
    this.fit.hidden = map.bar.hidden && !map.whole;
    this.mapLegend.replaceChildren(
      look.kind === "z"
        ? legend("below neutral", "above")
        : el("span", { class: "rd-scale" }, `colours: ${UNITS[look.kind]}`),
    );
    this.files[0].hidden = !reading.asked;
    if (look.order === "similarity" && !this.alike?.has(`${reading.run} ${layer}`))
      this.findAlike(reading, layer);
  }

  async findAlike(reading, layer) {
    if (!reading.asked) return;
    this.alike ||= new Map();
    this.alike.set(`${reading.run} ${layer}`, null);
    const answer = await this.ask("read_alike", { ...reading.asked, layers: [layer] });
    if (!answer.ok) return;
    this.alike.set(`${reading.run} ${layer}`, answer.concepts);
    this.draw();
  }

  fitMap() {
    const map = this.map.readoutMap;
    map.whole = !map.whole;
    this.fit.querySelector("span").textContent = map.whole ? "Readable" : "Whole text";
    this.draw();
  }

  // One token.

  open(token, concept) {
    if (concept) this.choose("concept", concept);
    this.panel.open(this.reading, token, this.layer);
  }

  fork(reading, token) {
    const detail = forkAt(reading, token);
    if (detail) document.dispatchEvent(new CustomEvent("read-fork", { detail }));
  }

  many() {
    if (!this.state.ready) {
      this.say("Train first; then many texts can be read.");
      return;
    }
    const mode = ["user", "raw"].includes(this.composer.typed.mode)
      ? this.composer.typed.mode
      : "assistant";
    const { concepts } = this.state;
    const layer = this.state.layers.includes(this.look.layer) ? this.look.layer : this.state.best;
    openMany({
      root: this.root,
      concepts,
      how: { layer, mode },
      ask: (...all) => this.ask(...all),
      open: (text) => this.readText(text, mode),
    });
  }

  async download(format) {
    const { reading, layer } = this;
    if (!reading) return;
    if (format !== "csv") {
      const span =
        this.look.kind === "z" ? `z, from −${REACH} to +${REACH}` : UNITS[this.look.kind];
      savePicture(this.map.readoutMap, `layer ${layer} · ${span}`, format);
      return;
    }
    const answer = await this.ask("read_csv", { ...reading.asked, layers: [layer] });
    if (answer.ok) saveText(answer.csv, "readout.csv", "text/csv");
    else this.say(answer.message);
  }
}

function stored() {
  try {
    return JSON.parse(remembered(LOOK) ?? "{}");
  } catch {
    return {}; // written by another version
  }
}

const finite = (band) => (band.every(Number.isFinite) ? band : null);

function chanceWords(chance, length, single) {
  const stretch = single ? "neutral tokens" : `stretches of ${chance.length} neutral tokens`;
  const shorter = !single && chance.length < length ? ", the longest there are" : "";
  return `chance: 95 % of ${stretch}${shorter}`;
}

function legend(low = "", high = "") {
  const ends = [`${low} ${number(-REACH, 0)}`, `+${REACH} z ${high}`].map((words) => words.trim());
  return el("span", { class: "rd-scale" }, ends[0], el("i"), ends[1]);
}
