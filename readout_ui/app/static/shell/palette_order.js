// The order in which the palette shows what matches.

// 0 begins with the words, 1 has a word that begins with them, 2 has them anywhere; -1 has not.
function place(label, words) {
  const text = label.toLowerCase();
  if (text.startsWith(words)) return 0;
  if (text.split(/[\s:]+/).some((word) => word.startsWith(words))) return 1;
  return text.includes(words) ? 2 : -1;
}

// Entries whose label has the words, the best first; all of them for none.
export function rank(entries, text) {
  const words = text.trim().toLowerCase();
  if (!words) return entries;
  return entries
    .map((entry) => ({ entry, at: place(entry.label, words) }))
    .filter(({ at }) => at >= 0)
    .sort((a, b) => a.at - b.at)
    .map(({ entry }) => entry);
}
