// What the palette finds, and in which order.

import assert from "node:assert/strict";
import { test } from "node:test";
import { rank } from "../../readout_ui/app/static/shell/palette_order.js";

const all = ["Train", "Judge: the report", "constrained", "Ship: export", "tranquil"].map(
  (label) => ({
    label,
  }),
);
const labels = (text) => rank(all, text).map(({ label }) => label);

test("what begins with the words comes first, then words that do, then the rest", () => {
  assert.deepEqual(labels("tra"), ["Train", "tranquil", "constrained"]);
  assert.deepEqual(labels(" REP "), ["Judge: the report"]);
  assert.deepEqual(labels("exp"), ["Ship: export"]);
});

test("nothing typed shows all, and what is nowhere shows nothing", () => {
  assert.equal(labels("").length, all.length);
  assert.deepEqual(labels("zzz"), []);
});
