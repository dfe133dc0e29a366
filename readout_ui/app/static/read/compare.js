// Compare, a mode of the room: one text with two runs or models, two texts, or two branches of the
// chat; side by side on one colour scale, and B - A.

import { el, plural, say } from "../lib/dom.js";
import { current, go, onRoute } from "../lib/route.js";
import { Z_SCALE } from "../lib/scale.js";
import { Bars } from "./bars.js";
import { small } from "./chat_parts.js";
import { paintMap } from "./map.js";
import { means, Reading, ranked } from "./reading.js";
import { paintText } from "./text.js";

const WAYS = {
  runs: "Two runs",
  models: "Two models",
  texts: "Two texts",
  branches: "Two branches",
};
const MODES = {
  assistant: "the model says it",
  user: "the user says it",
  raw: "raw, no template",
  chat: "a chat",
};
const TOP = 20;
const LEAD = 3; // columns before the place where two texts part
const POLL_MS = 250;
const ABOUT_MODELS =
  "B’s model is loaded beside the one in use for this one reading and unloaded after it. It is refused, with both sizes, when there is no room for it.";

export class CompareView {
  constructor(chat) {
    Object.assign(this, {
      chat,
      way: "runs",
      found: null,
      layers: [-1, -1],
      all: false,
      branches: [null, null],
    });
    this.build();
    const { room } = chat;
    this.opener = el(
      "a",
      { class: "btn quiet", href: "#/read?compare=runs", id: "compare-open" },
      "Compare",
    );
    room.place("tools").append(this.opener);
    onRoute(({ room: where, query }) => where === "read" && this.show(query.compare));
  }

  build() {
    this.ways = Object.entries(WAYS).map(([way, words]) =>
      el("a", { class: "rc-way", href: `#/read?compare=${way}`, "data-way": way }, words),
    );
    this.texts = ["A", "B"].map((letter, at) =>
      el("textarea", { id: `compare-text-${at}`, rows: 3, placeholder: `The text of ${letter}` }),
    );
    this.mode = el(
      "select",
      { id: "compare-mode" },
      Object.entries(MODES).map(([value, words]) => el("option", { value }, words)),
    );
    this.runs = [0, 1].map((at) => el("select", { id: `compare-run-${at}` }));
    this.location = el("input", {
      id: "compare-location",
      placeholder: "Hub id or folder; empty for what the run says",
      title: ABOUT_MODELS,
    });
    this.leaves = [0, 1].map((at) => el("select", { id: `compare-branch-${at}` }));
    for (const run of this.runs) run.addEventListener("change", () => this.fillRuns());
    this.go = el(
      "button",
      { type: "button", class: "btn go", id: "compare-go", onclick: () => this.compare() },
      "Compare",
    );
    this.stop = small("Stop", () => this.ask("compare_stop", { chat: this.id }), {
      class: "btn",
      id: "compare-stop",
      hidden: true,
    });
    this.status = el("p", { class: "rc-status", role: "status" });
    this.fault = el("p", { class: "rc-message", role: "alert", hidden: true });
    this.fields = {
      text0: field(this.texts[0], "Text A"),
      text1: field(this.texts[1], "Text B"),
      leaf0: field(this.leaves[0], "Branch A"),
      leaf1: field(this.leaves[1], "Branch B"),
      mode: field(this.mode, "Read as"),
      run0: field(this.runs[0], "Run A"),
      run1: field(this.runs[1], "Run B"),
      location: field(this.location, "Model of B"),
    };
    this.results = el("div", { class: "rc-results", hidden: true });
    this.buildResults();
    this.element = el(
      "section",
      { class: "rc-compare", "aria-label": "Compare" },
      el(
        "div",
        { class: "rc-comparehead" },
        el("h2", {}, "Compare"),
        el("nav", { class: "rc-ways", "aria-label": "What is compared" }, this.ways),
        el("span", { class: "rd-space" }),
        el("a", { class: "btn quiet", href: "#/read", id: "compare-close" }, "Back to the text"),
      ),
      el("div", { class: "rc-fields" }, Object.values(this.fields)),
      el("div", { class: "rc-go" }, this.go, this.stop, this.status),
      this.fault,
      this.results,
    );
  }

  buildResults() {
    this.about = el("p", { class: "rd-sub", id: "compare-about" });
    this.concept = el("select", { id: "compare-concept", "aria-label": "Coloured by" });
    this.concept.addEventListener("change", () => this.pick(this.concept.value));
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
    const look = el(
      "div",
      { class: "rc-look" },
      el("span", { class: "rd-sub" }, "Coloured by"),
      this.concept,
      this.layerFields,
      this.more,
    );
    this.results.append(
      this.about,
      look,
      el(
        "div",
        { class: "rc-sides" },
        this.sides.map((side) => side.box),
      ),
      this.differs,
    );
  }

  get id() {
    return this.chat.kept.id;
  }

  ask(name, request) {
    return this.chat.ask(name, request);
  }

  // What is compared.

  // `way` of the address; nothing closes the view.
  show(way) {
    const open = way in WAYS;
    if (open) this.chat.room.root.append(this.element);
    else this.element.remove();
    this.chat.room.root.classList.toggle("rd-comparing", open);
    if (!open) {
      window.dispatchEvent(new Event("resize"));
      return;
    }
    if (way !== this.way) this.hideResults();
    this.way = way;
    for (const link of this.ways)
      link.setAttribute("aria-current", String(link.dataset.way === way));
    this.prefill();
    const shown = {
      text0: way !== "branches",
      text1: way === "texts",
      mode: way !== "branches",
      run0: true,
      run1: way === "runs" || way === "models",
      location: way === "models",
      leaf0: way === "branches",
      leaf1: way === "branches",
    };
    for (const [name, box] of Object.entries(this.fields)) box.hidden = !shown[name];
    this.fields.run0.querySelector("label").textContent = shown.run1 ? "Run A" : "Run";
    this.fields.text0.querySelector("label").textContent = shown.text1 ? "Text A" : "Text";
    this.fillRuns();
    this.fillLeaves();
  }

  prefill() {
    const { text, mode } = this.chat.room.composer.typed;
    if (this.texts[0].value || !text) return;
    this.texts[0].value = text;
    this.mode.value = mode in MODES ? mode : "assistant";
  }

  async fillRuns() {
    const way = this.way === "branches" ? "texts" : this.way;
    const answer = await this.ask("compare_runs", {
      way,
      chosen: this.runs.map((run) => run.value || null),
    });
    if (!answer.ok) {
      say(this.fault, answer.message);
      return;
    }
    [answer.first, answer.second].forEach((choices, at) => {
      this.runs[at].replaceChildren(
        ...choices.map(([label, id]) => el("option", { value: id }, label)),
      );
      this.runs[at].value = answer.values[at] ?? "";
    });
    this.notice = answer.notice;
    this.status.textContent = answer.notice;
    this.go.disabled = Boolean(answer.notice);
  }

  fillLeaves() {
    const { tree } = this.chat;
    const leaves = tree.leaves.map((turn) => [turn.id, labelOf(tree, turn)]);
    this.leaves.forEach((list, at) => {
      list.replaceChildren(...leaves.map(([id, label]) => el("option", { value: id }, label)));
      const wanted = this.branches[at] ?? leaves[Math.min(at, leaves.length - 1)]?.[0];
      if (wanted) list.value = wanted;
    });
    if (this.way === "branches" && leaves.length < 2) {
      this.status.textContent =
        "The chat has no two branches yet: regenerate an answer, or edit a turn.";
    }
  }

  // Two turns of the chat, each with what follows it as it was shown last.
  openBranches(first, second) {
    const { tree } = this.chat;
    this.branches = [first, second].map((id) => tree.pathFrom(id).at(-1)?.id ?? id);
    go("#/read?compare=branches");
    if (current().query.compare === "branches") this.fillLeaves();
    this.compare();
  }

  request() {
    const branch = (at) => ({
      text: "",
      mode: "chat",
      turns: this.chat.told(this.branches[at] ?? this.leaves[at].value),
    });
    const typed = (at) => ({ text: this.texts[at].value, mode: this.mode.value, turns: null });
    const branches = this.way === "branches";
    if (branches) this.branches = this.leaves.map((list, at) => list.value || this.branches[at]);
    const [first, second] = branches ? [branch(0), branch(1)] : [typed(0), typed(1)];
    const way = branches ? "texts" : this.way;
    return {
      chat: this.id,
      way,
      first,
      second,
      runs: this.runs.map((run) => run.value),
      location: this.location.value,
    };
  }

  async compare() {
    say(this.fault, "");
    if (this.way === "branches" || !this.runs[0].value) await this.fillRuns();
    this.layers = [-1, -1];
    this.opens = true;
    this.go.disabled = true;
    this.stop.hidden = false;
    const answer = await this.ask("compare_ask", this.request());
    if (answer.ok) await this.follow();
    else say(this.fault, answer.message);
    this.stop.hidden = true;
    this.go.disabled = Boolean(this.notice);
  }

  async follow() {
    let state = "waiting";
    while (["waiting", "running"].includes(state)) {
      const answer = await this.poll();
      state = answer.ok ? answer.state : "failed";
      this.status.textContent =
        state === "waiting" || state === "running" ? stageWords(answer) : "";
      if (answer.message || answer.error) say(this.fault, answer.message || answer.error);
      if (state === "cancelled") this.status.textContent = "Stopped.";
      if (answer.result) this.take(answer.result);
      else
        await new Promise((resume) => {
          setTimeout(resume, POLL_MS);
        });
    }
  }

  poll() {
    return this.ask("compare_poll", { chat: this.id, layers: this.layers });
  }

  // What was found.

  hideResults() {
    this.found = null;
    this.results.hidden = true;
    say(this.fault, "");
    this.status.textContent = "";
  }

  take(result) {
    this.found = {
      ...result,
      sides: result.sides.map((side) => columnReading(side)),
      difference: result.difference && columnReading(result.difference),
    };
    this.results.hidden = false;
    this.draw();
  }

  pick(concept) {
    this.chat.room.choose("concept", concept);
    this.draw();
  }

  async moveLayer(side, place) {
    this.layers = this.found.sides.map((reading) => reading.best);
    this.layers[side] = this.found.layers[side][place];
    if (this.found.same_model) this.layers = [this.layers[0], this.layers[0]];
    this.sliders[side].shown.textContent = this.layers[side];
    const wanted = String(this.layers);
    const answer = await this.poll();
    if (answer.result && wanted === String(this.layers)) this.take(answer.result);
  }

  toggleAll() {
    this.all = !this.all;
    this.draw();
  }

  draw() {
    const { found } = this;
    const { sides, difference, names, left_out: left } = found;
    const { concepts } = sides[0];
    const values = valuesOf(found);
    const order = ranked(difference ? values.map(Math.abs) : values);
    const wanted = this.chat.room.look.concept;
    const concept = concepts.includes(wanted) ? wanted : concepts[order[0]];
    this.about.textContent = left.length
      ? `${found.about} Only one side has: ${left.slice(0, 8).join(", ")}${left.length > 8 ? " …" : ""}.`
      : found.about;
    this.about.dataset.alignment = found.alignment;
    this.drawLook(concepts, concept);
    const rows = this.all ? order : order.slice(0, TOP);
    const maps = [...this.sides.map((side) => side.map), this.difference];
    const act = {
      point: (token) => {
        for (const map of maps) map.readoutMap?.point(token);
      },
      open: (_token, row) => row && this.pick(row),
      row: (row) => this.pick(concepts[row]),
      pick: (name) => this.pick(name),
    };
    const columns = [...sides[0].tokens.keys()].filter((at) => shownColumn(sides, at));
    const look = { concept, kind: "z", rows, columns, scaleOf: () => Z_SCALE };
    const aligned = difference !== null;
    sides.forEach((reading, at) => {
      const side = this.sides[at];
      side.title.textContent = ` ${names[at]} · layer ${reading.best}`;
      paintText(side.text, reading, { concept, layer: reading.best, kind: "z" });
      const own = aligned
        ? columns
        : [...reading.tokens.keys()].filter((column) => reading.roles[column] !== "template");
      paintMap(side.map, reading, { ...look, columns: own, layer: reading.best }, act);
    });
    this.differs.hidden = !difference;
    if (!difference) return;
    paintMap(this.difference, difference, { ...look, layer: difference.best }, act);
    if (this.opens) openWherePart(maps, sides, columns);
    this.opens = false;
    const n = difference.scored.filter(Boolean).length;
    this.bars.draw({
      title: "B reads more as",
      about: `mean of B − A over ${plural(n, "token")} that both have · z`,
      chance: "",
      names: concepts,
      values: [...values],
      band: () => null,
      doubts: {},
      chosen: concept,
      single: false,
    });
  }

  drawLook(concepts, concept) {
    const { found } = this;
    if (this.concept.dataset.names !== concepts.join("\n")) {
      this.concept.dataset.names = concepts.join("\n");
      this.concept.replaceChildren(...concepts.map((name) => el("option", {}, name)));
    }
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
      const layers = found.layers[side];
      slider.max = Math.max(1, layers.length - 1);
      slider.disabled = layers.length < 2;
      slider.value = layers.indexOf(found.sides[side].best);
      slider.setAttribute("aria-valuetext", `layer ${found.sides[side].best}`);
      shown.textContent = found.sides[side].best;
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
  return Object.assign(reading, { turns });
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

// Mean z of B - A over the columns both have; without any, the higher mean of the two.
function valuesOf({ sides, difference }) {
  const mean = (reading) => {
    const counted = [...reading.tokens.keys()].filter((at) => reading.scored[at]);
    return means(reading, reading.best, counted);
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

function field(control, label) {
  return el("div", { class: "rc-field" }, el("label", { for: control.id }, label), control);
}

function labelOf(tree, turn) {
  const words = turn.text.trim().replace(/\s+/g, " ");
  const { at, of } = tree.branch(turn.id);
  const short = words.length > 40 ? `${words.slice(0, 39)}…` : words;
  return `${turn.star ? "★ " : ""}${of > 1 ? `branch ${at} of ${of}: ` : ""}${short}${turn.recipe ? " (steered)" : ""}`;
}

function stageWords({ state, before = [], stage = "" }) {
  if (state === "waiting")
    return before.length ? `Waiting behind ${before.join(", ")}` : "Waiting for the device";
  return stage;
}
