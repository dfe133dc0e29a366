// Which words, openings, lengths and marks give the open concept's texts away, folded away below them.

import { el, plural } from "../lib/dom.js";
import { decimals } from "../lib/scale.js";
import { placesOf } from "./editor_state.js";

const KINDS = { opening: "opening", length: "length", punctuation: "mark" };

export class Telling {
  constructor(app, editor) {
    Object.assign(this, { app, editor, shown: "", name: "", place: 0 });
    this.body = el("div", { class: "rs-telling" });
    const ontoggle = () => this.fill();
    const title = el("summary", {}, "Words that give it away");
    this.details = el("details", { class: "rs-folded", ontoggle }, title, this.body);
    this.root = el("section", { class: "rs-sect" }, this.details);
  }

  // `row`: of the open concept. What is open stays open, and follows what is saved.
  follow(row) {
    this.root.hidden = !row || row.neutral || !row.n_descriptions;
    const shown = row ? `${row.name} ${row.fingerprint}` : "";
    if (shown === this.shown) return;
    if (row?.name !== this.name) this.body.replaceChildren();
    Object.assign(this, { shown, name: row?.name, filled: false });
    this.fill();
  }

  async fill() {
    if (!this.details.open || this.filled || this.root.hidden) return;
    this.filled = true;
    const { shown, name } = this;
    const answer = await this.app.call("read_telling", { name });
    if (shown !== this.shown) return;
    const found = answer.ok ? answer.telling : null;
    const said = answer.ok ? "It has no text yet." : answer.message;
    this.body.replaceChildren(
      ...(found ? this.draw(found) : [el("p", { class: "rs-small" }, said)]),
    );
  }

  draw({ sure, words, of, others, auroc, named }) {
    const rows = [
      ...sure.map((one) => this.row(one, "rs-sure")),
      ...words.map((one) => this.row({ ...one, what: one.word, kind: "word" }, "")),
    ];
    const alone = auroc === null ? "" : `Words alone find them with AUROC ${decimals(auroc, 2)}`;
    const about = [
      alone && `${alone}, each text left out in turn; .50 is chance.`,
      named ? `${named} of ${plural(of, "text")} name it.` : "None names it.",
    ];
    const chance = sure.length ? "Bold ones are beyond chance." : "All of them may be chance.";
    const advice = rows.length
      ? "Vectors may learn these instead of the meaning. Use them in texts of other concepts too, " +
        `or write texts without them. ${chance}`
      : "No word, opening, length or mark stands out.";
    const small = (line) => el("p", { class: "rs-small" }, line);
    if (!rows.length) return [small(advice), small(about.filter(Boolean).join(" "))];
    const titles = ["Word", `in its ${plural(of, "text")}`, `in ${others} others`];
    const head = titles.map((title, at) => el("th", { scope: "col", class: numeric(at) }, title));
    const table = el(
      "table",
      { class: "rs-telling-table" },
      el("thead", {}, el("tr", {}, head)),
      el("tbody", {}, rows),
    );
    return [small(advice), table, small(about.filter(Boolean).join(" "))];
  }

  row({ what, kind, inside, outside }, look) {
    const counted = kind === "word" || kind === "opening";
    const times = (n) => (counted ? String(n) : `${n.toFixed(1)} per text`);
    const name = counted
      ? el(
          "button",
          {
            type: "button",
            class: "rs-link",
            title: "Show it in the texts",
            onclick: () => this.showNext(what),
          },
          what,
        )
      : el("span", {}, what);
    const note = KINDS[kind] ? el("span", { class: "rs-dim" }, ` ${KINDS[kind]}`) : null;
    const cells = [[name, note], times(inside), times(outside)];
    return el(
      "tr",
      { class: look },
      cells.map((cell, at) => el("td", { class: numeric(at) }, cell)),
    );
  }

  // The word's next place in the texts, selected.
  showNext(word) {
    const places = placesOf(this.editor.shownBoxes, word);
    if (!places.length) return;
    const { id, from, to } = places[this.place % places.length];
    this.place += 1;
    this.editor.focusBox(id, from, to);
  }
}

const numeric = (at) => (at ? "rs-num" : "");
