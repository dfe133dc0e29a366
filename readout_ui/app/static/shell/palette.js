// Ctrl+K: one box that finds concepts, rooms and actions; `?` shows the keys.

import { el, openSheet, page } from "../lib/dom.js";
import { openDrawer } from "../lib/drawer.js";
import { addressOf, go } from "../lib/route.js";
import { rank } from "./palette_order.js";

const PLACES = [
  ["Write: all concepts", "#/write"],
  ["Write: a new concept", "#/write?new=1"],
  ["Write: from pairs, stories or memories", "#/write?from=pairs"],
  ["Read: a text or a chat", "#/read"],
  ["Read: many texts", "#/read/many"],
  ["Read: passages of a large file", "#/read/passages"],
  ["Read: compare two runs", "#/read?compare=runs"],
  ["Judge: the report", "#/judge"],
  ["Judge: cross-talk", "#/judge/cross-talk"],
  ["Judge: new texts", "#/judge/new-texts"],
  ["Judge: layers", "#/judge/layers"],
  ["Ship: runs, packs and exports", "#/ship"],
];

// By where they work; those of a room are its own scripts'.
const KEYS = {
  Everywhere: [
    ["Ctrl K", "Find a concept, a room or an action, or read a text"],
    ["?", "These keys"],
    ["Alt 1 … Alt 4", "Write, Read, Judge, Ship"],
    ["Arrows, Home, End", "Step through tabs, lists, tokens and cells"],
    ["Esc", "Close what is open; stop an answer"],
  ],
  "Write, the list": [
    ["/ or Esc", "To the search"],
    ["Enter", "Open the concept; in the search, the first found"],
    ["Space", "In or out of the next training"],
    ["Page Up, Page Down", "Ten concepts on"],
  ],
  "Write, a text": [
    ["Ctrl Enter", "Save and train"],
    ["Ctrl S", "Save now"],
    ["Ctrl Z, Ctrl Y", "Undo, redo"],
    ["Alt Enter", "A new text below"],
    ["Alt ↑, Alt ↓", "Move the text"],
    ["Alt Shift ↓", "Copy the text"],
    ["Backspace", "Remove an empty text"],
    ["Esc", "Back to the list"],
  ],
  Read: [
    ["Enter", "Read the text, send the message"],
    ["Shift Enter", "A new line"],
    ["Enter or Space", "On a token: its layers, what comes next, fork"],
    ["← →", "On the head of a turn: its other branches"],
  ],
};

const press = (id) => () => document.getElementById(id)?.click();

function actions() {
  const training = document.querySelector("#cancel-training:not(.away)");
  return [
    { label: "Train", hint: "Action", run: press("retrain") },
    ...(training
      ? [{ label: "Cancel the training", hint: "Action", run: press("cancel-training") }]
      : []),
    { label: "Training settings", hint: "Action", run: () => openDrawer("train-drawer") },
    { label: "Choose the model", hint: "Action", run: press("model-chip") },
    { label: "Shortcuts", hint: "Action", run: showKeys },
  ];
}

// All that can be found; a concept opens its page.
function entries(concepts) {
  const places = PLACES.map(([label, at]) => ({ label, hint: "Place", run: () => go(at) }));
  const pages = concepts.map((name) => ({
    label: name,
    hint: "Concept",
    run: () => go(addressOf({ room: "write", part: name })),
  }));
  return [...actions(), ...places, ...pages];
}

const readEntry = (text) => ({
  label: `Read: ${text}`,
  hint: "Read",
  run: () => go(addressOf({ room: "read", query: { text } })),
});

function found(all, words) {
  const text = words.trim();
  const matches = rank(all, text).slice(0, 12);
  return text ? [...matches, readEntry(text.replace(/^read:\s*/i, ""))] : matches;
}

function option(entry, index, choose) {
  const item = el(
    "li",
    { role: "option", id: `palette-${index}`, "aria-selected": "false" },
    el("span", {}, entry.label),
    el("span", { class: "hint" }, entry.hint),
  );
  item.addEventListener("click", () => choose(entry));
  return item;
}

// Opens at once, so that no letter is lost; the concepts follow when the server has told them.
export function openPalette(concepts) {
  if (document.querySelector("dialog[open]")) return;
  let all = entries([]);
  const list = el("ul", { role: "listbox", id: "palette-list", "aria-label": "Found" });
  const box = el("input", {
    type: "text",
    role: "combobox",
    "aria-expanded": "true",
    "aria-controls": "palette-list",
    "aria-label": "Find a concept, a room or an action, or type a text to read",
    placeholder: "A concept, a room, an action, or a text to read",
    autocomplete: "off",
  });
  const { close, sheet } = openSheet(page(), "Find", el("div", { class: "palette" }, box, list));
  let shown = [];
  let at = 0;
  const choose = (entry) => {
    close();
    entry?.run();
  };
  const mark = (index) => {
    at = (index + shown.length) % Math.max(1, shown.length);
    [...list.children].forEach((item, i) => {
      item.setAttribute("aria-selected", String(i === at));
      if (i === at) item.scrollIntoView({ block: "nearest" });
    });
    box.setAttribute("aria-activedescendant", `palette-${at}`);
  };
  const draw = () => {
    shown = found(all, box.value);
    list.replaceChildren(...shown.map((entry, index) => option(entry, index, choose)));
    mark(0);
  };
  const keys = {
    ArrowDown: () => mark(at + 1),
    ArrowUp: () => mark(at - 1),
    Enter: () => choose(shown[at]),
  };
  box.addEventListener("keydown", (event) => {
    if (!keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
  box.addEventListener("input", draw);
  draw();
  box.focus();
  concepts().then((names) => {
    all = entries(names);
    draw();
  });
  return sheet;
}

export function showKeys() {
  const parts = Object.entries(KEYS).map(([where, keys]) => [
    el("h4", {}, where),
    el(
      "dl",
      { class: "keys" },
      keys.flatMap(([key, does]) => [
        el("dt", {}, el("kbd", { class: "key" }, key)),
        el("dd", {}, does),
      ]),
    ),
  ]);
  // The keyboard scrolls it too.
  const table = { class: "key-table", tabindex: 0, role: "group", "aria-label": "Keys" };
  openSheet(page(), "Shortcuts", el("div", table, parts.flat()));
}

const typing = (target) => target.closest?.("input, textarea, select, [contenteditable=true]");

// `concepts` tells their names when the palette opens.
export function startPalette(concepts) {
  const open = () => openPalette(concepts);
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-palette]")) open();
  });
  document.addEventListener("keydown", (event) => {
    const letter = event.key.toLowerCase();
    if ((event.ctrlKey || event.metaKey) && letter === "k" && !event.shiftKey) {
      event.preventDefault();
      open();
    } else if (
      event.key === "?" &&
      !typing(event.target) &&
      !document.querySelector("dialog[open]")
    )
      showKeys();
    else if (event.altKey && /^[1-4]$/.test(event.key)) {
      event.preventDefault();
      go(["#/write", "#/read", "#/judge", "#/ship"][Number(event.key) - 1]);
    }
  });
}
