// Whole sets: export as zip, CSV or JSONL; import with a look at what would change.

import { el, icon, messageLine, openSheet, plural, say } from "../lib/dom.js";
import { saveBlob } from "../lib/download.js";
import { sideBySide } from "./editor_saving.js";

const FORMATS = {
  ".zip": "Zip: one text file per concept, as in the folder",
  ".csv": "CSV: columns concept, description; opens in any spreadsheet",
  ".jsonl": "JSONL: one object per description, for scripts",
};
const KIND_WORDS = { added: "new", changed: "changed", same: "same" };

function base64Of(buffer) {
  const bytes = new Uint8Array(buffer);
  let text = "";
  for (let i = 0; i < bytes.length; i += 32768) {
    text += String.fromCharCode(...bytes.subarray(i, i + 32768));
  }
  return btoa(text);
}

function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

export function makeExchange(app) {
  function exportSet() {
    const line = messageLine();
    const choices = Object.entries(FORMATS).map(([format, words], i) =>
      el(
        "label",
        { class: "rs-check" },
        el("input", { type: "radio", name: "rs-format", value: format, checked: i === 0 }),
        words,
      ),
    );
    const form = el(
      "form",
      { class: "rs-form" },
      choices,
      line,
      el(
        "div",
        { class: "rs-form-end" },
        el("button", { type: "submit", class: "rs-button rs-primary" }, "Download"),
      ),
    );
    const dialog = openSheet(app.root, `Export ${plural(app.overview.rows.length, "file")}`, form);
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (app.editor.dirty()) await app.editor.saver.now();
      const answer = await app.call("export_set", { format: new FormData(form).get("rs-format") });
      if (!answer.ok) {
        say(line, answer.message);
        return;
      }
      saveBlob(new Blob([bytesOf(answer.content)]), answer.file_name);
      dialog.close();
    });
  }

  function importSet() {
    const line = messageLine();
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
    const plan = el("div", { class: "rs-plan" });
    const dialog = openSheet(app.root, "Import a set", el("div", {}, drop, line, plan), {
      wide: true,
    });
    input.addEventListener("change", () => look(input.files[0]));
    drop.addEventListener("dragover", (event) => event.preventDefault());
    drop.addEventListener("drop", (event) => {
      event.preventDefault();
      look(event.dataTransfer.files[0]);
    });

    async function look(file) {
      if (!file) return;
      say(line, "");
      plan.replaceChildren();
      if (file.size > 20e6) {
        say(line, "This file is larger than 20 MB; a set of descriptions is far smaller.");
        return;
      }
      if (app.editor.dirty()) await app.editor.saver.now();
      const sent = { file_name: file.name, content: base64Of(await file.arrayBuffer()) };
      const answer = await app.call("plan_import", sent);
      if (!answer.ok) say(line, answer.message);
      else showPlan(sent, answer);
    }

    function showPlan(sent, answer) {
      const open = answer.changes.filter((change) => change.change !== "same");
      const same = answer.changes.length - open.length;
      const boxes = open.map((change) =>
        el("input", {
          type: "checkbox",
          checked: true,
          value: change.name,
          "aria-label": `Import ${change.name}`,
          onchange: count,
        }),
      );
      const apply = el("button", { type: "button", class: "rs-button rs-primary", onclick: run });
      const chosen = () => boxes.filter((box) => box.checked).map((box) => box.value);
      plan.replaceChildren(
        ...[
          el(
            "p",
            { class: "rs-strong" },
            `${sent.file_name}: ${plural(answer.changes.length, "concept")}`,
          ),
          el(
            "ul",
            { class: "rs-entries" },
            open.map((change, i) => planRow(change, boxes[i])),
          ),
          same
            ? el(
                "p",
                { class: "rs-small" },
                `${plural(same, "concept is", "concepts are")} the same as here already.`,
              )
            : null,
          answer.refused.length
            ? el(
                "div",
                { class: "rs-notice rs-notice-failed" },
                el(
                  "p",
                  { class: "rs-strong" },
                  `${plural(answer.refused.length, "entry is", "entries are")} left out`,
                ),
                el(
                  "ul",
                  {},
                  answer.refused.map((refusal) =>
                    el("li", { class: "rs-small" }, `${refusal.name}: ${refusal.reason}`),
                  ),
                ),
              )
            : null,
          ...answer.notes.map((note) => el("p", { class: "rs-small" }, note)),
          open.length
            ? el(
                "p",
                { class: "rs-small" },
                "Texts that are replaced stay in their concept’s history. Concepts that are not in the file stay as they are.",
              )
            : null,
          open.length
            ? el("div", { class: "rs-form-end" }, apply)
            : el("p", { class: "rs-none" }, "Nothing to import."),
        ].filter(Boolean),
      );
      count();
      if (open.length) apply.focus();

      function count() {
        apply.textContent = `Import ${plural(chosen().length, "concept")}`;
        apply.disabled = !chosen().length;
      }

      async function run() {
        apply.disabled = true;
        const picked = new Set(chosen());
        const shown = open
          .filter((change) => picked.has(change.name))
          .map((change) => [change.name, change.opened]);
        const done = await app.call("apply_import", { ...sent, chosen: Object.fromEntries(shown) });
        apply.disabled = false;
        if (!done.ok) {
          say(line, done.message);
          return;
        }
        dialog.close();
        app.applyOverview(done.overview);
        if (!app.editor.state() && done.imported.length) await app.select(done.imported[0]);
        app.tell(`Imported ${plural(done.imported.length, "concept")}`, "saved");
      }
    }

    function planRow(change, box) {
      const gained = change.descriptions.filter((text) => !change.before.includes(text));
      const lost = change.before.filter((text) => !change.descriptions.includes(text));
      const summary =
        change.change === "added"
          ? plural(change.descriptions.length, "description")
          : `${change.before.length} → ${plural(
              change.descriptions.length,
              "description",
            )} (+${gained.length} −${lost.length})`;
      const details = el("div", { class: "rs-both" });
      const more = el("details", { class: "rs-more" }, el("summary", {}, "Look"), details);
      more.addEventListener(
        "toggle",
        () => {
          details.replaceChildren(
            change.change === "added"
              ? ""
              : sideBySide("Here now", change.before, change.descriptions),
            sideBySide("In the file", change.descriptions, change.before),
          );
        },
        { once: true },
      );
      return el(
        "li",
        { class: "rs-entry rs-entry-plan" },
        el(
          "label",
          { class: "rs-check" },
          box,
          el("span", { class: "rs-strong" }, change.name),
          el(
            "span",
            { class: `rs-state rs-state-${change.change === "added" ? "new" : "edited"}` },
            KIND_WORDS[change.change],
          ),
          el("span", { class: "rs-small" }, summary),
        ),
        more,
      );
    }
  }

  return { exportSet, importSet };
}
