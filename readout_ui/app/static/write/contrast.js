// The texts that the open concept is contrasted with, folded away; they have a page of their own.

import { button, el, plural } from "../lib/dom.js";
import { conceptAddress } from "./list_rows.js";

export class Contrast {
  constructor(app) {
    this.app = app;
    this.title = el("summary", {});
    this.body = el("div", {});
    const ontoggle = () => this.fill();
    this.details = el(
      "details",
      { class: "rs-folded rs-contrast", ontoggle },
      this.title,
      this.body,
    );
    this.back = el("a", { class: "rs-button rs-soft" });
    this.root = el("section", { class: "rs-sect" }, this.details, this.back);
  }

  // `row`: of the open concept; nothing is drawn anew while it has the same contrast texts.
  follow(row) {
    const beside = row && this.app.row(`_against ${row.name}`);
    const shown = row ? `${row.name} ${beside?.fingerprint}` : "";
    if (shown === this.shown) return;
    this.shown = shown;
    this.show(row, beside ? beside.n_descriptions : 0);
  }

  show(row, n) {
    Object.assign(this, { row, n });
    this.root.hidden = !row || (row.neutral && !row.against);
    if (this.root.hidden) return;
    this.details.hidden = Boolean(row.against);
    this.back.hidden = !row.against;
    this.back.textContent = `To ${row.against}`;
    this.back.href = conceptAddress(row.against);
    this.title.textContent = this.n
      ? `Contrasted with ${plural(this.n, "text")} of its own`
      : "Contrasted with all other concepts";
    this.details.open = false;
    this.body.replaceChildren();
  }

  get name() {
    return `_against ${this.row.name}`;
  }

  async fill() {
    if (!this.details.open || this.body.childNodes.length) return;
    const { name, n, app } = this;
    const answer = app.row(name) ? await app.call("open_concept", { name }) : null;
    if (answer && !answer.ok) app.tell(answer.message);
    if (name !== this.name || !this.details.open) return;
    const texts = answer?.concept?.descriptions || [];
    const about = n
      ? `${this.row.name} points away from these texts, in place of those of all other concepts.`
      : `Write texts that are like these but for ${this.row.name}: same places, people and length.`;
    this.body.replaceChildren(
      el("p", { class: "rs-small" }, about),
      el(
        "ol",
        { class: "rs-contrast-texts" },
        texts.map((text) => el("li", {}, text)),
      ),
      button({
        label: n ? "Edit them" : "Write contrast texts",
        kind: "soft",
        onclick: () => this.edit(),
        "data-writes": !n,
      }),
    );
  }

  async edit() {
    const { name, app } = this;
    if (!app.row(name)) {
      const answer = await app.call("create_concept", { name, neutral: true });
      if (!answer.ok) {
        app.tell(answer.message);
        return;
      }
      app.applyOverview(answer.overview);
    }
    app.open(name, { focus: true });
  }
}
