// What the room Read keeps of a text, without a page: scores, means, orders, colours, turns.

import assert from "node:assert/strict";
import { test } from "node:test";
import { number, rgb, share } from "../../readout_ui/app/static/lib/scale.js";
import { axisOf } from "../../readout_ui/app/static/read/bars.js";
import { meansCsv } from "../../readout_ui/app/static/read/many.js";
import * as reading from "../../readout_ui/app/static/read/reading.js";
import { forkAt } from "../../readout_ui/app/static/read/token.js";

// What app/read/calls.py packs: a float32 step per layer and token, then int16.
function packed(steps, whole) {
  const bytes = new Uint8Array(4 * steps.length + 2 * whole.length);
  bytes.set(new Uint8Array(Float32Array.from(steps).buffer));
  bytes.set(new Uint8Array(Int16Array.from(whole).buffer), 4 * steps.length);
  return btoa(String.fromCharCode(...bytes));
}

// Two layers, four tokens, two concepts; z = step x whole.
function example() {
  const answer = {
    run: "r",
    tokens: ["<s>", "Hi", "·so", "·sad"],
    roles: ["template", "user", "assistant", "assistant"],
    scored: [0, 1, 1, 1],
    concepts: ["calm", "Afraid"],
    layers: [4, 7],
    best: 7,
    held: [4, 7],
    kind: "z",
    turns: [],
    scores: packed(
      [100, 1, 0.5, 0.25, 100, 1, 0.5, 1],
      [5, 5, 1, 2, 2, -2, 4, 8, 5, 5, 1, 2, 6, -2, 1, 8],
    ),
  };
  return new reading.Reading(answer, { text: "so sad", mode: "assistant" });
}

test("scores come back by layer, token and concept, each token in steps of its own", () => {
  const found = example();
  assert.equal(found.z(4, 0, 0), 500);
  assert.equal(found.z(4, 2, 1), -1);
  assert.equal(found.z(7, 3, 1), 8);
  assert.ok(Number.isNaN(found.z(5, 0, 0)));
  assert.ok(found.has("z", 7) && !found.has("cosine", 7));
});

test("a text's means are of the model's tokens, of the user's where the model says nothing", () => {
  const found = example();
  assert.deepEqual(reading.ownTokens(found), [2, 3]);
  assert.deepEqual([...reading.means(found, 7, [2, 3])], [2, 3.5]);
  found.roles = ["template", "user", "user", "user"];
  assert.deepEqual(reading.ownTokens(found), [1, 2, 3]);
});

test("concepts are ranked by mean, peak, name or likeness; few are the highest", () => {
  const found = example();
  const how = { values: [2, 3.5], highest: [3, 8], most: 2 };
  assert.deepEqual(reading.mapRows(found, { ...how, order: "mean" }), [1, 0]);
  assert.deepEqual(reading.mapRows(found, { ...how, order: "alphabet" }), [1, 0]);
  const alike = ["calm", "Afraid"];
  assert.deepEqual(reading.mapRows(found, { ...how, order: "similarity", alike }), [0, 1]);
  assert.deepEqual(reading.mapRows(found, { ...how, order: "mean", most: 1 }), [1]);
});

test("a map may hold only the concepts that are asked for", () => {
  const names = ["calm", "Sad", "sadly missed", "proud"];
  assert.deepEqual([...reading.matching(names, "sad, CALM,")], ["calm", "Sad", "sadly missed"]);
  assert.equal(reading.matching(names, " , "), null);
  assert.equal(reading.matching(names, "furious"), null);
  const found = example();
  const how = { values: [2, 3.5], order: "mean", most: 1 };
  assert.deepEqual(reading.mapRows(found, { ...how, only: new Set(["calm"]) }), [
    found.concepts.indexOf("calm"),
  ]);
});

test("of many bars the highest and the lowest are shown, with a gap", () => {
  const order = [...Array(30).keys()];
  assert.deepEqual(reading.topAndTail(order, 3, 2), [0, 1, 2, null, 28, 29]);
  assert.deepEqual(reading.topAndTail([0, 1], 3, 2), [0, 1]);
});

test("z has one scale everywhere, raw scores one per row", () => {
  const found = example();
  assert.deepEqual(reading.scaleOf(found, "z", 7, 0), { middle: 0, reach: 4 });
  found.cells.raw.set(7, (token, concept) => 100 * concept + token);
  const [calm, afraid] = [0, 1].map((concept) => reading.scaleOf(found, "raw", 7, concept));
  assert.equal(calm.middle, 2);
  assert.equal(afraid.middle, 102);
  assert.equal(calm.reach, afraid.reach);
});

test("a score far outside is the full colour, none has no colour", () => {
  assert.equal(share(587), 1);
  assert.equal(share(-2), -0.5);
  assert.equal(share(Number.NaN), 0);
  assert.deepEqual(rgb(" #e8833a"), [232, 131, 58]);
  assert.equal(number(-1.234), "−1.23");
  assert.equal(number(-0.004), "0.00", "what rounds to nothing has no sign");
});

test("tokens become turns; template tokens go with the turn before them", () => {
  const roles = ["template", "user", "template", "template", "assistant", "template"];
  const turns = reading.turnsOf({ roles });
  assert.deepEqual(turns, [
    { role: "user", positions: [0, 1, 2, 3] },
    { role: "assistant", positions: [4, 5] },
  ]);
  const own = [{ role: "user", text: "Hi", positions: null }];
  assert.equal(reading.turnsOf({ roles, turns: own }), own);
});

test("tokens read as people write them", () => {
  assert.equal(reading.written("·so"), " so");
  assert.equal(reading.written("⏎"), "\n");
  assert.equal(reading.named("·so"), "so");
  assert.equal(reading.named("·"), "·");
});

test("a fork keeps the turns before a token and its own turn up to it", () => {
  assert.deepEqual(forkAt(example(), 2), {
    turns: [{ role: "user", text: "Hi" }],
    cut: { role: "assistant", text: "so" },
  });
  assert.equal(forkAt(example(), 0), null);
});

test("the band of neutral texts is known by layer and concept, for a text and for one token", () => {
  const steps = Array(5).fill(0.1);
  const ends = packed(steps, [-5, -6, 5, 6, -20, -21, 20, 21, 30, 31]);
  const chance = new reading.Chance(
    { run: "r", asked: 2, length: 2, texts: 3, layers: [7], ends },
    2,
  );
  assert.deepEqual(
    chance.band(7, 1, false).map((end) => Number(end.toFixed(3))),
    [-0.6, 0.6],
  );
  assert.deepEqual(
    chance.band(7, 0, true).map((end) => Number(end.toFixed(3))),
    [-2, 2],
  );
  assert.equal(chance.threshold(7, 1).toFixed(2), "3.10");
  assert.ok(Number.isNaN(chance.threshold(4, 1)));
});

test("bars reach as far as values and chance do", () => {
  assert.deepEqual(
    axisOf([0, null, 1], [2, -1], () => [-1.5, 1.5], false),
    [-1.5, 2],
  );
  const word = axisOf([0], [9], () => [-2, 2], true);
  assert.deepEqual(word, [-4, 4]);
});

test("the CSV of many texts quotes what it must and keeps rows that could not be read", () => {
  const rows = [
    { line: 1, text: 'so, "sad"', tokens: 2, z: [1, -2] },
    { line: 2, text: "x", error: "too long" },
  ];
  assert.equal(
    meansCsv(rows, ["calm", "a,b"], 7),
    'line,text,tokens,layer,error,calm,"a,b"\n1,"so, ""sad""",2,7,,1,-2\n2,x,,7,too long,,',
  );
});
