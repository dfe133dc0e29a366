// The steering drawer: a recipe, the question answered both ways, and a sweep of its strength.

import { button, el, say } from "../lib/dom.js";
import { saveBlob } from "../lib/download.js";
import { openDrawer } from "../lib/drawer.js";
import { BothWays } from "./both_ways.js";
import { small } from "./chat_parts.js";
import { RecipeLine } from "./recipe.js";
import { Sweep } from "./sweep.js";

const ID = "read-steer";
const UNSAID = "Write what the user says in the line below the text, then press again.";

export class SteerDrawer {
  constructor(chat) {
    this.chat = chat;
    this.recipe = new RecipeLine({
      ask: (name, request) => chat.ask(name, request),
      changed: () => this.keep(),
      entered: () => this.answerBoth(),
    });
    this.both = new BothWays(chat, this.recipe);
    this.sweep = new Sweep(chat, { run: () => this.runSweep(), changed: () => this.keep() });
    this.replies = el("input", { type: "checkbox", id: "steer-replies" });
    this.replies.addEventListener("change", () => this.keep());
    const kinds = { type: "file", accept: ".json", hidden: true, id: "steer-file" };
    this.file = el("input", { ...kinds, "aria-label": "A steering setup" });
    this.file.addEventListener("change", () => this.open());
    this.opener = small(el("span", {}, "Steer"), () => this.refresh(), {
      class: "btn quiet",
      "data-drawer": ID,
      "aria-expanded": "false",
      "aria-haspopup": "dialog",
    });
    chat.room.place("drawers").append(this.layOut());
    chat.room.place("tools").append(this.opener);
  }

  get settings() {
    return this.chat.settings;
  }

  layOut() {
    const close = button({ symbol: "close", label: "Close", iconOnly: true, "data-drawer": ID });
    const copy = button({
      symbol: "copy",
      label: "Copy the recipe",
      iconOnly: true,
      onclick: () => this.copy(this.recipe.line.value),
    });
    const act = (label, id, kind, onclick) => small(label, onclick, { class: kind, id });
    return el(
      "aside",
      { class: "drawer rs-steer", id: ID, "aria-label": "Steering" },
      el("header", {}, el("h2", {}, "Steer the model"), close),
      el(
        "p",
        { class: "rd-sub" },
        "One line says it all; the command line and the server take the same.",
      ),
      el("div", { class: "rs-recipe" }, this.recipe.line, copy),
      this.recipe.controls,
      el("label", { class: "rs-check" }, this.replies, " Steer the chat’s answers too"),
      el(
        "div",
        { class: "rs-go" },
        act("Answer both ways", "steer-both", "btn go", () => this.answerBoth()),
        act("Copy command", "steer-command", "btn quiet", () => this.copy(this.command())),
        act("Copy curl", "steer-curl", "btn quiet", () => this.copy(this.curl())),
        act("Save as a file", "steer-save", "btn quiet", () => this.save()),
        act("Open a file", "steer-open", "btn quiet", () => this.file.click()),
        this.file,
      ),
      this.both.parts,
      this.sweep.parts,
    );
  }

  begin() {
    const { recipe, factors, steering } = this.settings;
    this.recipe.line.value = recipe;
    this.sweep.factors.value = factors;
    this.replies.checked = steering;
    this.mark();
    if (window.location.hash.includes("steer")) openDrawer(ID, this.opener);
  }

  keep() {
    Object.assign(this.settings, {
      recipe: this.recipe.text,
      factors: this.sweep.factors.value,
      steering: this.replies.checked,
    });
    this.chat.keepSettings();
    this.mark();
  }

  // The button says that answers are steered, also while the drawer is closed.
  mark() {
    const { recipe } = this.chat;
    this.opener.classList.toggle("rs-on", Boolean(recipe));
    this.opener.title = recipe ? `Answers are steered: ${recipe}` : "Push the model along concepts";
  }

  refresh() {
    this.recipe.offer(this.chat.room.state.concepts);
  }

  // The recipe elsewhere.

  copy(text) {
    navigator.clipboard?.writeText(text);
    this.both.cost.textContent = "Copied.";
  }

  async save() {
    const { recipe } = this;
    const { ok, message, text } = await this.chat.ask("steer_file", { recipe: recipe.text });
    say(recipe.fault, ok ? "" : message);
    if (ok) saveBlob(new Blob([text], { type: "application/json" }), "steering.json");
  }

  async open() {
    const { file, recipe } = this;
    const [chosen] = file.files;
    if (!chosen) return;
    const asked = { name: chosen.name, text: await chosen.text() };
    file.value = "";
    const answer = await this.chat.ask("steer_open", asked);
    if (answer.ok) recipe.line.value = answer.recipe;
    if (answer.ok) recipe.change({});
    else say(recipe.fault, answer.message);
  }

  // What the model is asked: the chat as far as the last turn of the user's.
  get asked() {
    const { userTurn, tree } = this.chat;
    return userTurn ? tree.told(userTurn.id) : [];
  }

  command() {
    const prompt = this.asked.at(-1)?.text ?? "PROMPT";
    return `readout-ui steer --vectors EXPORT --recipe ${quoted(this.recipe.line.value)} ${quoted(prompt)}`;
  }

  curl() {
    const messages = this.asked.map(({ role, text }) => ({ role, content: text }));
    const body = JSON.stringify({ model: "MODEL", messages, steer: this.recipe.line.value });
    return `curl http://127.0.0.1:8000/v1/chat/completions -H 'Content-Type: application/json' -d ${quoted(body)}`;
  }

  // What is asked with it.

  async ready() {
    const { recipe, chat } = this;
    await recipe.change({});
    if (!recipe.text) say(recipe.fault, "Write a recipe first, or add a concept.");
    return recipe.fault.hidden && !chat.busy && chat.answers.may();
  }

  question() {
    const { tree, parts, kept, userTurn } = this.chat;
    const text = parts.box.value.trim();
    if (!text) return userTurn;
    parts.box.value = "";
    kept.draft = "";
    return tree.add(tree.last?.id, { role: "user", text });
  }

  async answerBoth() {
    if (!(await this.ready())) return;
    const question = this.question();
    if (question) await this.both.answer(question);
    else say(this.recipe.fault, UNSAID);
  }

  async runSweep() {
    if (this.sweep.running || !(await this.ready())) return;
    const { userTurn } = this.chat;
    if (userTurn) await this.sweep.ask(userTurn);
    else say(this.recipe.fault, UNSAID);
  }
}

function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
