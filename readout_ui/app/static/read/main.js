// The room Read: one input, the coloured text, what it reads as, every token below.

import { ask } from "../lib/ask.js";
import { button, el, remember, remembered } from "../lib/dom.js";
import { saveText } from "../lib/download.js";
import { current, onRoute } from "../lib/route.js";
import { REACH } from "../lib/scale.js";
import { Bars } from "./bars.js";
import { mountChat } from "./chat.js";
import { Composer } from "./composer.js";
import { Gear } from "./gear.js";
import { KeptTexts } from "./kept.js";
import { openMany } from "./many.js";
import { savePicture } from "./picture.js";
import { Chance, ownTokens, Reading } from "./reading.js";
import { ReadScreen, UNITS } from "./screen.js";
import { forkAt, TokenPanel } from "./token.js";

const LOOK = "readout-read-look";
const POLL_MS = 2000;

// What gr.HTML hands over; `server` holds the functions of the app.
export function start({ element, server }) {
  const room = new ReadRoom(element.querySelector(".rs-read"), server);
  room.begin();
}

class ReadRoom extends ReadScreen {
  constructor(root, server) {
    super();
    Object.assign(this, { root, server, reading: null, chance: null, pointed: null });
    this.look = {
      layer: null,
      kind: "z",
      order: "mean",
      template: false,
      concept: "",
      rows: "top",
      only: "",
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
    this.chat = mountChat(this);
    this.resume();
  }

  get element() {
    return this.root;
  }

  get gear() {
    return this.gearBox.element;
  }

  // Gradio answers undefined, or throws, when the server did not.
  ask(name, request) {
    return ask(this.server, name, request);
  }

  say(words) {
    this.notice.replaceChildren(words || " ");
  }

  // Reading.

  async begin() {
    const { room, query } = current();
    // The text of the address is the first that is read, unless a chat is here.
    if (room === "read" && query.text && !this.chat.owns)
      this.composer.set(query.text, query.mode || "assistant");
    await this.lookAgain();
    onRoute((route) => this.openAddress(route));
    setInterval(
      () => document.visibilityState === "visible" && this.root.offsetParent && this.lookAgain(),
      POLL_MS,
    );
  }

  resume() {
    this.composer.restore();
    this.root.classList.add("rd-empty");
  }

  // "#/read?text=…" brings a text along, "?concept=…" what colours it, "#/read/many" opens a table.
  openAddress({ room, part, query: { text, mode, concept } }) {
    if (room !== "read") return;
    document.body.dataset.readPart = part;
    if (concept) this.choose("concept", concept);
    if (text && text !== this.composer.typed.text) this.readText(text, mode || "assistant");
    if (part === "many" && !this.root.querySelector(".rd-many")) this.many();
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
    this.wanted = asked;
    const { layers, best } = this.state;
    const first = layers.includes(this.look.layer) ? this.look.layer : best;
    const answer = await this.ask("read_text", { ...asked, kind: "z", layers: [first] });
    if (this.wanted !== asked) return; // another text was asked for meanwhile
    delete this.root.dataset.busy;
    this.say(answer.ok ? "" : answer.message);
    if (!answer.ok) return;
    const reading = new Reading(answer, asked);
    this.show(reading);
    this.fetchLayers(reading);
    this.chat?.take(reading, { turns: answer.turns, mode: asked.mode });
  }

  // All layers, once the one shown is on screen: then they change without a question.
  async fetchLayers(reading) {
    const answer = await this.ask("read_text", { ...reading.asked, kind: "z", layers: null });
    if (!answer.ok || answer.run !== reading.run || answer.tokens.length !== reading.tokens.length)
      return;
    reading.take(answer);
    this.root.dataset.layers = answer.held.length;
    if (reading === this.reading && this.look.rows === "layers") this.draw();
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

  async findAlike(reading, layer) {
    if (!reading.asked) return;
    this.alike ||= new Map();
    this.alike.set(`${reading.run} ${layer}`, null);
    const answer = await this.ask("read_alike", { ...reading.asked, layers: [layer] });
    if (!answer.ok) return;
    this.alike.set(`${reading.run} ${layer}`, answer.concepts);
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
