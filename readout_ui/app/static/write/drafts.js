// Drafts by a language model: asked for, shown with what speaks against them, kept by a click.

import { button, el, messageLine, openSheet, plural, say } from "../lib/dom.js";
import { saveBlob } from "../lib/download.js";
import { findingLine } from "./editor_box.js";

const KINDS = {
  descriptions: "More descriptions in the library’s style",
  neutral: "Neutral texts, without any concept",
  situations: "Held-out situations that never name it",
  contrast: "Contrast texts: one setting, with and without it",
};
const POLL = 400;
const RUNNING = ["waiting", "running"];

function choice(name, options) {
  const list = Object.entries(options).map(([value, words]) => el("option", { value }, words));
  return el("select", { name, class: "rs-input" }, list);
}

export class Drafts {
  constructor(app) {
    this.app = app;
  }

  async open() {
    const now = await this.app.call("read_drafts", {});
    const { state } = this.app.editor;
    this.line = messageLine();
    this.found = el("div", { "aria-live": "polite" });
    this.form = this.buildForm(state ? state.name : "", now.endpoint || "");
    const body = el("div", {}, this.form, this.line, this.found);
    this.dialog = openSheet(this.app.root, "Draft texts with a model", body, { wide: true });
  }

  buildForm(name, endpoint) {
    const writers = { "": "the loaded model" };
    if (endpoint) writers.endpoint = `the model at ${endpoint}, which gets texts of this library`;
    this.kind = choice("kind", KINDS);
    this.writer = choice("writer", writers);
    this.name = el("input", { type: "text", class: "rs-input", value: name });
    this.count = el("input", { type: "number", class: "rs-input", min: 1, max: 50, value: 5 });
    this.go = el("button", { type: "submit", class: "rs-button rs-primary" }, "Draft");
    this.stop = button({ label: "Cancel", kind: "soft", onclick: () => this.cancel() });
    this.stop.hidden = true;
    const form = el(
      "form",
      { class: "rs-form" },
      el("label", { class: "rs-label" }, "What", this.kind),
      el("label", { class: "rs-label" }, "Concept or neutral file", this.name),
      el("label", { class: "rs-label" }, "How many", this.count),
      el("label", { class: "rs-label" }, "Written by", this.writer),
      el("div", { class: "rs-form-end" }, this.stop, this.go),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.ask();
    });
    return form;
  }

  async ask() {
    this.asked = { name: this.name.value, kind: this.kind.value };
    const count = Number(this.count.value);
    const at_endpoint = this.writer.value !== "";
    this.follow(await this.app.call("ask_drafts", { ...this.asked, count, at_endpoint }));
  }

  async cancel() {
    this.follow(await this.app.call("cancel_drafts", {}));
  }

  follow(now) {
    if (!this.form.isConnected) return;
    const running = now.ok && RUNNING.includes(now.state);
    this.stop.hidden = !running;
    this.go.disabled = running;
    say(this.line, now.ok ? now.error : now.message);
    if (running) {
      const words = now.total ? `${now.done} of ${plural(now.total, "text")} drafted` : "Waiting";
      this.found.replaceChildren(el("p", { class: "rs-small" }, words));
      clearTimeout(this.timer);
      this.timer = setTimeout(async () => {
        this.follow(await this.app.call("read_drafts", {}));
      }, POLL);
    } else if (now.state === "done") this.show(now);
    else this.found.replaceChildren();
  }

  show({ drafts, summary, writer }) {
    const rows = drafts.map((draft) => this.row(draft));
    const chosen = () => rows.filter(({ box }) => box.checked).map(({ text }) => text());
    const { kind } = this.asked;
    const add = button({
      label: "Add the ticked ones to the library",
      kind: "primary",
      onclick: () => this.keep(chosen()),
      "data-writes": true,
    });
    const save = button({
      label: "Save the ticked ones as a file",
      kind: kind === "contrast" ? "soft" : "primary",
      onclick: () => this.save(chosen(), writer),
    });
    const ways = [
      kind === "situations" ? null : add, // held-out texts train nothing
      ["situations", "contrast"].includes(kind) ? save : null,
    ];
    this.found.replaceChildren(
      el("p", { class: "rs-small" }, summary),
      el(
        "ul",
        { class: "rs-entries" },
        rows.map(({ item }) => item),
      ),
      el("div", { class: "rs-form-end" }, rows.length ? ways : null),
    );
  }

  // Nothing is ticked beforehand: a draft is no one's text until a person has read it.
  row(draft) {
    const box = el("input", { type: "checkbox", "aria-label": `Keep: ${draft.text}` });
    const area = (words) => {
      const field = el("textarea", { class: "rs-text", rows: 2, "aria-label": "Draft" });
      field.value = words;
      return field;
    };
    const sides = (draft.other ? [draft.text, draft.other] : [draft.text]).map(area);
    const near = `Nearest: ${draft.nearest_in}, ${Math.round(draft.percent)} % of the words`;
    const item = el(
      "li",
      { class: "rs-entry rs-entry-plan" },
      el("div", { class: "rs-check" }, box, el("div", { class: "rs-draft" }, sides)),
      el("ul", { class: "rs-findings" }, draft.findings.map(findingLine)),
      draft.nearest_in
        ? el("p", { class: "rs-small", title: draft.nearest }, `${near}: “${draft.nearest}”`)
        : null,
    );
    return { item, box, text: () => sides.map((side) => side.value) };
  }

  async keep(chosen) {
    const { app } = this;
    if (app.editor.dirty) await app.editor.saver.now();
    const { kind, name } = this.asked;
    const own = kind === "neutral" ? name.replace(/^_?/, "_") : name;
    const names = kind === "contrast" ? [`_against ${own}`, own] : [own];
    let open = own;
    for (const [at, each] of names.entries()) {
      const texts = chosen.map((sides) => sides[names.length - 1 - at]);
      const done = await app.call("keep_drafts", { name: each, texts });
      if (!done.ok) {
        say(this.line, done.message);
        return;
      }
      app.applyOverview(done.overview);
      open = done.name; // of a pair the concept's, which is the last
    }
    this.dialog.close();
    app.open(open);
  }

  // Held-out texts carry their writer, so that they are judged apart where it is under test.
  save(chosen, writer) {
    const { kind, name } = this.asked;
    const rows = chosen.map(([text, other]) =>
      kind === "contrast"
        ? { positive: text, negative: other, writer }
        : { text, label: name, writer },
    );
    const lines = rows.map((row) => `${JSON.stringify(row)}\n`);
    saveBlob(new Blob(lines), `${kind}.jsonl`);
  }
}
