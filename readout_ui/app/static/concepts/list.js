// The list of concepts: search, filter, groups, keyboard.

import { button, el, icon, plural } from "../lib/dom.js";

export const STATE_WORDS = {
  new: "new",
  edited: "edited",
  trained: "trained",
  empty: "empty",
  problem: "problem",
};
export const STATE_MEANING = {
  new: "Not part of the training in use",
  edited: "Changed since the training in use",
  trained: "As in the training in use",
  empty: "Has no descriptions yet",
  problem: "This file cannot be used",
};
const FILTERS = {
  all: ["All", () => true],
  changed: ["Changed", (row) => row.state === "new" || row.state === "edited"],
  problems: ["Problems", (row) => row.state === "problem" || row.state === "empty"],
};
const PAGE = 10; // rows that Page Up and Page Down pass

function stateMark(state) {
  return el(
    "span",
    { class: `rs-state rs-state-${state}`, title: STATE_MEANING[state] || null },
    STATE_WORDS[state] || state,
  );
}

// Every file of the folder as a row, those that cannot be used last.
export function allRows({ rows, problems }) {
  const broken = problems.map((problem) => ({
    name: problem.file,
    problem,
    state: "problem",
    neutral: false,
    n_descriptions: null,
  }));
  return [...rows, ...broken];
}

export class ConceptList {
  constructor(app) {
    this.app = app;
    this.filter = "all";
    this.search = el("input", {
      type: "search",
      class: "rs-search",
      placeholder: "Search concepts",
      "aria-label": "Search concepts",
      autocomplete: "off",
      spellcheck: "false",
      oninput: () => {
        this.draw();
        this.rows.scrollTop = 0;
      },
      onkeydown: (event) => this.searchKeys(event),
    });
    this.filters = el("div", { class: "rs-filters", role: "group", "aria-label": "Show" });
    this.rows = el("div", { class: "rs-rows", onkeydown: (event) => this.rowKeys(event) });
    this.root = this.buildRoot();
  }

  buildRoot() {
    const { app } = this;
    const add = button({
      symbol: "add",
      label: "New",
      kind: "soft",
      title: "New concept",
      onclick: () => app.dialogs.create(this.search.value.trim()),
      "data-writes": true,
    });
    const tools = el(
      "div",
      { class: "rs-list-tools" },
      button({
        symbol: "import",
        label: "Import",
        onclick: () => app.exchange.importSet(),
        "data-writes": true,
      }),
      button({
        symbol: "rename",
        label: "Draft",
        title: "Let a model draft texts",
        onclick: () => app.drafts.open(),
        "data-writes": true,
      }),
      button({ symbol: "export", label: "Export", onclick: () => app.exchange.exportSet() }),
      button({ symbol: "trash", label: "Trash", onclick: () => app.dialogs.trash() }),
    );
    const field = el("div", { class: "rs-search-field" }, icon("search"), this.search);
    return el(
      "section",
      { class: "rs-list", "aria-label": "Concepts" },
      el("div", { class: "rs-list-head" }, field, add),
      this.filters,
      this.rows,
      tools,
    );
  }

  drawFilters(all) {
    const shown = Object.entries(FILTERS).map(([key, [label, keep]]) => {
      const n = all.filter((row) => keep(row)).length;
      if (key !== "all" && !n && this.filter !== key) return null;
      const choose = () => {
        this.filter = key;
        this.draw();
      };
      return el(
        "button",
        {
          type: "button",
          class: "rs-filter",
          "aria-pressed": String(this.filter === key),
          onclick: choose,
        },
        label,
        el("span", { class: "rs-n" }, String(n)),
      );
    });
    this.filters.replaceChildren(...shown.filter(Boolean));
  }

  buildRow(row) {
    const { app } = this;
    const key = row.problem ? `file:${row.name}` : row.name;
    const unsaved = !row.problem && app.hasDraft(row.name);
    const words = row.problem ? null : plural(row.n_descriptions, "description");
    return el(
      "button",
      {
        type: "button",
        class: "rs-row",
        "data-key": key,
        tabindex: "-1",
        "aria-current": app.selected === key ? "true" : null,
        // A click keeps the focus here (and a phone's keyboard down); Enter goes on to the text.
        onclick: (event) => app.select(key, { open: true, focus: event.detail === 0 }),
      },
      el("span", { class: "rs-row-name" }, row.name),
      unsaved ? el("span", { class: "rs-unsaved-dot", title: "Text not saved yet" }, "•") : null,
      stateMark(row.state),
      el(
        "span",
        { class: "rs-n", "aria-label": words },
        row.problem ? "!" : String(row.n_descriptions),
      ),
    );
  }

  buildGroup(title, members) {
    if (!members.length) return [];
    const heading = title ? [el("h4", { class: "rs-group" }, title)] : [];
    return [...heading, ...members.map((row) => this.buildRow(row))];
  }

  // What stands there when no row does.
  buildNone(all, query) {
    const { app } = this;
    if (app.overview.error) return el("p", { class: "rs-none" }, app.overview.error);
    if (!all.length) {
      const words = app.readOnly()
        ? "This folder has no concepts."
        : "No concepts yet. Press New to write the first one, or Import to bring a set.";
      return el("p", { class: "rs-none" }, words);
    }
    if (!query)
      return el("p", { class: "rs-none" }, "Nothing here. Choose All to see every concept.");
    const name = query.replace(/\s+/g, "_");
    const create = button({
      symbol: "add",
      label: `Create “${name}”`,
      kind: "soft",
      onclick: () => app.dialogs.create(name),
    });
    return el(
      "div",
      { class: "rs-none" },
      el("p", {}, `No concept has “${query}” in its name.`),
      app.readOnly() ? null : create,
    );
  }

  draw() {
    const { rows } = this;
    const query = this.search.value.trim().toLowerCase();
    const all = allRows(this.app.overview);
    if (!all.some((row) => FILTERS[this.filter][1](row))) this.filter = "all";
    this.drawFilters(all);
    const keep = FILTERS[this.filter][1];
    const shown = all.filter((row) => keep(row) && row.name.toLowerCase().includes(query));
    const focused = rows.contains(document.activeElement)
      ? document.activeElement.dataset.key
      : null;
    const top = rows.scrollTop;
    const good = shown.filter((row) => !row.problem && !row.neutral);
    rows.replaceChildren(
      ...this.buildGroup(
        "Cannot be used",
        shown.filter((row) => row.problem),
      ),
      ...this.buildGroup("", good),
      ...this.buildGroup(
        "Neutral texts",
        shown.filter((row) => row.neutral),
      ),
    );
    if (!shown.length) rows.append(this.buildNone(all, this.search.value.trim()));
    rows.scrollTop = top;
    this.markStop();
    if (focused) this.buttons.find((row) => row.dataset.key === focused)?.focus();
  }

  get buttons() {
    return [...this.rows.querySelectorAll(".rs-row")];
  }

  // One stop for the Tab key; arrows move inside.
  markStop(target = null) {
    const all = this.buttons;
    const stop = target || all.find((row) => row.getAttribute("aria-current")) || all[0];
    for (const row of all) row.tabIndex = row === stop ? 0 : -1;
  }

  focusRow(row) {
    if (!row) return;
    this.markStop(row);
    row.focus();
    row.scrollIntoView({ block: "nearest" });
  }

  rowKeys(event) {
    const all = this.buttons;
    const at = all.indexOf(document.activeElement);
    if (at < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
    const targets = {
      ArrowDown: all[at + 1],
      ArrowUp: all[at - 1] || this.search,
      Home: all[0],
      End: all.at(-1),
      PageDown: all[Math.min(at + PAGE, all.length - 1)],
      PageUp: all[Math.max(at - PAGE, 0)],
      Escape: this.search,
      "/": this.search,
    };
    if (event.key in targets) {
      event.preventDefault();
      const target = targets[event.key];
      if (target === this.search) target.focus();
      else this.focusRow(target);
    } else if (event.key === "Delete" && !this.app.readOnly()) {
      event.preventDefault();
      this.app.dialogs.remove(document.activeElement.dataset.key);
    }
  }

  searchKeys(event) {
    const { search } = this;
    const first = this.buttons[0];
    if (event.key === "ArrowDown") {
      event.preventDefault();
      this.focusRow(first);
    } else if (event.key === "Enter" && first && search.value.trim()) {
      event.preventDefault();
      this.app.select(first.dataset.key, { open: true, focus: true });
    } else if (event.key === "Escape" && search.value) {
      event.preventDefault();
      search.value = "";
      this.draw();
    }
  }

  focusCurrent() {
    const row = this.buttons.find((other) => other.getAttribute("aria-current"));
    if (row) this.focusRow(row);
    else this.search.focus();
  }
}
