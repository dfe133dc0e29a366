// Tokens and scores of a Live answer: unpacked, put in their places, coloured.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  answerPositions,
  colourOf,
  emptyStream,
  fitReach,
  isScored,
  meanRow,
  streamParts,
  takeNews,
} from "../../readout_ui/app/static/live/scores.js";

const CONCEPTS = ["calm", "afraid"];
const LOOK = { above: [1, 2, 3], below: [4, 5, 6], strength: 0.5 };

// `roles`: one letter per token; the scores of token i are [i, -i] * step.
function news(start, roles, step = 0.5) {
  const numbers = [...roles].flatMap((_role, i) => [start + i, -start - i]);
  const bytes = new Uint8Array(Int16Array.from(numbers).buffer);
  const words = [...roles].map((_role, i) => `w${start + i}`);
  const scores = btoa(String.fromCharCode(...bytes));
  return { start, pieces: words, tokens: words, roles, step, scores };
}

function streamOf(roles, n_prompt, base = []) {
  const stream = { ...emptyStream(1, base), source: { concepts: CONCEPTS, n_prompt } };
  takeNews(stream, news(0, roles));
  return stream;
}

test("scores are whole numbers of 2 bytes times the step", () => {
  const stream = streamOf("tua", 2);
  assert.deepEqual(
    stream.rows.map((row) => [...row]),
    [
      [0, 0],
      [0.5, -0.5],
      [1, -1],
    ],
  );
  assert.deepEqual(stream.roles, ["template", "user", "assistant"]);
});

test("what comes twice is put once, what would leave a gap is not taken", () => {
  const stream = streamOf("tu", 2);
  assert.equal(takeNews(stream, news(1, "ua")), true);
  assert.deepEqual(stream.tokens, ["w0", "w1", "w2"]);
  assert.equal(takeNews(stream, news(5, "a")), false);
  assert.equal(takeNews(stream, null), false);
  assert.equal(stream.rows.length, 3);
});

test("the first token and the template carry no colour", () => {
  const stream = streamOf("utua", 3);
  assert.deepEqual(
    stream.roles.map((_role, i) => isScored(stream, i)),
    [false, false, true, true],
  );
});

test("full colour only moves by a visible step", () => {
  const stream = streamOf("tuuuu", 5);
  const reach = fitReach(stream, 0.99);
  assert.equal(reach, 2);
  assert.equal(fitReach({ ...stream, reach: 1.9 }, 0.99), 1.9);
  assert.equal(fitReach({ ...stream, reach: 1.5 }, 0.99), 2);
  assert.equal(fitReach({ ...stream, reach: 5 }, 0.99), 2);
  assert.equal(fitReach({ ...streamOf("t", 1), reach: 3 }, 0.99), 3);
});

test("colours take the sign's own hue and stop at full strength", () => {
  assert.equal(colourOf(1, 2, LOOK), "rgba(1,2,3,0.250)");
  assert.equal(colourOf(-9, 2, LOOK), "rgba(4,5,6,0.500)");
});

test("the mean is over the answer's own tokens", () => {
  const stream = streamOf("tuataa", 2);
  assert.deepEqual(answerPositions(stream), [2, 4, 5]);
  assert.deepEqual(answerPositions(stream, 4), [2, 4]);
  const expected = new Float32Array([(1 + 2 + 2.5) / 3, -(1 + 2 + 2.5) / 3]);
  assert.deepEqual(meanRow(stream, [2, 4, 5]), expected);
});

test("a chat falls into its turns, unless the template joined some", () => {
  const base = [
    { role: "user", text: "w1 w2" },
    { role: "assistant", text: "w4" },
    { role: "user", text: "w6" },
  ];
  const stream = streamOf("tuutatutaa", 8, base);
  const parts = streamParts(stream);
  assert.deepEqual(
    parts.spoken.map((run) => run.positions),
    [[1, 2], [4], [6]],
  );
  assert.deepEqual(parts.answer, [8, 9]);
  assert.equal(streamParts({ ...stream, base: base.slice(1) }).spoken, null);
});
