// An answer while it grows: what comes is put once, and every token belongs to a turn.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  GrowingReading,
  oneTurn,
  turnsOfPath,
  withTurns,
} from "../../readout_ui/app/static/read/growing.js";
import { ownTokens, spelled } from "../../readout_ui/app/static/read/reading.js";

const USER = { id: "1", role: "user", text: "Hi you" };
const MODEL = { id: "2", role: "assistant", text: "" };
const SOURCE = { run_id: "r", concepts: ["calm", "sad"], layers: [3, 5], best: 5, n_prompt: 4 };
const PROMPT = ["template", "user", "user", "template"];

// As `pack_cells` does it: z = 10 * token + layer place + concept / 10.
function packed(first, n) {
  const steps = new Float32Array(2 * n).fill(0.1);
  const whole = new Int16Array(2 * n * 2);
  for (let layer = 0; layer < 2; layer += 1) {
    for (let token = 0; token < n; token += 1) {
      for (let concept = 0; concept < 2; concept += 1) {
        whole[(layer * n + token) * 2 + concept] = 100 * (first + token) + 10 * layer + concept;
      }
    }
  }
  return Buffer.concat([Buffer.from(steps.buffer), Buffer.from(whole.buffer)]).toString("base64");
}

function news(start, roles) {
  const tokens = roles.map((_, at) => `·t${start + at}`);
  const pieces = roles.map((_, at) => ` t${start + at}`);
  return { start, tokens, pieces, roles, z: packed(start, roles.length) };
}

test("news are put where they belong, once, at every layer", () => {
  const reading = new GrowingReading([USER, MODEL]);
  assert.equal(reading.take(news(0, PROMPT)), false); // it is not known yet what is read
  reading.begin(SOURCE);
  assert.equal(reading.take(news(0, PROMPT)), true);
  assert.equal(reading.take(null), false);
  assert.equal(reading.take(news(6, ["assistant"])), false); // something before it is missing
  reading.take(news(4, ["assistant", "assistant"]));
  reading.take(news(5, ["assistant", "template"]));
  assert.deepEqual(reading.tokens.length, 7);
  assert.ok(Math.abs(reading.z(5, 4, 1) - 41.1) < 1e-4);
  assert.ok(Math.abs(reading.z(3, 6, 0) - 60) < 1e-4);
  assert.ok(Number.isNaN(reading.z(4, 1, 0)));
  assert.deepEqual(reading.scored, [false, true, true, false, true, true, false]);
  assert.equal(reading.said, " t4 t5");
  assert.deepEqual(
    [reading.answered, ownTokens(reading)],
    [
      [4, 5],
      [4, 5],
    ],
  );
  assert.deepEqual(
    reading.turns.map((turn) => turn.positions),
    [
      [0, 1, 2],
      [3, 4, 5, 6],
    ],
  );
  assert.deepEqual(
    oneTurn(reading, "2").turns.map((turn) => turn.id),
    ["2"],
  );
});

test("a turn that is not read yet has no tokens, a system prompt comes first", () => {
  const roles = ["template", "system", "template", "user", "template"];
  const turns = turnsOfPath([USER, MODEL], roles);
  assert.deepEqual(
    turns.map((turn) => [turn.role, turn.id, turn.positions]),
    [
      ["system", null, [0, 1]],
      ["user", "1", [2, 3, 4]],
      ["assistant", "2", null],
    ],
  );
});

test("where the template joins turns nothing is said of whose tokens they are", () => {
  assert.equal(turnsOfPath([MODEL, USER], ["user", "template", "assistant"]), null);
  assert.equal(turnsOfPath([USER], ["user", "template", "assistant"]), null);
  const reading = { roles: ["user"], z: () => 1 };
  assert.deepEqual(withTurns(reading, [USER]).turns[0].positions, [0]);
  assert.equal(withTurns(reading, [USER]).z(), 1);
});

test("a character of several tokens is written once, by the last of them", () => {
  const tokens = ["·so", "<0xF0><0x9F>", "<0x98><0x80>", "·<0xC3>", "<0xA9>", "⏎", "<0xFF>", "·x"];
  assert.deepEqual(spelled(tokens), [" so", "", "😀", " ", "é", "\n", "\ufffd", " x"]);
});
