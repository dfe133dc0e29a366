// Create, rename, delete and undo, trash, history.

import { button, el, messageLine, moment, openSheet, plural, say } from "../lib/dom.js";
import { sideBySide } from "./editor_saving.js";
import { savedForm } from "./editor_state.js";

export function makeDialogs(app) {
  function nameForm({ value, action, hint, extra, submit }) {
    const input = el("input", {
      type: "text",
      class: "rs-input",
      value,
      autocomplete: "off",
      spellcheck: "false",
      "aria-label": "Name",
    });
    const line = messageLine();
    const form = el(
      "form",
      { class: "rs-form" },
      el("label", { class: "rs-label" }, "Name", input),
      extra || null,
      el("p", { class: "rs-small" }, hint),
      line,
      el(
        "div",
        { class: "rs-form-end" },
        el("button", { type: "submit", class: "rs-button rs-primary" }, action),
      ),
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

  function create(suggested = "") {
    const neutral = el("input", { type: "checkbox" });
    const { form, input } = nameForm({
      value: suggested,
      action: "Create",
      hint: "A word or two, such as calm or quiet_joy. It becomes the file’s name.",
      extra: el(
        "label",
        { class: "rs-check" },
        neutral,
        "Neutral texts: never a concept, but in every concept’s negatives",
      ),
      async submit(name) {
        const answer = await app.call("create_concept", { name, neutral: neutral.checked });
        if (answer.ok) {
          dialog.close();
          app.applyOverview(answer.overview);
          await app.select(answer.concept.name, { focus: true });
        }
        return answer;
      },
    });
    const dialog = openSheet(app.root, "New concept", form);
    input.select();
  }

  async function rename() {
    const old = app.editor.state().name;
    const { form, input } = nameForm({
      value: old,
      action: "Rename",
      hint: "Its history goes along. Training again takes up the new name.",
      async submit(to) {
        if (app.editor.dirty() && !(await app.editor.saver.now())) {
          return { ok: false, message: "Save the text first: it could not be saved yet." };
        }
        const answer = await app.call("rename_concept", { name: old, to });
        if (answer.ok) {
          dialog.close();
          app.applyOverview(answer.overview, { renamed: [old, answer.concept.name] });
          await app.select(answer.concept.name, { focus: true });
        }
        return answer;
      },
    });
    const dialog = openSheet(app.root, `Rename “${old}”`, form);
    input.select();
  }

  // No question beforehand: the way back is shown right there.
  async function remove(key) {
    const file = key.startsWith("file:");
    const name = file ? key.slice(5).replace(/\.txt$/i, "") : key;
    const open = app.editor.state()?.name === name;
    if (open && app.editor.dirty() && !(await app.editor.saver.now())) return;
    const answer = await app.call("delete_concept", { name });
    if (!answer.ok) {
      app.tell(answer.message);
      return;
    }
    app.editor.saver.dropDraft(name);
    app.removed(key, answer.entry);
    app.applyOverview(answer.overview);
  }

  async function bringBack(entry, to, line) {
    const answer = await app.call("restore_trashed", { entry, to });
    if (!answer.ok) {
      if (line) say(line, answer.message);
      else app.tell(answer.message);
      return false;
    }
    app.applyOverview(answer.overview);
    await app.select(answer.concept.name, { focus: true });
    return true;
  }

  async function trash() {
    const line = messageLine();
    const body = el("div", {}, line);
    const dialog = openSheet(app.root, "Trash", body);
    const answer = await app.call("read_trash", {});
    if (!answer.ok) {
      say(line, answer.message);
      return;
    }
    if (!answer.entries.length) {
      body.append(
        el("p", { class: "rs-none" }, "The trash is empty. Concepts you delete wait here."),
      );
      return;
    }
    body.append(
      el(
        "ul",
        { class: "rs-entries" },
        answer.entries.map((item) => trashRow(item, line, dialog)),
      ),
    );
  }

  function trashRow(item, line, dialog) {
    const taken = app.row(item.name) !== null;
    const as = taken
      ? el("input", {
          type: "text",
          class: "rs-input",
          value: `${item.name}_restored`,
          "aria-label": `Restore ${item.name} as`,
        })
      : null;
    return el(
      "li",
      { class: "rs-entry" },
      el(
        "div",
        { class: "rs-entry-what" },
        el("span", { class: "rs-strong" }, item.name),
        el(
          "span",
          { class: "rs-small" },
          `${plural(item.n_descriptions, "description")} · deleted ${moment(item.when)}`,
        ),
        taken
          ? el("label", { class: "rs-small" }, "The name is in use again; restore as ", as)
          : null,
      ),
      app.readOnly()
        ? null
        : button({
            label: "Restore",
            kind: "soft",
            onclick: async () => {
              if (await bringBack(item.entry, as ? as.value : null, line)) dialog.close();
            },
          }),
    );
  }

  async function history(broken = null) {
    const name = broken || app.editor.state().name;
    const line = messageLine();
    const list = el("ul", { class: "rs-versions" });
    const preview = el("div", { class: "rs-preview" });
    const body = el("div", {}, line, el("div", { class: "rs-history" }, list, preview));
    const dialog = openSheet(app.root, `History of “${name}”`, body, { wide: true });
    const answer = await app.call("read_versions", { name });
    if (!answer.ok) {
      say(line, answer.message);
      return;
    }
    if (!answer.versions.length) {
      list.parentElement.replaceWith(
        el(
          "p",
          { class: "rs-none" },
          "No earlier versions yet. Every change you save, or another program makes, is kept here.",
        ),
      );
      return;
    }
    const items = answer.versions.map((version) =>
      el(
        "button",
        {
          type: "button",
          class: "rs-version",
          onclick: () => look(version),
        },
        el("span", {}, moment(version.when)),
        el("span", { class: "rs-small" }, plural(version.n_descriptions, "description")),
      ),
    );
    list.append(...items.map((item) => el("li", {}, item)));
    items[0].focus();
    look(answer.versions[0]);

    async function look(version) {
      items.forEach((item, i) =>
        item.setAttribute("aria-current", String(answer.versions[i] === version)),
      );
      const found = await app.call("read_version", { name, version: version.version });
      if (!found.ok) {
        preview.replaceChildren(el("p", { class: "rs-message" }, found.message));
        return;
      }
      const present = broken ? [] : savedForm(app.editor.state().boxes);
      preview.replaceChildren(
        ...[
          el(
            "div",
            { class: "rs-form-end" },
            el("span", { class: "rs-strong" }, moment(version.when)),
            app.readOnly()
              ? null
              : button({
                  label: "Restore this version",
                  kind: "primary",
                  onclick: () => restore(version, found.descriptions),
                }),
          ),
          sideBySide("", found.descriptions, present, broken ? "" : "not in the present text"),
        ],
      );
    }

    async function restore(version, texts) {
      if (!broken) {
        dialog.close();
        await app.editor.replace(texts);
        return;
      }
      const done = await app.call("restore_version", { name, version: version.version });
      if (!done.ok) {
        say(line, done.message);
        return;
      }
      dialog.close();
      app.applyOverview(done.overview);
      await app.select(name, { focus: true });
    }
  }

  return { create, rename, remove, bringBack, trash, history };
}
