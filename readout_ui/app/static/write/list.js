// The scoreboard of concepts: search, chips, order, ticks, keyboard.

import { button, el, icon, plural, remember, remembered } from "../lib/dom.js";
import { saveText } from "../lib/download.js";
import { conceptRow, emptyTable, FOLDED } from "./list_rows.js";
import { allRows, csvOf, FIRST_ORDER, filtersOf, ordered, searched } from "./scoreboard.js";

const TITLES = {
  name: "Name",
  texts: "Texts",
  state: "State",
  auroc: "AUROC .5–1",
  nearest: "Nearest",
  verdict: "Verdict",
};
const PAGE = 10; // rows that Page Up and Page Down pass
const SEARCH_PAUSE = 150;
const ORDER_KEY = "readout-ui:write:order";
const WRITES = { "data-writes": true };

function keptOrder() {
  const [by, order] = (remembered(ORDER_KEY) || "name 1").split(" ");
  return by in TITLES ? { by, order: Number(order) < 0 ? -1 : 1 } : { by: "name", order: 1 };
}

export class ConceptList {
  constructor(app) {
    this.app = app;
    this.filter = "all";
    this.order = keptOrder();
    this.found = null; // how many texts of each concept hold the query
    this.search = el("input", {
      type: "search",
      class: "rs-search",
      placeholder: "Search names and texts",
      "aria-label": "Search names and texts",
      autocomplete: "off",
      spellcheck: "false",
      oninput: () => this.searchSoon(),
      onkeydown: (event) => this.searchKeys(event),
    });
    this.filters = el("div", { class: "rs-filters", role: "group", "aria-label": "Show" });
    this.note = el("p", { class: "rs-list-note", role: "status" });
    this.counted = el("span", { class: "rs-counted", role: "status" });
    this.rows = el("div", {
      class: "rs-rows",
      role: "region",
      "aria-label": "Scoreboard",
      onkeydown: (event) => this.rowKeys(event),
    });
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
      ...WRITES,
    });
    const bring = button({
      label: "Import",
      kind: "soft",
      onclick: () => app.exchange.importSet(),
      ...WRITES,
    });
    const field = el("div", { class: "rs-search-field" }, icon("search"), this.search);
    return el(
      "section",
      { class: "rs-list", "aria-label": "Concepts" },
      el("div", { class: "rs-list-head" }, field, add, bring),
      this.filters,
      this.note,
      this.rows,
      this.buildFoot(),
    );
  }

  buildFoot() {
    const { app } = this;
    const small = (label, onclick, title = null) =>
      button({ label, kind: "soft rs-sm", title, onclick });
    return el(
      "div",
      { class: "rs-list-foot" },
      this.counted,
      small("Side by side", () => app.comparing.open(), "Two concepts beside each other"),
      small("CSV", () => this.save(), "This table as a file"),
      small("Export", () => app.exchange.exportSet(), "All texts as one file"),
      small("Trash", () => app.dialogs.trash()),
    );
  }

  save() {
    saveText(csvOf(this.shown), "concepts.csv", "text/csv");
  }

  // Names are searched at once, texts by the server after a pause.
  searchSoon() {
    const query = this.search.value.trim();
    this.found = null;
    this.draw();
    this.rows.scrollTop = 0;
    clearTimeout(this.timer);
    if (!query) return;
    this.timer = setTimeout(async () => {
      const answer = await this.app.call("find_texts", { query });
      if (!answer.ok || query !== this.search.value.trim()) return;
      this.found = answer.found;
      this.draw();
    }, SEARCH_PAUSE);
  }

  drawFilters(filters) {
    const chips = filters.map(({ key, label, n }) =>
      el(
        "button",
        {
          type: "button",
          class: "rs-filter",
          "aria-pressed": String(this.filter === key),
          onclick: () => {
            this.filter = this.filter === key ? "all" : key;
            this.draw();
          },
        },
        `${label} `,
        el("span", { class: "rs-n" }, String(n)),
      ),
    );
    const tag = this.filter.startsWith("tag:") ? this.filter.slice(4) : "";
    const change = el(
      "button",
      {
        type: "button",
        class: "rs-filter",
        onclick: () => this.app.tags.choose(tag, this.shown),
        ...WRITES,
      },
      tag ? `Change “${tag}”` : "+ tag",
    );
    const focused = [...this.filters.children].indexOf(document.activeElement);
    this.filters.replaceChildren(...chips, change);
    if (focused >= 0) this.filters.children[focused]?.focus();
  }

  buildHead(shown) {
    const { by, order } = this.order;
    const cells = Object.entries(TITLES).map(([key, title]) => {
      const sorted = key === by;
      const arrow = sorted ? el("span", { "aria-hidden": "true" }, order > 0 ? " ↑" : " ↓") : null;
      const sort = sorted ? { "aria-sort": order > 0 ? "ascending" : "descending" } : {};
      const turn = el(
        "button",
        { type: "button", "data-by": key, onclick: () => this.turn(key) },
        title,
        arrow,
      );
      return el("th", { scope: "col", class: FOLDED[key] || null, ...sort }, turn);
    });
    return el("thead", {}, el("tr", {}, el("th", { scope: "col" }, this.tickAll(shown)), cells));
  }

  // Ticks or unticks every concept that is shown.
  tickAll(shown) {
    const open = shown.filter((row) => !row.problem && !row.neutral);
    const ticked = open.filter((row) => row.ticked).length;
    const box = el("input", {
      type: "checkbox",
      "aria-label": "Train all concepts shown",
      checked: open.length > 0 && ticked === open.length,
      disabled: this.app.readOnly() || !open.length,
      onchange: () => this.tick(open, box.checked),
    });
    box.indeterminate = ticked > 0 && ticked < open.length;
    return box;
  }

  turn(by) {
    const order = this.order.by === by ? -this.order.order : FIRST_ORDER[by];
    this.order = { by, order };
    remember(ORDER_KEY, `${by} ${order}`);
    this.draw();
    this.rows.querySelector(`[data-by="${by}"]`)?.focus();
  }

  async tick(rows, ticked) {
    const names = rows.map((row) => row.name);
    const put = (value) => {
      for (const row of this.app.overview.rows) if (names.includes(row.name)) row.ticked = value;
      this.draw();
    };
    put(ticked);
    const answer = await this.app.call("tick", { names, ticked });
    if (answer.ok) {
      this.app.applyOverview(answer.overview);
      return;
    }
    put(!ticked);
    this.app.tell(answer.message);
  }

  get shown() {
    const all = allRows(this.app.overview, this.app.scores);
    const filters = filtersOf(all);
    const keep = (filters.find(({ key }) => key === this.filter) || filters[0]).keep;
    const rows = searched(all.filter(keep), this.search.value.trim(), this.found);
    return ordered(rows, this.order);
  }

  draw() {
    const { rows, app } = this;
    const all = allRows(app.overview, app.scores);
    const filters = filtersOf(all);
    if (!filters.some(({ key }) => key === this.filter)) this.filter = "all";
    const focus = this.focusedPlace();
    const top = rows.scrollTop;
    const { shown } = this;
    this.drawFilters(filters);
    rows.replaceChildren(this.buildTable(shown));
    if (!shown.length) rows.append(emptyTable(app, all.length, this.search.value.trim()));
    rows.scrollTop = top;
    this.drawWords();
    this.markStop();
    this.takeFocus(focus);
  }

  drawWords() {
    const { overview, judging, scores } = this.app;
    const concepts = overview.rows.filter((row) => !row.neutral);
    const ticked = concepts.filter((row) => row.ticked).length;
    this.counted.textContent = `${ticked} of ${concepts.length} in the next training`;
    const judged = scores ? `Held out: ${scores.held_out}, layer ${scores.layer}` : "";
    const words =
      overview.notice || judging || judged || "No numbers yet: they come with a training.";
    if (this.note.textContent !== words) this.note.textContent = words;
    this.note.classList.toggle("rs-warn", Boolean(overview.notice));
  }

  buildTable(shown) {
    const group = (title, rows) => {
      if (!rows.length) return null;
      const heading = el("th", { colspan: 2, scope: "rowgroup" }, title);
      const body = rows.map((row) => conceptRow(this, row));
      return el("tbody", {}, title ? el("tr", { class: "rs-group" }, heading) : null, body);
    };
    const broken = shown.filter((row) => row.problem);
    const neutral = shown.filter((row) => row.neutral);
    const good = shown.filter((row) => !row.problem && !row.neutral);
    return el(
      "table",
      { class: "rs-board" },
      this.buildHead(shown),
      [
        group("Cannot be used", broken),
        group("", good),
        group("Neutral texts, never a concept", neutral),
      ].filter(Boolean),
    );
  }

  // Which row is open; drawing 200 of them anew for that would take longer than all the rest.
  markOpen() {
    for (const row of this.rows.querySelectorAll(".rs-row")) {
      const open = row.dataset.key === this.app.selected;
      row.classList.toggle("rs-current", open);
      if (open) row.querySelector(".rs-row-name").setAttribute("aria-current", "true");
      else row.querySelector(".rs-row-name").removeAttribute("aria-current");
    }
    this.markStop();
  }

  get links() {
    return [...this.rows.querySelectorAll(".rs-row-name")];
  }

  focusedPlace() {
    const { activeElement } = document;
    const row = this.rows.contains(activeElement) ? activeElement.closest(".rs-row") : null;
    if (row) return { key: row.dataset.key, box: activeElement.type === "checkbox" };
    return null;
  }

  takeFocus(place) {
    if (!place) return;
    const link = this.links.find((other) => other.closest(".rs-row").dataset.key === place.key);
    const row = link?.closest(".rs-row");
    (place.box ? row?.querySelector("input") : link)?.focus();
  }

  // One stop for the Tab key; arrows move inside.
  markStop(target = null) {
    const all = this.links;
    const stop = target || all.find((link) => link.getAttribute("aria-current")) || all[0];
    for (const link of all) link.tabIndex = link === stop ? 0 : -1;
  }

  focusLink(link, box = false) {
    if (!link) return;
    this.markStop(link);
    const row = link.closest(".rs-row");
    ((box && row.querySelector("input")) || link).focus();
    row.scrollIntoView({ block: "nearest" });
  }

  rowKeys(event) {
    const row = event.target.closest(".rs-row");
    if (!row || event.altKey || event.ctrlKey || event.metaKey) return;
    const all = this.links;
    const box = event.target.type === "checkbox";
    const at = all.indexOf(row.querySelector(".rs-row-name"));
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
      else this.focusLink(target, box);
    } else if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      event.preventDefault();
      this.focusLink(all[at], event.key === "ArrowLeft");
    } else if (event.key === " " && !box) {
      event.preventDefault();
      row.querySelector("input")?.click();
    } else if (event.key === "Delete" && !this.app.readOnly()) {
      event.preventDefault();
      this.app.dialogs.remove(row.dataset.key);
    }
  }

  searchKeys(event) {
    const { search } = this;
    const first = this.links[0];
    if (event.key === "ArrowDown") {
      event.preventDefault();
      this.focusLink(first);
    } else if (event.key === "Enter" && first && search.value.trim()) {
      event.preventDefault();
      this.app.open(first.closest(".rs-row").dataset.key, { focus: true });
    } else if (event.key === "Escape" && search.value) {
      event.preventDefault();
      search.value = "";
      this.searchSoon();
    }
  }

  focusCurrent() {
    const current = this.links.find((link) => link.getAttribute("aria-current"));
    if (current) this.focusLink(current);
    else this.search.focus();
  }

  // How many of a concept's texts hold what is searched for, where its name does not.
  hits(row) {
    const query = this.search.value.trim().toLowerCase();
    const n = this.found?.[row.name];
    return n && query && !row.name.toLowerCase().includes(query) ? plural(n, "text") : "";
  }
}
