// The editor's value: what is saved, what counts as unsaved, undo and redo.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  divided,
  duplicated,
  inserted,
  isDirty,
  moved,
  newBox,
  openedState,
  placesOf,
  redone,
  removed,
  replacedTexts,
  savedForm,
  savedState,
  typed,
  undone,
} from "../../readout_ui/app/static/write/editor_state.js";

const CONCEPT = {
  name: "calm",
  neutral: false,
  fingerprint: "f1",
  descriptions: ["I feel calm.", "My breath is slow.", "Nothing hurries me."],
};
const open = (descriptions = CONCEPT.descriptions) => openedState({ ...CONCEPT, descriptions });
const texts = (state) => state.boxes.map((box) => box.text);

test("the file holds no empty boxes, blank lines or spaces at line ends", () => {
  const boxes = ["  one \r\n\r\n two  ", "", " \n ", "three"].map(newBox);
  assert.deepEqual(savedForm(boxes), ["one\n two", "three"]);
});

test("a concept without texts opens with one empty box and is not unsaved", () => {
  const state = open([]);
  assert.deepEqual(texts(state), [""]);
  assert.equal(isDirty(state), false);
});

test("typing makes a state unsaved until the file holds the same", () => {
  const state = typed(open(), open().boxes[0].id, "x", 0);
  assert.equal(isDirty(state), false, "an id of another opening changes nothing");
  const opened = open();
  const changed = typed(opened, opened.boxes[0].id, "I am calm.", 0);
  assert.equal(isDirty(changed), true);
  assert.equal(isDirty(opened), false, "the former state stays as it was");
  const saved = savedState(changed, { fingerprint: "f2", descriptions: savedForm(changed.boxes) });
  assert.equal(isDirty(saved), false);
  assert.equal(saved.opened, "f2");
});

test("typing without a pause is one undo step, a pause or another box begins a new one", () => {
  const opened = open();
  const [first, second] = opened.boxes;
  let state = typed(opened, first.id, "I", 1000);
  state = typed(state, first.id, "I a", 1500);
  assert.equal(state.undo.length, 1);
  state = typed(state, first.id, "I am", 4000);
  assert.equal(state.undo.length, 2);
  state = typed(state, second.id, "Slow.", 4100);
  assert.equal(state.undo.length, 3);
  assert.equal(undone(state).boxes[0].text, "I am");
});

test("undo and redo walk through every kind of change and back", () => {
  let state = open();
  const steps = [
    (s) => moved(s, s.boxes[0].id, 1),
    (s) => duplicated(s, s.boxes[1].id),
    (s) => inserted(s, null, ["new", "newer"]),
    (s) => removed(s, s.boxes[0].id),
    (s) => divided(s, s.boxes[0].id, ["a", "b"]),
    (s) => replacedTexts(s, ["only"]),
  ];
  const seen = [texts(state)];
  for (const step of steps) {
    state = step(state);
    seen.push(texts(state));
  }
  for (const wanted of [...seen].reverse().slice(1)) {
    state = undone(state);
    assert.deepEqual(texts(state), wanted);
  }
  assert.equal(undone(state), state);
  for (const wanted of seen.slice(1)) {
    state = redone(state);
    assert.deepEqual(texts(state), wanted);
  }
  assert.equal(redone(state), state);
});

test("a change after undo leaves nothing to redo, and 200 steps are kept", () => {
  let state = open();
  const [box] = state.boxes;
  for (let step = 0; step < 250; step += 1) state = typed(state, box.id, `${step}`, step * 5000);
  assert.equal(state.undo.length, 200);
  state = inserted(undone(state), null, ["other"]);
  assert.equal(state.redo.length, 0);
});

test("moving beyond an end changes nothing, the last box is emptied, never removed", () => {
  const state = open();
  assert.equal(moved(state, state.boxes[0].id, -1), state);
  assert.equal(moved(state, state.boxes[2].id, 1), state);
  const one = open(["one"]);
  assert.deepEqual(texts(removed(one, one.boxes[0].id)), [""]);
});

test("boxes whose text stays keep their identity when texts are replaced", () => {
  const state = open();
  const next = replacedTexts(state, ["Nothing hurries me.", "new", "I feel calm."]);
  assert.equal(next.boxes[0].id, state.boxes[2].id);
  assert.equal(next.boxes[2].id, state.boxes[0].id);
  assert.ok(!state.boxes.some((box) => box.id === next.boxes[1].id));
});

test("a word is found where it stands alone, in any case, and words one after another", () => {
  const boxes = open(["My hands. Handsome hands", "Don’t, I can't; my, hands"]).boxes;
  const found = (words) => {
    return placesOf(boxes, words).map(({ id, from, to }) => {
      return boxes.find((box) => box.id === id).text.slice(from, to);
    });
  };
  assert.deepEqual(found("hands"), ["hands", "hands", "hands"]);
  assert.deepEqual(found("my hands"), ["My hands", "my, hands"]);
  assert.deepEqual(found("don't"), ["Don’t"]);
  assert.deepEqual(found("elsewhere"), []);
});
