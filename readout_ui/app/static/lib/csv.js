// Cells of CSV files that the page makes, and tables saved as such files.

import { saveText } from "./download.js";

// A cell's text, in quotes where it needs them.
export function quoted(text) {
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

// A value as a cell that no spreadsheet takes for a formula, such as a name that begins with "=".
export function cell(value) {
  const text = String(value ?? "");
  return quoted(typeof value === "string" && /^[=+\-@\t]/.test(text) ? `'${text}` : text);
}

export function csv(rows) {
  return `${rows.map((row) => row.map(cell).join(",")).join("\n")}\n`;
}

export function saveCsv(rows, name) {
  saveText(csv(rows), `${name}.csv`, "text/csv");
}

// What a cell says: what `data-value` names, such as a number that it shows rounded, else its words
// without those of its buttons; a number is one.
function told(one, wanted) {
  const copy = one.cloneNode(true);
  const details = [...copy.querySelectorAll("i")];
  const detail = details.map((each) => each.textContent).join(" ");
  for (const extra of [...copy.querySelectorAll(".btn"), ...details]) extra.remove();
  const text = wanted === "detail" ? detail : (one.dataset.value ?? copy.textContent);
  const plain = text.replaceAll(/\s+/g, " ").trim();
  const number = plain.replace("−", "-").replace(/^([+-]?)\./, "$10.");
  return /^[+-]?\d+(\.\d+)?$/.test(number) ? Number(number) : plain;
}

// The rows of a table; what stands in italics beside a number, such as its interval, has a column
// of its own.
export function rowsOf(table) {
  const rows = [...table.rows].map((row) => [...row.cells]);
  const split = rows[0].map((_, at) => rows.some((row) => row[at]?.querySelector("i")));
  const cells = (row, first) =>
    row.flatMap((one, at) => {
      const plain = told(one);
      if (!split[at]) return [plain];
      return [plain, first ? `${plain}, detail` : told(one, "detail")];
    });
  return rows.map((row, at) => cells(row, at === 0));
}

// A click on what carries `data-csv="name"` saves the table beside it. Once a page.
export function startSaving() {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-csv]");
    const table = button?.parentElement.querySelector("table");
    if (table) saveCsv(rowsOf(table), button.dataset.csv);
  });
}
