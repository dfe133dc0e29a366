// Cells of CSV files that the page makes.

// A cell's text, in quotes where it needs them.
export function quoted(text) {
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

// A value as a cell that no spreadsheet takes for a formula, such as a name that begins with "=".
export function cell(value) {
  const text = String(value ?? "");
  return quoted(typeof value === "string" && /^[=+\-@\t]/.test(text) ? `'${text}` : text);
}
