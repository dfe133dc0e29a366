// Tags: chips on a concept's page, and a sheet that says which concepts have one.

import { button, el, messageLine, openSheet, plural, say } from "../lib/dom.js";

export class TagEditor {
  constructor(app) {
    this.app = app;
  }

  // The tags of one concept, each with a way to take it off, and a way to add one.
  chips(row) {
    const { app } = this;
    if (!row) return [];
    const shown = row.tags.map((tag) => {
      const off = button({
        symbol: "close",
        label: `Take the tag ${tag} off`,
        iconOnly: true,
        onclick: () =>
          this.put(
            row,
            row.tags.filter((other) => other !== tag),
          ),
        "data-writes": true,
      });
      return el("span", { class: "rs-tag" }, tag, off);
    });
    if (app.readOnly()) return shown;
    const add = el(
      "button",
      { type: "button", class: "rs-tag rs-tag-add", onclick: () => this.ask(row) },
      "+ tag",
    );
    return [...shown, add];
  }

  ask(row) {
    const known = [...new Set(this.app.overview.rows.flatMap((other) => other.tags))];
    const { form, input, line } = tagForm("", "Add", known);
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const refusal = await this.put(row, [...row.tags, input.value]);
      if (refusal) say(line, refusal);
      else sheet.close();
    });
    const sheet = openSheet(this.app.root, `Tag “${row.name}”`, form);
    input.focus();
  }

  // The refusal in words, empty when it is done.
  async put(row, tags) {
    const answer = await this.app.call("tag_concept", { name: row.name, tags });
    if (!answer.ok) return answer.message;
    this.app.applyOverview(answer.overview);
    return "";
  }

  // Which concepts have a tag; a new one is proposed for those that the list shows.
  choose(tag, shown) {
    const { app } = this;
    const rows = app.overview.rows.filter((row) => !row.neutral);
    const searching = shown.length < rows.length;
    const names = new Set(shown.map((row) => row.name));
    const has = (row) => (tag ? row.tags.includes(tag) : searching && names.has(row.name));
    const boxes = rows.map((row) =>
      el("input", { type: "checkbox", value: row.name, checked: has(row) }),
    );
    const list = rows.map((row, i) => el("label", { class: "rs-check" }, boxes[i], row.name));
    const count = el("p", { class: "rs-small", role: "status" });
    const chosen = () => boxes.filter((box) => box.checked).map((box) => box.value);
    const told = () => {
      count.textContent = `${plural(chosen().length, "concept")} chosen`;
    };
    const members = el(
      "fieldset",
      { class: "rs-members", onchange: told },
      el("legend", {}, "Concepts"),
      list,
    );
    const { form, input, line } = tagForm(tag, "Save", []);
    input.readOnly = Boolean(tag);
    form.querySelector(".rs-form-end").before(members, count);
    told();
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const answer = await app.call("tag_members", { tag: input.value, names: chosen() });
      if (!answer.ok) {
        say(line, answer.message);
        return;
      }
      sheet.close();
      app.applyOverview(answer.overview);
    });
    const sheet = openSheet(app.root, tag ? `Concepts with the tag “${tag}”` : "New tag", form);
    if (!tag) input.focus();
  }
}

function tagForm(value, action, known) {
  const input = el("input", {
    type: "text",
    class: "rs-input",
    value,
    autocomplete: "off",
    maxlength: 40,
    list: "rs-known-tags",
  });
  const line = messageLine();
  const options = known.map((tag) => el("option", { value: tag }));
  const done = el("button", { type: "submit", class: "rs-button rs-primary" }, action);
  const form = el(
    "form",
    { class: "rs-form" },
    el("label", { class: "rs-label" }, "Tag", input),
    el("datalist", { id: "rs-known-tags" }, options),
    line,
    el("div", { class: "rs-form-end" }, done),
  );
  return { form, input, line };
}
