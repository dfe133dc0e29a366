// Create, rename, delete and undo, trash.

import { button, el, messageLine, moment, openSheet, plural, say } from "../lib/dom.js";
import { openHistory } from "./history.js";

const FROM = { pairs: "Contrast pairs", stories: "Stories", memories: "Scored memories" };
const UNSAVED = { ok: false, message: "Save the text first: it could not be saved yet." };

// A form with one name; `submit` gives the server's answer, whose refusal is shown below the name.
function nameForm({ value, action, hint, extra = null, submit }) {
  const input = el("input", {
    type: "text",
    class: "rs-input",
    value,
    autocomplete: "off",
    spellcheck: "false",
    "aria-label": "Name",
  });
  const line = messageLine();
  const done = el("button", { type: "submit", class: "rs-button rs-primary" }, action);
  const form = el(
    "form",
    { class: "rs-form" },
    el("label", { class: "rs-label" }, "Name", input),
    extra,
    el("p", { class: "rs-small" }, hint),
    line,
    el("div", { class: "rs-form-end" }, done),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    say(line, "");
    const answer = await submit(input.value);
    if (answer && !answer.ok) {
      say(line, answer.message);
      input.focus();
    }
  });
  return { form, input };
}

export class Dialogs {
  constructor(app) {
    this.app = app;
  }

  create(suggested = "") {
    const { app } = this;
    const neutral = el("input", { type: "checkbox" });
    const words = "Neutral texts: never a concept, but in every concept’s negatives";
    const { form, input } = nameForm({
      value: suggested,
      action: "Create",
      hint: "A word or two, such as calm or quiet_joy. It becomes the file’s name.",
      extra: el("label", { class: "rs-check" }, neutral, words),
      submit: async (name) => {
        const answer = await app.call("create_concept", { name, neutral: neutral.checked });
        if (answer.ok) await this.named(dialog, answer);
        return answer;
      },
    });
    const others = el(
      "div",
      { class: "rs-others" },
      el("p", { class: "rs-small" }, "Or begin with texts that are there:"),
      Object.entries(FROM).map(([name, words]) => {
        const leave = () => dialog.close();
        return el(
          "a",
          { class: "rs-button rs-soft", href: `#/write?from=${name}`, onclick: leave },
          words,
        );
      }),
      button({
        label: "Let a model draft some",
        kind: "soft",
        onclick: () => {
          dialog.close();
          app.drafts.open();
        },
      }),
    );
    const dialog = openSheet(app.root, "New concept", el("div", {}, form, others));
    input.select();
  }

  rename() {
    const { app } = this;
    const old = app.editor.state.name;
    const { form, input } = nameForm({
      value: old,
      action: "Rename",
      hint: "Its history goes along. Training again takes up the new name.",
      submit: async (to) => {
        if (app.editor.dirty && !(await app.editor.saver.now())) return UNSAVED;
        const answer = await app.call("rename_concept", { name: old, to });
        if (answer.ok) await this.named(dialog, answer, { renamed: true });
        return answer;
      },
    });
    const dialog = openSheet(app.root, `Rename “${old}”`, form);
    input.select();
  }

  // A concept has got a name: close the dialog and go to it.
  async named(dialog, answer, change = {}) {
    dialog.close();
    this.app.applyOverview(answer.overview, change);
    this.app.open(answer.concept.name, { focus: true });
  }

  // No question beforehand: the way back is shown right there.
  async remove(key) {
    const { app } = this;
    const file = key.startsWith("file:");
    const name = file ? key.slice(5).replace(/\.txt$/i, "") : key;
    const open = app.editor.state?.name === name;
    if (open && app.editor.dirty && !(await app.editor.saver.now())) return;
    const answer = await app.call("delete_concept", { name });
    if (!answer.ok) {
      app.tell(answer.message);
      return;
    }
    app.editor.saver.dropDraft(name);
    app.removed(answer.entry);
    app.applyOverview(answer.overview);
  }

  // `line`: where a refusal is shown; without one the page's own place.
  async bringBack(entry, to = null, line = null) {
    const { app } = this;
    const answer = await app.call("restore_trashed", { entry, to });
    if (!answer.ok) {
      if (line) say(line, answer.message);
      else app.tell(answer.message);
      return false;
    }
    app.applyOverview(answer.overview);
    app.open(answer.concept.name, { focus: true });
    return true;
  }

  async trash() {
    const line = messageLine();
    const body = el("div", {}, line);
    const dialog = openSheet(this.app.root, "Trash", body);
    const answer = await this.app.call("read_trash", {});
    if (!answer.ok) {
      say(line, answer.message);
      return;
    }
    if (!answer.entries.length) {
      const words = "The trash is empty. Concepts you delete wait here.";
      body.append(el("p", { class: "rs-none" }, words));
      return;
    }
    const rows = answer.entries.map((item) => this.trashRow(item, line, dialog));
    body.append(el("ul", { class: "rs-entries" }, rows));
  }

  trashRow(item, line, dialog) {
    const { app } = this;
    const words = `${plural(item.n_descriptions, "description")} · deleted ${moment(item.when)}`;
    const as = app.row(item.name) === null ? null : newNameInput(item.name);
    const restore = async () => {
      if (await this.bringBack(item.entry, as ? as.value : null, line)) dialog.close();
    };
    return el(
      "li",
      { class: "rs-entry" },
      el(
        "div",
        { class: "rs-entry-what" },
        el("span", { class: "rs-strong" }, item.name),
        el("span", { class: "rs-small" }, words),
        as && el("label", { class: "rs-small" }, "The name is in use again; restore as ", as),
      ),
      app.readOnly() ? null : button({ label: "Restore", kind: "soft", onclick: restore }),
    );
  }

  history(broken = null) {
    return openHistory(this.app, broken);
  }
}

function newNameInput(name) {
  return el("input", {
    type: "text",
    class: "rs-input",
    value: `${name}_restored`,
    "aria-label": `Restore ${name} as`,
  });
}
