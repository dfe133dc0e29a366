// Files that the page makes itself and hands to the browser.

export function saveBlob(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

// For an event of the app: its text as a file. No text, no file; nothing goes back to the page.
export function saveText(text, name, type) {
  // Spreadsheets take CSV for UTF-8 only where it begins with this mark.
  const mark = type === "text/csv" ? "\ufeff" : "";
  if (text) saveBlob(new Blob([mark, text], { type }), name);
  return [];
}
