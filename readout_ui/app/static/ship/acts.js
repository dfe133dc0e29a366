// Clicks in Ship's lists and cards. What carries `data-act` goes to the server as the component's
// `select`, with its other data attributes; `data-copy` is copied; runs are compared by `compare`.

import { page } from "../lib/dom.js";
import { openRunSheet } from "./run_sheet.js";

const SHOWN_MS = 1500;

export function start({ element, trigger, watch }) {
  const send = (values) => trigger("select", values);
  element.addEventListener("click", (event) => {
    const clicked = event.target.closest("[data-act], [data-copy]");
    if (!clicked || clicked.matches("input")) return;
    if ("copy" in clicked.dataset) copy(clicked);
    else act(clicked, send, trigger);
  });
  element.addEventListener("change", ({ target }) => {
    if (target.dataset.act === "format") send({ act: "format", format: target.value });
  });
  element.addEventListener("input", ({ target }) => {
    if ("filter" in target.dataset) filter(element, target.value);
  });
  watch("value", () => {
    const search = element.querySelector("[data-filter]");
    if (search) filter(element, search.value); // the rows are other ones
  });
}

function act(clicked, send, trigger) {
  const values = { ...clicked.dataset };
  if (values.act === "menu") openRunSheet(clicked, send);
  else if (values.act === "all") showAll(clicked);
  else if (values.act === "compare") trigger("compare", compared(clicked, values));
  else if (values.confirm && !clicked.classList.contains("sure")) ask(clicked);
  else send(values);
}

// The two runs of a click: those of the row, or those that are picked in the lists beside it.
function compared(clicked, { old, new: now, picked }) {
  if (!picked) return pick({ old, new: now });
  const [newer, older] = clicked.parentElement.querySelectorAll("select");
  return { old: older.value, new: newer.value };
}

// The lists say what is compared.
function pick(runs) {
  for (const [which, run] of Object.entries(runs)) {
    const list = page().querySelector(`#diff [data-pick=${which}]`);
    list.value = run;
    list.dispatchEvent(new Event("change", { bubbles: true }));
  }
  return runs;
}

// The first press asks, the second one does it.
function ask(clicked) {
  const words = clicked.textContent;
  clicked.classList.add("sure");
  clicked.textContent = clicked.dataset.confirm;
  clicked.addEventListener(
    "blur",
    () => {
      clicked.classList.remove("sure");
      clicked.textContent = words;
    },
    { once: true },
  );
}

function filter(element, typed) {
  const wanted = typed.trim().toLowerCase();
  element.querySelector("table").classList.toggle("all", wanted !== "");
  for (const row of element.querySelectorAll("tbody tr"))
    row.hidden = !row.textContent.toLowerCase().includes(wanted);
}

function showAll(clicked) {
  clicked.parentElement.dataset.all = ""; // stays when the list is drawn anew
}

async function copy(button) {
  const text = button.dataset.copy;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    copySelected(button); // pages that come without https may not write by themselves
  }
  button.classList.add("copied");
  const label = button.getAttribute("aria-label");
  button.setAttribute("aria-label", "Copied");
  setTimeout(() => {
    button.classList.remove("copied");
    button.setAttribute("aria-label", label);
  }, SHOWN_MS);
}

function copySelected(button) {
  const range = document.createRange();
  range.selectNodeContents(button.parentElement.querySelector("pre"));
  const selection = window.getSelection();
  selection.removeAllRanges();
  selection.addRange(range);
  document.execCommand("copy");
}

// For an event of the app: the browser saves the file that was made, if there is one.
export function download(file) {
  const found = Array.isArray(file) ? file[0] : file;
  if (found?.url) {
    const link = document.createElement("a");
    link.href = found.url;
    link.download = found.orig_name ?? "";
    link.click();
  }
  return null; // offered once
}
