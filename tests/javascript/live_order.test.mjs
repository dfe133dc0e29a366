// Bars keep their places unless a value is clearly ahead.

import assert from "node:assert/strict";
import { test } from "node:test";
import { steadyOrder } from "../../readout_ui/app/static/live/order.js";

// Whole-number generator: the same 400 rounds every time.
function makeChance(seed) {
  let state = seed;
  return () => {
    state = (state * 16807) % 2147483647;
    return state / 2147483647;
  };
}

function rounds(check) {
  const chance = makeChance(7);
  for (let round = 0; round < 400; round += 1) {
    const n = 1 + Math.floor(chance() * 12);
    const k = 1 + Math.floor(chance() * 8);
    const margin = chance();
    const draw = () => Array.from({ length: n }, () => 4 * chance() - 2);
    check({ chance, k, margin, size: Math.min(n, k), values: draw(), other: draw() });
  }
}

test("without a former order the largest come first", () => {
  rounds(({ values, k, size }) => {
    const sorted = [...values].sort((a, b) => b - a).slice(0, size);
    const order = steadyOrder([], values, k, 0);
    assert.deepEqual(
      order.map((i) => values[i]),
      sorted,
    );
  });
});

test("noise below the margin moves nothing", () => {
  rounds(({ values, k, margin, chance }) => {
    const first = steadyOrder([], values, k, 0);
    const noisy = values.map((value) => value + margin * (chance() - 0.5) * 0.99);
    assert.deepEqual(steadyOrder(first, noisy, k, margin), first);
  });
});

test("after a jump nothing is clearly out of order, missing, twice or restless", () => {
  rounds(({ values, other, k, margin, size }) => {
    const next = steadyOrder(steadyOrder([], values, k, 0), other, k, margin);
    assert.equal(new Set(next).size, size);
    for (let at = 1; at < next.length; at += 1) {
      assert.ok(other[next[at]] <= other[next[at - 1]] + margin);
    }
    const lowest = Math.min(...next.map((i) => other[i]));
    const left = other.filter((_value, i) => !next.includes(i));
    assert.ok(left.every((value) => value <= lowest + margin));
    assert.deepEqual(steadyOrder(next, other, k, margin), next);
  });
});
