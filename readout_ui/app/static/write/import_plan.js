// What an import would change: one line per concept, ticked or not.

import { el, plural, say } from "../lib/dom.js";
import { sideBySide } from "./side_by_side.js";

const KIND_WORDS = { added: "new", changed: "changed", same: "same" };
const KEPT =
  "Texts that are replaced stay in their concept’s history. Concepts that are not in the file stay as they are.";

export class ImportPlan {
  // `sent`: the file as it was sent; `answer`: what the app found in it.
  constructor(app, sent, answer) {
    Object.assign(this, { app, sent, answer });
    this.open = answer.changes.filter((change) => change.change !== "same");
    this.boxes = this.open.map(({ name }) =>
      el("input", {
        type: "checkbox",
        checked: true,
        value: name,
        "aria-label": `Import ${name}`,
        onchange: () => this.count(),
      }),
    );
  }

  show(dialog, line, place) {
    Object.assign(this, { dialog, line });
    this.apply = el("button", {
      type: "button",
      class: "rs-button rs-primary",
      onclick: () => this.run(),
    });
    place.replaceChildren(...this.buildLines());
    this.count();
    if (this.open.length) this.apply.focus();
  }

  buildLines() {
    const { open, answer, sent } = this;
    const small = (words) => el("p", { class: "rs-small" }, words);
    const same = answer.changes.length - open.length;
    const title = `${sent.file_name}: ${plural(answer.changes.length, "concept")}`;
    const rows = open.map((change, i) => planRow(change, this.boxes[i]));
    const lines = [el("p", { class: "rs-strong" }, title), el("ul", { class: "rs-entries" }, rows)];
    if (same) {
      const words = plural(same, "concept is", "concepts are");
      lines.push(small(`${words} the same as here already.`));
    }
    if (answer.refused.length) lines.push(buildRefused(answer.refused));
    lines.push(...answer.notes.map(small));
    if (open.length) lines.push(small(KEPT), el("div", { class: "rs-form-end" }, this.apply));
    else lines.push(el("p", { class: "rs-none" }, "Nothing to import."));
    return lines;
  }

  get chosen() {
    return this.boxes.filter((box) => box.checked).map((box) => box.value);
  }

  count() {
    this.apply.textContent = `Import ${plural(this.chosen.length, "concept")}`;
    this.apply.disabled = !this.chosen.length;
  }

  async run() {
    const { app, apply } = this;
    apply.disabled = true;
    const picked = new Set(this.chosen);
    const shown = this.open
      .filter((change) => picked.has(change.name))
      .map((change) => [change.name, change.opened]);
    const asked = { ...this.sent, chosen: Object.fromEntries(shown) };
    const done = await app.call("apply_import", asked);
    apply.disabled = false;
    if (!done.ok) {
      say(this.line, done.message);
      return;
    }
    this.dialog.close();
    app.applyOverview(done.overview);
    if (!app.editor.state && done.imported.length) app.open(done.imported[0]);
    app.tell(`Imported ${plural(done.imported.length, "concept")}`, "saved");
  }
}

function buildRefused(refused) {
  const words = `${plural(refused.length, "entry is", "entries are")} left out`;
  const lines = refused.map(({ name, reason }) =>
    el("li", { class: "rs-small" }, `${name}: ${reason}`),
  );
  return el(
    "div",
    { class: "rs-notice rs-notice-failed" },
    el("p", { class: "rs-strong" }, words),
    el("ul", {}, lines),
  );
}

function summary({ change, descriptions, before, tags }) {
  if (change === "added") return plural(descriptions.length, "description");
  const gained = descriptions.filter((text) => !before.includes(text)).length;
  const lost = before.filter((text) => !descriptions.includes(text)).length;
  const tagged = tags.length ? `, ${plural(tags.length, "tag")} more` : "";
  const counts = `${before.length} → ${plural(descriptions.length, "description")}`;
  return `${counts} (+${gained} −${lost})${tagged}`;
}

function planRow(change, box) {
  const { before, descriptions } = change;
  const added = change.change === "added";
  const details = el("div", { class: "rs-both" });
  const more = el("details", { class: "rs-more" }, el("summary", {}, "Look"), details);
  const fill = () =>
    details.replaceChildren(
      added ? "" : sideBySide("Here now", before, descriptions),
      sideBySide("In the file", descriptions, before),
    );
  more.addEventListener("toggle", fill, { once: true });
  const state = `rs-state rs-state-${added ? "new" : "edited"}`;
  const head = el(
    "label",
    { class: "rs-check" },
    box,
    el("span", { class: "rs-strong" }, change.name),
    el("span", { class: state }, KIND_WORDS[change.change]),
    el("span", { class: "rs-small" }, summary(change)),
  );
  return el("li", { class: "rs-entry rs-entry-plan" }, head, more);
}
