// Whole sets: export as zip, CSV or JSONL; import with a look at what would change.

import { fileToSend } from "../lib/ask.js";
import { el, icon, messageLine, openSheet, plural, say } from "../lib/dom.js";
import { saveBlob } from "../lib/download.js";
import { ImportPlan } from "./import_plan.js";

const FORMATS = {
  ".zip": "Zip: one text file per concept, as in the folder",
  ".csv": "CSV: columns concept, description; opens in any spreadsheet",
  ".jsonl": "JSONL: one object per description, for scripts",
};
const SHIPPED = {
  "shipped:emotions": "The shipped emotions",
  "shipped:stances": "The shipped stances",
};

function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

export class Exchange {
  constructor(app) {
    this.app = app;
  }

  exportSet() {
    const { app } = this;
    const line = messageLine();
    const choices = Object.entries(FORMATS).map(([value, words], i) => {
      const radio = el("input", { type: "radio", name: "rs-format", value, checked: i === 0 });
      return el("label", { class: "rs-check" }, radio, words);
    });
    const done = el("button", { type: "submit", class: "rs-button rs-primary" }, "Download");
    const end = el("div", { class: "rs-form-end" }, done);
    const form = el("form", { class: "rs-form" }, choices, line, end);
    const title = `Export ${plural(app.overview.rows.length, "file")}`;
    const dialog = openSheet(app.root, title, form);
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (app.editor.dirty) await app.editor.saver.now();
      const format = new FormData(form).get("rs-format");
      const answer = await app.call("export_set", { format });
      if (!answer.ok) {
        say(line, answer.message);
        return;
      }
      saveBlob(new Blob([bytesOf(answer.content)]), answer.file_name);
      dialog.close();
    });
  }

  importSet() {
    const line = messageLine();
    const plan = el("div", { class: "rs-plan" });
    const input = el("input", {
      type: "file",
      accept: ".zip,.csv,.jsonl",
      class: "rs-hidden",
      id: "rs-import-file",
    });
    const drop = el(
      "label",
      { class: "rs-drop", for: "rs-import-file" },
      icon("import"),
      el("span", {}, "Choose or drop a .zip, .csv or .jsonl file"),
      input,
    );
    const shipped = Object.entries(SHIPPED).map(([name, words]) => {
      const add = el("button", { type: "button", class: "rs-button" }, words);
      add.addEventListener("click", () => this.plan({ file_name: name, content: "" }, sheet));
      return add;
    });
    const body = el("div", {}, drop, el("div", { class: "rs-form-end" }, shipped), line, plan);
    const dialog = openSheet(this.app.root, "Import a set", body, { wide: true });
    const sheet = { dialog, line, plan };
    const look = (file) => this.look(file, sheet);
    input.addEventListener("change", () => look(input.files[0]));
    drop.addEventListener("dragover", (event) => event.preventDefault());
    drop.addEventListener("drop", (event) => {
      event.preventDefault();
      look(event.dataTransfer.files[0]);
    });
  }

  // What the file would change, with a box for every concept.
  async look(file, sheet) {
    const { line, plan } = sheet;
    if (!file) return;
    say(line, "");
    plan.replaceChildren();
    const chosen = await fileToSend(file);
    if (chosen.ok) this.plan(chosen.sent, sheet);
    else say(line, chosen.message);
  }

  async plan(sent, { dialog, line, plan }) {
    const { app } = this;
    if (app.editor.dirty) await app.editor.saver.now();
    say(line, "");
    plan.replaceChildren();
    const answer = await app.call("plan_import", sent);
    if (!answer.ok) say(line, answer.message);
    else new ImportPlan(app, sent, answer).show(dialog, line, plan);
  }
}
