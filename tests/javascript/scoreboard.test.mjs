// The scoreboard's values: order, filters, search, CSV, and the order of texts with most to gain.

import assert from "node:assert/strict";
import { test } from "node:test";
import { decimals } from "../../readout_ui/app/static/lib/scale.js";
import { byRank, newBox, ranksOf } from "../../readout_ui/app/static/write/editor_state.js";
import {
  allRows,
  csvOf,
  filtersOf,
  ordered,
  placeOn,
  searched,
} from "../../readout_ui/app/static/write/scoreboard.js";

function row(name, more = {}) {
  const known = { state: "trained", neutral: false, n_descriptions: 8, tags: [], ticked: true };
  return { name, ...known, ...more };
}

const SCORES = {
  rows: {
    calm: { auroc: 0.71, cosine: 0.4, nearest: "sad", verdict: "weak", n_advice: 0 },
    sad: { auroc: 0.95, cosine: 0.2, nearest: "calm", verdict: "clear", n_advice: 1 },
  },
};
const OVERVIEW = {
  rows: [
    row("sad", { tags: ["low"] }),
    row("calm", { ticked: false }),
    row("new", { state: "new" }),
  ],
  problems: [{ file: "torn.txt", message: "torn" }],
};

const names = (rows) => rows.map(({ name }) => name);

test("what says nothing comes last, whichever way a column is turned", () => {
  const rows = allRows(OVERVIEW, SCORES);
  assert.deepEqual(names(ordered(rows, { by: "auroc", order: 1 })).slice(0, 2), ["calm", "sad"]);
  assert.deepEqual(names(ordered(rows, { by: "auroc", order: -1 })).slice(0, 2), ["sad", "calm"]);
  const verdicts = names(ordered(rows, { by: "verdict", order: -1 }));
  assert.deepEqual(verdicts.slice(0, 2), ["sad", "calm"]);
  assert.deepEqual(verdicts.slice(2).sort(), ["new", "torn.txt"]);
});

test("chips count what they let through, and those that let nothing through are left out", () => {
  const filters = filtersOf(allRows(OVERVIEW, SCORES));
  const counts = Object.fromEntries(filters.map(({ key, n }) => [key, n]));
  const wanted = { all: 3, "tag:low": 1, changed: 1, "to fix": 2, problems: 1, "left out": 1 };
  assert.deepEqual(counts, wanted);
});

test("a row is found by its name or by its texts", () => {
  const rows = allRows(OVERVIEW, null);
  assert.deepEqual(names(searched(rows, "CAL", null)), ["calm"]);
  assert.deepEqual(names(searched(rows, "zz", { sad: 2 })), ["sad"]);
});

test("a table for a spreadsheet quotes what it must and holds no formula", () => {
  const csv = csvOf(
    [row("=1+1"), row('a,"b"', { tags: ["one", "two"] })].map((r) => ({ ...r, score: null })),
  );
  const lines = csv.split("\r\n");
  assert.ok(lines[1].startsWith("'=1+1,8,trained,yes,"));
  assert.ok(lines[2].startsWith('"a,""b""",8,trained,yes,one|two,'));
});

test("numbers are short, and the line runs from .5 to 1", () => {
  assert.deepEqual(
    [decimals(0.918), decimals(1), decimals(-0.25, 2), decimals(-0.0004), decimals(null)],
    [".918", "1.000", "−.25", ".000", ""],
  );
  assert.deepEqual([placeOn(0.4, 64), placeOn(0.75, 64), placeOn(1, 64)], [0, 32, 64]);
});

test("texts with advice come first, then those that pull away most, unjudged ones last", () => {
  const boxes = ["plain", "advised", "new", "pulls"].map((text) => newBox(text));
  const judged = new Map([
    ["plain", { own: 1.5, pull: 0.1, advice: "" }],
    ["advised", { own: 2.5, pull: 0.1, advice: "Rewrite it." }],
    ["pulls", { own: 0.5, pull: 0.9, advice: "" }],
  ]);
  const shown = byRank(boxes, ranksOf(boxes, judged));
  assert.deepEqual(
    shown.map(({ text }) => text),
    ["advised", "pulls", "plain", "new"],
  );
});
