// An answer under way as a map that grows.

import assert from "node:assert/strict";
import { test } from "node:test";
import { GrowingMap } from "../../readout_ui/app/static/live/growing_map.js";

const LOOK = {
  above: [1, 2, 3],
  below: [4, 5, 6],
  strength: 0.5,
  units: { z: "standard deviations" },
  roles: {
    keys: ["template", "user", "assistant"],
    names: ["template", "You", "Model"],
    letters: ["T", "U", "A"],
    colours: ["grey", "green", "gold"],
  },
};

function stream() {
  return {
    source: { concepts: ["calm", "afraid"], n_prompt: 2 },
    tokens: ["<s>", "hi"],
    roles: ["template", "user"],
    rows: [Float32Array.of(9, 9), Float32Array.of(1, -4)],
    reach: 2,
  };
}

test("it holds what came so far and takes what comes later", () => {
  const answer = stream();
  const map = new GrowingMap(answer, LOOK, 5, "z");
  assert.deepEqual(
    [map.tokens, map.roles, map.scored],
    [
      ["<s>", "hi"],
      [0, 1],
      [false, true],
    ],
  );
  answer.tokens.push("there");
  answer.roles.push("assistant");
  assert.deepEqual(map.window, [0, 2, 2], "nothing is shown before its scores are there");
  answer.rows.push(Float32Array.of(0.5, 1));
  map.take();
  map.take();
  assert.deepEqual(
    [map.tokens, map.roles],
    [
      ["<s>", "hi", "there"],
      [0, 1, 2],
    ],
  );
  assert.deepEqual(map.window, [0, 3, 3]);
  assert.equal(map.answer, 2);
});

test("scores are found by row and column, colours end at the reach", () => {
  const map = new GrowingMap(stream(), LOOK, 5, "z");
  assert.equal(map.score(0, 1, 1), -4);
  assert.deepEqual([map.share(1), map.share(-4)], [0.5, -1]);
  assert.deepEqual([map.constant, map.legend], ["layer 5", "standard deviations"]);
});
