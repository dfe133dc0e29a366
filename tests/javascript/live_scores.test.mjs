// Tokens and scores of a Live answer: unpacked, put in their places, coloured.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  answerPositions,
  colourOf,
  emptySpeech,
  fitReach,
  isScored,
  meanRow,
  speechParts,
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

function speechOf(roles, n_prompt, base = []) {
  const speech = { ...emptySpeech(1, base), source: { concepts: CONCEPTS, n_prompt } };
  takeNews(speech, news(0, roles));
  return speech;
}

test("scores are whole numbers of 2 bytes times the step", () => {
  const speech = speechOf("tua", 2);
  assert.deepEqual(
    speech.rows.map((row) => [...row]),
    [
      [0, 0],
      [0.5, -0.5],
      [1, -1],
    ],
  );
  assert.deepEqual(speech.roles, ["template", "user", "assistant"]);
});

test("what comes twice is put once, what would leave a gap is not taken", () => {
  const speech = speechOf("tu", 2);
  assert.equal(takeNews(speech, news(1, "ua")), true);
  assert.deepEqual(speech.tokens, ["w0", "w1", "w2"]);
  assert.equal(takeNews(speech, news(5, "a")), false);
  assert.equal(takeNews(speech, null), false);
  assert.equal(speech.rows.length, 3);
});

test("the first token and the template carry no colour", () => {
  const speech = speechOf("utua", 3);
  assert.deepEqual(
    speech.roles.map((_role, i) => isScored(speech, i)),
    [false, false, true, true],
  );
});

test("full colour only moves by a visible step", () => {
  const speech = speechOf("tuuuu", 5);
  const reach = fitReach(speech, 0.99);
  assert.equal(reach, 2);
  assert.equal(fitReach({ ...speech, reach: 1.9 }, 0.99), 1.9);
  assert.equal(fitReach({ ...speech, reach: 1.5 }, 0.99), 2);
  assert.equal(fitReach({ ...speech, reach: 5 }, 0.99), 2);
  assert.equal(fitReach({ ...speechOf("t", 1), reach: 3 }, 0.99), 3);
});

test("colours take the sign's own hue and stop at full strength", () => {
  assert.equal(colourOf(1, 2, LOOK), "rgba(1,2,3,0.250)");
  assert.equal(colourOf(-9, 2, LOOK), "rgba(4,5,6,0.500)");
});

test("the mean is over the answer's own tokens", () => {
  const speech = speechOf("tuataa", 2);
  assert.deepEqual(answerPositions(speech), [2, 4, 5]);
  assert.deepEqual(answerPositions(speech, 4), [2, 4]);
  const expected = new Float32Array([(1 + 2 + 2.5) / 3, -(1 + 2 + 2.5) / 3]);
  assert.deepEqual(meanRow(speech, [2, 4, 5]), expected);
});

test("a chat falls into its turns, unless the template joined some", () => {
  const base = [
    { role: "user", text: "w1 w2" },
    { role: "assistant", text: "w4" },
    { role: "user", text: "w6" },
  ];
  const speech = speechOf("tuutatutaa", 8, base);
  const parts = speechParts(speech);
  assert.deepEqual(
    parts.spoken.map((run) => run.positions),
    [[1, 2], [4], [6]],
  );
  assert.deepEqual(parts.answer, [8, 9]);
  assert.equal(speechParts({ ...speech, base: base.slice(1) }).spoken, null);
});
