// The scoreboard as values: rows, filters, order, CSV. No page in here.

import { cell } from "../lib/csv.js";

export const STATE_MEANING = {
  new: "Not part of the training in use",
  edited: "Changed since the training in use",
  trained: "As in the training in use",
  empty: "Has no texts yet",
  problem: "This file cannot be used",
};
const VERDICTS = ["at chance", "weak", "readable", "clear"];
// What colour a verdict has: ok, warn, bad or none.
export const TONES = { clear: "ok", readable: "ok", weak: "warn", "at chance": "bad" };
export const TO_FIX = "to fix";

// Every file of the folder as a row; `score` is null before a concept was judged.
export function allRows({ rows, problems }, scores) {
  const names = new Set(rows.map((row) => row.name));
  const apart = rows.filter((row) => !names.has(row.against)); // others are on their concept's page
  const good = apart.map((row) => ({
    ...row,
    key: row.name,
    score: scores?.rows[row.name] || null,
  }));
  const broken = problems.map((problem) => ({
    key: `file:${problem.file}`,
    name: problem.file,
    problem,
    state: "problem",
    neutral: false,
    n_descriptions: null,
    tags: [],
    ticked: true,
    score: null,
  }));
  return [...good, ...broken];
}

export function isToFix({ score }) {
  return Boolean(score && (score.n_advice || ["warn", "bad"].includes(TONES[score.verdict])));
}

// The chips above the list: how many rows each lets through; a chip of a tag is named `tag:...`.
export function filtersOf(rows) {
  const concepts = rows.filter((row) => !row.neutral && !row.problem);
  const tags = [...new Set(rows.flatMap((row) => row.tags))].sort((a, b) => a.localeCompare(b));
  const some = [
    ["changed", "changed", (row) => row.state === "new" || row.state === "edited"],
    [TO_FIX, TO_FIX, isToFix],
    ["problems", "problems", (row) => row.state === "problem" || row.state === "empty"],
    ["left out", "left out", (row) => !row.ticked],
  ];
  const ofTags = tags.map((tag) => [`tag:${tag}`, tag, (row) => row.tags.includes(tag)]);
  const counted = [...ofTags, ...some].map(([key, label, keep]) => ({
    key,
    label,
    keep,
    n: rows.filter(keep).length,
  }));
  const all = { key: "all", label: "All", keep: () => true, n: concepts.length };
  return [all, ...counted.filter(({ n }) => n)];
}

const COLUMNS = {
  name: (row) => row.name,
  texts: (row) => row.n_descriptions,
  state: (row) => Object.keys(STATE_MEANING).indexOf(row.state),
  auroc: (row) => row.score?.auroc ?? null,
  nearest: (row) => row.score?.cosine ?? null,
  verdict: (row) => {
    const at = VERDICTS.indexOf(row.score?.verdict);
    return at < 0 ? null : at;
  },
};
// The first click on a column of numbers shows what is most worth a look.
export const FIRST_ORDER = {
  name: 1,
  texts: 1,
  state: 1,
  auroc: 1,
  nearest: -1,
  verdict: 1,
};

// Rows by a column; where it says nothing comes last, whichever way it is turned.
export function ordered(rows, { by, order }) {
  const value = COLUMNS[by];
  const names = (a, b) => a.name.localeCompare(b.name);
  return [...rows].sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    if (x === null || y === null) return (x === null) - (y === null) || names(a, b);
    const compared = typeof x === "string" ? x.localeCompare(y) : x - y;
    return order * compared || names(a, b);
  });
}

// Rows whose name holds the query, or whose texts do (`found`: how many texts, by name).
export function searched(rows, query, found) {
  const words = query.toLowerCase();
  return rows.filter((row) => row.name.toLowerCase().includes(words) || found?.[row.name]);
}

// Where a number between .5 and 1 stands on a line of `width` pixels.
export function placeOn(value, width) {
  return Math.round(Math.min(1, Math.max(0, (value - 0.5) / 0.5)) * width);
}

const CSV_TITLES = {
  concept: (row) => row.name,
  texts: (row) => row.n_descriptions,
  state: (row) => row.state,
  in_training: (row) => (row.ticked ? "yes" : "no"),
  tags: (row) => row.tags.join("|"),
  auroc: (row) => row.score?.auroc,
  low: (row) => row.score?.low,
  high: (row) => row.score?.high,
  held_out_texts: (row) => row.score?.n_held_out,
  words: (row) => row.score?.words,
  embedding: (row) => row.score?.embedding,
  random: (row) => row.score?.random,
  nearest: (row) => row.score?.nearest,
  cosine: (row) => row.score?.cosine,
  verdict: (row) => row.score?.verdict,
};

export function csvOf(rows) {
  const rounded = (value) => (typeof value === "number" ? Math.round(value * 1e4) / 1e4 : value);
  const lines = rows.map((row) => Object.values(CSV_TITLES).map((of) => cell(rounded(of(row)))));
  return [Object.keys(CSV_TITLES), ...lines].map((line) => `${line.join(",")}\r\n`).join("");
}
