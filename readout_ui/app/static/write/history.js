// The earlier versions of one concept: looked at beside the present text, and restored.

import { button, el, messageLine, moment, openSheet, plural, say } from "../lib/dom.js";
import { savedForm } from "./editor_state.js";
import { sideBySide } from "./side_by_side.js";

const NONE =
  "No earlier versions yet. Every change you save, or another program makes, is kept here.";

// `broken`: the name of a file that cannot be used; without it the concept in the editor.
export async function openHistory(app, broken = null) {
  const history = new History(app, broken || app.editor.state.name, Boolean(broken));
  await history.load();
}

class History {
  constructor(app, name, broken) {
    Object.assign(this, { app, name, broken });
    this.line = messageLine();
    this.list = el("ul", { class: "rs-versions" });
    this.preview = el("div", { class: "rs-preview" });
    this.both = el("div", { class: "rs-history" }, this.list, this.preview);
    const body = el("div", {}, this.line, this.both);
    this.dialog = openSheet(app.root, `History of “${name}”`, body, { wide: true });
  }

  async load() {
    const answer = await this.app.call("read_versions", { name: this.name });
    if (!answer.ok) {
      say(this.line, answer.message);
      return;
    }
    if (!answer.versions.length) {
      this.both.replaceWith(el("p", { class: "rs-none" }, NONE));
      return;
    }
    this.items = new Map(answer.versions.map((version) => [version, this.buildItem(version)]));
    const items = [...this.items.values()];
    this.list.append(...items.map((item) => el("li", {}, item)));
    items[0].focus();
    this.look(answer.versions[0]);
  }

  buildItem(version) {
    return el(
      "button",
      { type: "button", class: "rs-version", onclick: () => this.look(version) },
      el("span", {}, moment(version.when)),
      el("span", { class: "rs-small" }, plural(version.n_descriptions, "description")),
    );
  }

  async look(version) {
    for (const [other, item] of this.items) {
      item.setAttribute("aria-current", String(other === version));
    }
    const asked = { name: this.name, version: version.version };
    const found = await this.app.call("read_version", asked);
    if (!found.ok) {
      this.preview.replaceChildren(el("p", { class: "rs-message" }, found.message));
      return;
    }
    const present = this.broken ? [] : savedForm(this.app.editor.state.boxes);
    const only = this.broken ? "" : "not in the present text";
    const restore = button({
      label: "Restore this version",
      kind: "primary",
      onclick: () => this.restore(version, found.descriptions),
    });
    this.preview.replaceChildren(
      el(
        "div",
        { class: "rs-form-end" },
        el("span", { class: "rs-strong" }, moment(version.when)),
        this.app.readOnly() ? null : restore,
      ),
      found.models.length
        ? el("p", { class: "rs-small" }, `Some texts are by ${found.models.join(", ")}, a model.`)
        : "",
      sideBySide("", found.descriptions, present, only),
    );
  }

  async restore(version, texts) {
    const { app } = this;
    if (!this.broken) {
      this.dialog.close();
      await app.editor.replace(texts);
      return;
    }
    const asked = { name: this.name, version: version.version };
    const done = await app.call("restore_version", asked);
    if (!done.ok) {
      say(this.line, done.message);
      return;
    }
    this.dialog.close();
    app.applyOverview(done.overview);
    app.open(this.name, { focus: true });
  }
}
