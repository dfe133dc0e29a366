// The head of a concept's page: name, tags, state, what to do with it, and its facts.

import { button, el, plural } from "../lib/dom.js";
import { addressOf } from "../lib/route.js";
import { Facts } from "./facts.js";
import { STATE_MEANING } from "./scoreboard.js";

const WRITES = { "data-writes": true };

const KEYS = [
  ["Ctrl+Enter", "save and train"],
  ["Ctrl+S", "save"],
  ["Ctrl+Z", "undo"],
  ["Alt+↑ ↓", "move"],
  ["Alt+Shift+↓", "duplicate"],
  ["Alt+Enter", "new below"],
  ["Esc", "back to the list"],
];

export function keysLine() {
  const keys = KEYS.map(([key, what]) =>
    el("span", { class: "rs-key" }, el("kbd", {}, key), ` ${what}`),
  );
  return el("p", { class: "rs-keys", ...WRITES }, keys);
}

// Seen where there is room for the list or the page only.
export function backButton(app) {
  const onclick = () => app.showList();
  return button({ symbol: "back", label: "All concepts", kind: "back", onclick });
}

export class PageHead {
  constructor(app, editor) {
    this.app = app;
    this.name = el("h2", { class: "rs-name" });
    this.tags = el("span", { class: "rs-tags" });
    this.chip = el("span", { class: "rs-chip" });
    this.counts = el("span", { class: "rs-counts" });
    this.mark = el("span", { class: "rs-mark", role: "status" });
    this.facts = new Facts(app);
    this.read = el("a", { class: "rs-button rs-soft" }, "Read with it");
    const title = el("div", { class: "rs-title" }, this.name, this.chip, this.tags);
    const actions = this.buildActions(editor);
    this.root = el(
      "header",
      { class: "rs-editor-head" },
      backButton(app),
      el("div", { class: "rs-chead" }, title, actions),
      el("div", { class: "rs-under" }, this.counts, this.mark),
      this.facts.root,
    );
  }

  buildActions(editor) {
    const { app } = this;
    const item = (label, onclick) => button({ label, onclick, ...WRITES });
    this.menu = el(
      "details",
      { class: "rs-menu", ...WRITES },
      el("summary", { "aria-label": "More", title: "Rename, delete" }, "⋯"),
      el(
        "div",
        {},
        item("Rename", () => app.dialogs.rename()),
        item("Delete", () => app.dialogs.remove(editor.state.name)),
      ),
    );
    const shut = () => {
      this.menu.open = false;
    };
    this.menu.addEventListener("click", (event) => event.target.closest("button") && shut());
    this.menu.addEventListener("focusout", (event) => {
      if (event.relatedTarget && !this.menu.contains(event.relatedTarget)) shut();
    });
    this.menu.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !this.menu.open) return;
      event.stopPropagation();
      shut();
      this.menu.querySelector("summary").focus();
    });
    return el(
      "div",
      { class: "rs-actions", role: "group", "aria-label": "This concept" },
      this.read,
      button({ label: "History", kind: "soft", onclick: () => app.dialogs.history() }),
      this.menu,
    );
  }

  setMark(kind, words) {
    this.mark.className = `rs-mark rs-mark-${kind}`;
    this.mark.textContent = words;
  }

  // `row`: of the list, null for a concept that is not in it yet.
  draw(state, row, nTexts, nTokens) {
    if (this.name.textContent !== state.name) this.name.textContent = state.name;
    const address = { room: "read", query: { concept: state.name } };
    this.read.href = addressOf(address);
    this.read.hidden = state.neutral || !this.trained(row);
    const noun = row?.against ? "contrast text" : "neutral text";
    const texts = plural(nTexts, state.neutral ? noun : "text");
    this.counts.textContent = texts + (nTokens ? ` · ${plural(nTokens, "token")}` : "");
    const kind = row ? row.state : "new";
    this.chip.className = `rs-chip rs-state-${kind}`;
    this.chip.textContent = kind;
    this.chip.title = STATE_MEANING[kind] || "";
    const tags = row ? row.tags.join("|") : "";
    if (this.drawn !== `${state.name} ${tags}`) {
      this.drawn = `${state.name} ${tags}`;
      this.tags.replaceChildren(...this.app.tags.chips(row));
    }
    this.facts.drawLine(row);
  }

  trained(row) {
    return Boolean(row && (row.state === "trained" || row.state === "edited"));
  }
}
