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

function stateMark(state) {
  return el(
    "span",
    { class: `rs-state rs-state-${state}`, title: STATE_MEANING[state] || null },
    STATE_WORDS[state] || state,
  );
}

export function makeList(app) {
  const search = el("input", {
    type: "search",
    class: "rs-search",
    placeholder: "Search concepts",
    "aria-label": "Search concepts",
    autocomplete: "off",
    spellcheck: "false",
    oninput: () => {
      draw();
      rows.scrollTop = 0;
    },
    onkeydown: searchKeys,
  });
  const filters = el("div", { class: "rs-filters", role: "group", "aria-label": "Show" });
  const rows = el("div", { class: "rs-rows", onkeydown: rowKeys });
  const tools = el("div", { class: "rs-list-tools" });
  const root = el(
    "section",
    { class: "rs-list", "aria-label": "Concepts" },
    el(
      "div",
      { class: "rs-list-head" },
      el("div", { class: "rs-search-field" }, icon("search"), search),
      button({
        symbol: "add",
        label: "New",
        kind: "soft",
        title: "New concept",
        onclick: () => app.dialogs.create(search.value.trim()),
        "data-writes": true,
      }),
    ),
    filters,
    rows,
    tools,
  );
  tools.append(
    button({
      symbol: "import",
      label: "Import",
      onclick: () => app.exchange.importSet(),
      "data-writes": true,
    }),
    button({ symbol: "export", label: "Export", onclick: () => app.exchange.exportSet() }),
    button({ symbol: "trash", label: "Trash", onclick: () => app.dialogs.trash() }),
  );
  let filter = "all";

  const FILTERS = {
    all: ["All", () => true],
    changed: ["Changed", (row) => row.state === "new" || row.state === "edited"],
    problems: ["Problems", (row) => row.state === "problem" || row.state === "empty"],
  };

  function allRows() {
    const { rows: good, problems } = app.overview;
    const broken = problems.map((problem) => ({
      name: problem.file,
      problem,
      state: "problem",
      neutral: false,
      n_descriptions: null,
    }));
    return [...good, ...broken];
  }

  function drawFilters(all) {
    filters.replaceChildren(
      ...Object.entries(FILTERS)
        .map(([key, [label, keep]]) => {
          const n = all.filter((row) => keep(row)).length;
          if (key !== "all" && !n && filter !== key) return null;
          return el(
            "button",
            {
              type: "button",
              class: "rs-filter",
              "aria-pressed": String(filter === key),
              onclick: () => {
                filter = key;
                draw();
              },
            },
            label,
            el("span", { class: "rs-n" }, String(n)),
          );
        })
        .filter(Boolean),
    );
  }

  function rowOf(row) {
    const key = row.problem ? `file:${row.name}` : row.name;
    const current = app.current() === key;
    const unsaved = !row.problem && app.hasDraft(row.name);
    return el(
      "button",
      {
        type: "button",
        class: "rs-row",
        "data-key": key,
        tabindex: "-1",
        "aria-current": current ? "true" : null,
        // A click keeps the focus here (and a phone's keyboard down); Enter goes on to the text.
        onclick: (event) => app.select(key, { open: true, focus: event.detail === 0 }),
      },
      el("span", { class: "rs-row-name" }, row.name),
      unsaved ? el("span", { class: "rs-unsaved-dot", title: "Text not saved yet" }, "•") : null,
      stateMark(row.state),
      el(
        "span",
        {
          class: "rs-n",
          "aria-label": row.problem ? null : plural(row.n_descriptions, "description"),
        },
        row.problem ? "!" : String(row.n_descriptions),
      ),
    );
  }

  function group(title, members) {
    if (!members.length) return [];
    return [title ? el("h4", { class: "rs-group" }, title) : null, ...members.map(rowOf)];
  }

  function emptyList(all, query) {
    if (app.overview.error) return el("p", { class: "rs-none" }, app.overview.error);
    if (!all.length) {
      return el(
        "p",
        { class: "rs-none" },
        app.readOnly()
          ? "This folder has no concepts."
          : "No concepts yet. Press New to write the first one, or Import to bring a set.",
      );
    }
    if (!query) {
      return el("p", { class: "rs-none" }, "Nothing here. Choose All to see every concept.");
    }
    const name = query.replace(/\s+/g, "_");
    return el(
      "div",
      { class: "rs-none" },
      el("p", {}, `No concept has “${query}” in its name.`),
      app.readOnly()
        ? null
        : button({
            symbol: "add",
            label: `Create “${name}”`,
            kind: "soft",
            onclick: () => app.dialogs.create(name),
          }),
    );
  }

  function draw() {
    const query = search.value.trim().toLowerCase();
    const all = allRows();
    if (!all.some((row) => FILTERS[filter][1](row))) filter = "all";
    drawFilters(all);
    const shown = all.filter(
      (row) => FILTERS[filter][1](row) && row.name.toLowerCase().includes(query),
    );
    const focused = rows.contains(document.activeElement)
      ? document.activeElement.dataset.key
      : null;
    const top = rows.scrollTop;
    rows.replaceChildren(
      ...[
        ...group(
          "Cannot be used",
          shown.filter((row) => row.problem),
        ),
        ...group(
          "",
          shown.filter((row) => !row.problem && !row.neutral),
        ),
        ...group(
          "Neutral texts",
          shown.filter((row) => row.neutral),
        ),
      ].filter(Boolean),
    );
    if (!shown.length) rows.append(emptyList(all, search.value.trim()));
    rows.scrollTop = top;
    markStop();
    if (focused)
      buttons()
        .find((row) => row.dataset.key === focused)
        ?.focus();
  }

  function buttons() {
    return [...rows.querySelectorAll(".rs-row")];
  }

  // One stop for the Tab key; arrows move inside.
  function markStop(target = null) {
    const all = buttons();
    const stop = target || all.find((row) => row.getAttribute("aria-current")) || all[0];
    for (const row of all) row.tabIndex = row === stop ? 0 : -1;
  }

  function focusRow(row) {
    if (!row) return;
    markStop(row);
    row.focus();
    row.scrollIntoView({ block: "nearest" });
  }

  function rowKeys(event) {
    const all = buttons();
    const at = all.indexOf(document.activeElement);
    if (at < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
    const target = {
      ArrowDown: all[at + 1],
      ArrowUp: all[at - 1],
      Home: all[0],
      End: all.at(-1),
      PageDown: all[Math.min(at + 10, all.length - 1)],
      PageUp: all[Math.max(at - 10, 0)],
    };
    if (event.key in target) {
      event.preventDefault();
      if (target[event.key]) focusRow(target[event.key]);
      else if (event.key === "ArrowUp") search.focus();
    } else if (event.key === "Escape" || event.key === "/") {
      event.preventDefault();
      search.focus();
    } else if (event.key === "Delete" && !app.readOnly()) {
      event.preventDefault();
      app.dialogs.remove(document.activeElement.dataset.key);
    }
  }

  function searchKeys(event) {
    const first = buttons()[0];
    if (event.key === "ArrowDown") {
      event.preventDefault();
      focusRow(first);
    } else if (event.key === "Enter" && first && search.value.trim()) {
      event.preventDefault();
      app.select(first.dataset.key, { open: true, focus: true });
    } else if (event.key === "Escape" && search.value) {
      event.preventDefault();
      search.value = "";
      draw();
    }
  }

  function focusCurrent() {
    const row = buttons().find((other) => other.getAttribute("aria-current"));
    if (row) focusRow(row);
    else search.focus();
  }

  return { root, draw, focusCurrent, focusSearch: () => search.focus() };
}
