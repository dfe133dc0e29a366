// Buttons that open the editor, and the search and order of the table of descriptions.

import { go } from "../lib/route.js";

function open(trigger, place) {
  go("#/write");
  trigger("open_requested", place);
  // The editor can take the caret only once its tab is on the page.
  requestAnimationFrame(() =>
    requestAnimationFrame(() =>
      document.dispatchEvent(new CustomEvent("rs-open", { detail: place })),
    ),
  );
}

function sort(button) {
  const column = Number(button.dataset.sort);
  const head = button.closest("th");
  const down = head.getAttribute("aria-sort") !== "descending";
  for (const other of head.parentNode.children) other.setAttribute("aria-sort", "none");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const body = button.closest("table").tBodies[0];
  const value = (row) => {
    const cell = row.cells[column];
    const text = cell.dataset.value ?? cell.textContent;
    return button.dataset.as === "number" ? Number(text) : text;
  };
  const sign = (button.dataset.as === "number") === down ? -1 : 1;
  const compare = (a, b) => (a < b ? -sign : a > b ? sign : 0);
  body.append(...[...body.rows].sort((a, b) => compare(value(a), value(b))));
}

function search(element, input) {
  const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
  const rows = [...element.querySelectorAll("tbody tr")];
  let shown = 0;
  for (const row of rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
    if (!row.hidden) shown += 1;
  }
  element.querySelector(".shown").textContent = `${shown} of ${rows.length}`;
}

export function start({ element, trigger }) {
  element.addEventListener("click", (event) => {
    const opener = event.target.closest("[data-open]");
    const sorter = event.target.closest("[data-sort]");
    if (opener) open(trigger, JSON.parse(opener.dataset.open));
    if (sorter) sort(sorter);
  });
  element.addEventListener("input", (event) => {
    if (event.target.type === "search") search(element, event.target);
  });
}
