// Two concepts side by side: their texts, and what the report says about the pair.

import { el, messageLine, openSheet, say } from "../lib/dom.js";
import { addressOf, current, go } from "../lib/route.js";
import { decimals } from "../lib/scale.js";
import { sideBySide } from "./side_by_side.js";

export class Comparing {
  constructor(app) {
    this.app = app;
  }

  // By default the concept that is open and its nearest.
  open(first = "", second = "") {
    const { app } = this;
    const names = app.overview.rows.map((row) => row.name);
    const one = first || app.editor.state?.name || names[0];
    const nearest = app.scores?.rows[one]?.nearest;
    const other = second || nearest || names.find((name) => name !== one);
    if (!one || !other) return;
    this.line = messageLine();
    this.about = el("p", { class: "rs-small", role: "status" });
    this.both = el("div", { class: "rs-both" });
    this.chosen = [one, other].map((name, i) => this.select(names, name, i));
    const head = el("div", { class: "rs-compare-head" }, this.chosen);
    const body = el("div", {}, head, this.about, this.line, this.both);
    const { sheet } = openSheet(app.root, "Two concepts side by side", body, { wide: true });
    sheet.addEventListener("close", () => {
      const { part, query } = current();
      if (query.beside) go(addressOf({ room: "write", part }), { replace: true });
    });
    this.show();
  }

  select(names, chosen, i) {
    const options = names.map((name) =>
      el("option", { value: name, selected: name === chosen }, name),
    );
    const label = i ? "Right" : "Left";
    return el(
      "select",
      { class: "rs-input", "aria-label": label, onchange: () => this.show() },
      options,
    );
  }

  async show() {
    const { app } = this;
    if (app.editor.dirty) await app.editor.saver.now();
    const names = this.chosen.map((select) => select.value);
    const answers = await Promise.all(names.map((name) => app.call("open_concept", { name })));
    const refused = answers.find((answer) => !answer.ok);
    say(this.line, refused ? refused.message : "");
    if (refused) return;
    const [left, right] = answers.map((answer) => answer.concept.descriptions);
    this.both.replaceChildren(
      sideBySide(names[0], left, left, ""),
      sideBySide(names[1], right, right, ""),
    );
    this.about.textContent = relation(answers[0].judged, ...names);
  }
}

// What the report on one concept says about it and another one.
function relation(judged, a, b) {
  if (!judged || a === b) return "";
  const near = judged.nearest.find(([name]) => name === b);
  const pair = judged.pairs.find((one) => one.a === b || one.b === b);
  const cosine = pair?.cosine ?? near?.[1];
  const words = [cosine === undefined ? "" : `Cosine of their directions ${decimals(cosine, 2)}`];
  if (pair) words.push(`held out they are ${pair.verdict}`);
  return words.filter(Boolean).join("; ");
}
