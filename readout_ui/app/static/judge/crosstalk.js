// Cross-talk: the cosines of any layer on a canvas, all pairs beyond chance, and what is below.

import { ask, fileToSend } from "../lib/ask.js";
import { saveCsv } from "../lib/csv.js";
import { el, messageLine, plural, say } from "../lib/dom.js";
import { addressOf, current, go, onRoute } from "../lib/route.js";
import { drawMap } from "./map.js";
import { cellsOf, MatrixView, square, unpack } from "./matrix.js";
import { addressOfPair, PAIR, PairSheet, pairTable, rowOf } from "./pairs.js";

const PART = "cross-talk";
const MEAN = "mean"; // the choice that averages over all layers
const PASSED_BY = 300; // milliseconds that a layer is looked at before its pairs are asked for

export function start({ element, server }) {
  const page = new CrosstalkPage(element, server);
  const changes = { childList: true, subtree: true, attributeFilter: ["data-run"] };
  new MutationObserver(() => page.follow(current())).observe(element, changes);
  onRoute((route) => page.follow(route));
}

class CrosstalkPage {
  constructor(element, server) {
    Object.assign(this, { element, server, root: null, run: "", data: null, plane: "pca" });
    const about = (a, b) => rowOf(this.pairs.get(this.at) ?? [], a, b);
    this.sheet = new PairSheet(server, PART, about, (a, b) => this.view?.choose(a, b));
  }

  // Shows the layer that the address names, of the run that the server drew.
  follow({ room, part, query }) {
    const root = this.element.querySelector(".crosstalk");
    if (!root || room !== "judge" || part !== PART) return;
    if (root !== this.root || root.dataset.run !== this.run) this.load(root);
    else if (this.data) this.show(this.layerOf(query.layer));
  }

  async load(root) {
    const run = root.dataset.run;
    Object.assign(this, { root, run, data: null, at: null, pairs: new Map(), ratings: null });
    const answer = await ask(this.server, "crosstalk_cosines");
    if (this.root !== root || this.run !== run) return;
    if (!answer.ok) {
      this.say(answer.message);
      return;
    }
    this.data = { ...answer, packed: unpack(answer.cosines) };
    if (root.querySelector("canvas") !== this.view?.canvas) this.wire();
    this.follow(current());
  }

  // Once for every page that the server draws.
  wire() {
    const { root } = this;
    this.view = new MatrixView(root.querySelector(".cosines"), (a, b) => go(this.pairAt(a, b)));
    this.choice = root.querySelector("select");
    this.choice.addEventListener("input", () => go(this.addressAt(this.choice.value)));
    root.querySelector("[data-do]").addEventListener("click", () => {
      saveCsv([PAIR, ...(this.pairs.get(this.at) ?? [])], `pairs-layer-${this.at}`);
    });
    for (const part of root.querySelectorAll("details"))
      part.addEventListener("toggle", () => this.fill(part));
  }

  // The layer that an address names, as the choice holds it: the best one of the run by default.
  layerOf(named) {
    const known = named === MEAN || this.data.layers.includes(Number(named));
    return named && known ? named : String(this.data.best);
  }

  addressAt(layer) {
    return addressOf({ room: "judge", part: PART, query: { layer } });
  }

  pairAt(a, b) {
    return addressOfPair(a, b, PART, { layer: this.at });
  }

  show(at) {
    if (this.at === at) return;
    const { layers, order, packed } = this.data;
    this.offer(at);
    this.at = at;
    const index = at === MEAN ? layers.length : layers.indexOf(Number(at));
    this.values = square(packed, order.length, index);
    this.paint();
    this.fillPairs(at);
    for (const part of this.root.querySelectorAll("details")) {
      part.lastElementChild.replaceChildren();
      this.fill(part);
    }
  }

  offer(at) {
    const { layers, best } = this.data;
    const option = (value, words) => el("option", { value }, words);
    const words = (layer) => (layer === best ? `${layer}, best` : `${layer}`);
    if (this.offered !== this.data)
      this.choice.replaceChildren(
        ...layers.map((layer) => option(layer, words(layer))),
        option(MEAN, "mean of all"),
      );
    this.offered = this.data;
    this.choice.value = at;
  }

  paint() {
    const names = this.data.order;
    const marked = cellsOf(this.pairs.get(this.at) ?? [], names);
    this.view.show({ names, values: this.values, marked });
  }

  async fillPairs(at) {
    const { run } = this;
    if (!this.pairs.has(at)) {
      this.say("Which pairs are beyond chance is being worked out…");
      // The cosines are painted first, and layers that are only passed by are not worked out.
      await new Promise((done) => setTimeout(done, this.pairs.size ? PASSED_BY : 0));
      if (this.run !== run || this.at !== at) return;
      const layer = at === MEAN ? null : Number(at);
      const answer = await ask(this.server, "crosstalk_pairs", { layer });
      if (this.run !== run) return;
      if (answer.ok) this.pairs.set(at, answer.pairs);
      if (this.at !== at) return;
      if (!answer.ok) {
        this.say(answer.message);
        return;
      }
      this.paint();
    }
    this.list(this.pairs.get(at), at);
  }

  // Words in the place of the list.
  say(words) {
    this.heading("");
    this.root.querySelector(".pairlist").replaceChildren(el("p", { class: "dim" }, words));
    this.root.querySelector("[data-do]").disabled = true;
  }

  heading(found) {
    const where = this.at === MEAN ? "mean over all layers" : `layer ${this.at}`;
    const title = this.at === null ? "Cosines" : `${found || "Cosines"}, ${where}`;
    this.root.querySelector(".found").textContent = title;
  }

  list(pairs, at) {
    const n = this.data.order.length;
    const confused = pairs.filter((pair) => pair[5] === "confused").length;
    const told = confused ? `; ${confused} confused` : "";
    const all = plural((n * (n - 1)) / 2, "pair");
    this.heading(`${pairs.length.toLocaleString("en")} of ${all} beyond chance${told}`);
    this.root.querySelector(".about-pairs").textContent =
      "Chance: random groups of the same texts, 5 % false discoveries." +
      (at === MEAN ? " No held-out text judges a mean over layers." : "");
    const none = el("p", { class: "dim" }, "No pair is nearer or further than chance.");
    const table = pairs.length ? pairTable(pairs, (a, b) => this.pairAt(a, b)) : none;
    this.root.querySelector(".pairlist").replaceChildren(table);
    this.root.querySelector("[data-do]").disabled = !pairs.length;
  }

  // What is below comes when it is opened.
  async fill(part) {
    const { at, run, plane } = this;
    const place = part.lastElementChild;
    if (!part.open || place.childElementCount || at === null) return;
    place.replaceChildren(el("p", { class: "dim", role: "status" }, "Working it out…"));
    const answer = await this.askPart(part, this.ratings);
    if (this.at !== at || this.run !== run || this.plane !== plane) return;
    if (!answer.ok) {
      place.replaceChildren(el("p", { role: "alert" }, answer.message));
      return;
    }
    this.draw(part, answer);
  }

  askPart({ dataset }, ratings) {
    const layer = this.at === MEAN ? this.data.best : Number(this.at);
    const wanted = { part: dataset.part, layer, plane: this.plane, ratings };
    return ask(this.server, "crosstalk_part", wanted);
  }

  draw(part, answer) {
    const place = part.lastElementChild;
    place.innerHTML = answer.html; // the server's own, every name escaped
    if (answer.matrix) place.append(...responses(answer.matrix));
    if (answer.map) place.append(this.planes(answer.map, part), drawMap(answer.map));
    if (part.dataset.part === "space") place.prepend(...this.rating(part));
  }

  // Where a person's ratings of the concepts are brought, for the geometry; kept at other layers.
  rating(part) {
    const line = messageLine();
    const file = el("input", { type: "file", accept: ".csv,.tsv,.json,.jsonl" });
    file.addEventListener("change", async () => {
      const { at, run } = this;
      say(line, "");
      const chosen = await fileToSend(file.files[0]);
      const answer = chosen.ok ? await this.askPart(part, chosen.sent) : chosen;
      if (this.at !== at || this.run !== run) return;
      if (answer.ok) {
        this.ratings = chosen.sent;
        this.draw(part, answer);
      } else say(line, answer.message);
      file.value = "";
    });
    const words =
      "CSV with a column concept and one of numbers for each scale, such as valence and arousal.";
    return [
      el("label", { class: "at" }, "Ratings ", file),
      el("p", { class: "dim small" }, words),
      line,
    ];
  }

  planes({ planes, about }, part) {
    const option = (name) =>
      el("option", { value: name, selected: name === this.plane }, name.toUpperCase());
    const redraw = (event) => {
      this.plane = event.target.value;
      part.lastElementChild.replaceChildren();
      this.fill(part);
    };
    const choice = el("select", { oninput: redraw }, planes.map(option));
    return el(
      "p",
      { class: "dim small" },
      el("label", { class: "at" }, "Drawn by ", choice),
      ` ${about}`,
    );
  }
}

function responses({ names, cells, marked }) {
  const section = el(
    "section",
    { class: "cosines" },
    el("header", {}, el("span", { class: "scale dim small" })),
    el(
      "div",
      { class: "mxwrap", tabindex: "0", role: "region", "aria-label": "Matrix of scores" },
      el("canvas", { role: "img", "aria-label": "Scores of left-out texts on all directions" }),
    ),
    el(
      "p",
      { class: "told dim small", "aria-hidden": "true" },
      "Point at a cell: text, direction.",
    ),
  );
  const view = new MatrixView(section);
  requestAnimationFrame(() =>
    view.show({ names, values: Float32Array.from(cells), marked, diagonal: true }),
  );
  return [section];
}
