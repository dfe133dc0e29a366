// Colours and words of one packed map; what packing keeps of the scores is tests/plots' business.

import assert from "node:assert/strict";
import { test } from "node:test";
import { cssColour, scoreLines, unpackMap } from "../../readout_ui/app/static/heatmap/data.js";
import { placeWords } from "../../readout_ui/app/static/heatmap/paint.js";

// One row of two tokens: 1.5 and, in the second unit, a code that means "none".
function packed() {
  const header = JSON.stringify({
    tokens: ["a", "b"],
    rows: ["calm"],
    strip: "",
    units: [
      { name: "z", kind: "half", digits: 2, offset: [0] },
      { name: "cosine", kind: "steps", digits: 3, low: [-0.5], step: [0.25] },
      { name: "raw", kind: "line", digits: 1, of: 0, gain: [2], shift: [-10] },
    ],
    overview: [1, 2],
    middle: 1,
    reach: 2,
    above: [1, 2, 3],
    below: [4, 5, 6],
  });
  const text = new TextEncoder().encode(header);
  const length = new Uint8Array(Uint32Array.of(text.length).buffer);
  const halves = [0x00, 0x3e, 0x00, 0xbc]; // 1.5 and -1
  const bytes = [...length, ...text, ...halves, 3, 0, 255, 128];
  return btoa(String.fromCharCode(...bytes));
}

test("each kind of unit gives its scores, a missing one is no number", () => {
  const map = unpackMap(packed());
  assert.deepEqual([map.score(0, 0, 0), map.score(0, 0, 1)], [1.5, -1]);
  assert.deepEqual([map.score(1, 0, 0), map.score(1, 0, 1)], [0, Number.NaN]);
  assert.deepEqual([map.score(2, 0, 0), map.score(2, 0, 1)], [-7, -12]);
  assert.deepEqual([...map.pooled], [255, 128]);
});

test("full colour lies one reach from the middle, on either side", () => {
  const map = unpackMap(packed());
  assert.deepEqual([-9, -1, 1, 2, 9].map(map.share), [-1, -1, 0, 0.5, 1]);
  assert.equal(cssColour(map, 0.5, 0.8), "rgba(1,2,3,0.400)");
  assert.equal(cssColour(map, -1, 1), "rgba(4,5,6,1.000)");
});

test("every unit is told as exactly as it was sent, with a true minus sign", () => {
  const map = unpackMap(packed());
  assert.deepEqual(scoreLines(map, 0, 1), ["z −1.00", "cosine none", "raw −12.0"]);
});

test("a place is told in the map's own numbers", () => {
  const map = { window: [1000, 1040, 5000], first: 1 };
  assert.equal(placeWords(map, 0, 40), "tokens 1,001–1,040 of 5,000");
  assert.equal(placeWords({ ...map, window: [0, 40, 40], first: 0 }, 2, 40), "tokens 2–39 of 40");
});
