// A chat as a tree: branches, what is shown, what is told to the model, and what a file may hold.

import assert from "node:assert/strict";
import { test } from "node:test";
import { readTree, Tree } from "../../readout_ui/app/static/read/tree.js";

const user = (text) => ({ role: "user", text });
const model = (text) => ({ role: "assistant", text });
const words = (tree) => tree.path.map((turn) => turn.text);

// One question with two answers, the first of which goes on.
function chat() {
  const tree = new Tree();
  const asked = tree.add(null, user("How are you?"));
  const fine = tree.add(asked.id, model("Fine."));
  tree.add(fine.id, user("Why?"));
  const bad = tree.add(asked.id, model("Bad."));
  return { tree, asked, fine, bad };
}

test("another answer is another branch, and what followed the first stays with it", () => {
  const { tree, fine, bad } = chat();
  assert.deepEqual(words(tree), ["How are you?", "Bad."]);
  assert.deepEqual(tree.branch(bad.id), { at: 2, of: 2 });
  assert.equal(tree.step(bad.id, 1), false);
  assert.equal(tree.step(bad.id, -1), true);
  assert.deepEqual(words(tree), ["How are you?", "Fine.", "Why?"]);
  assert.deepEqual(tree.branch(fine.id), { at: 1, of: 2 });
  assert.equal(tree.step(fine.id, -1), false);
});

test("an edited turn keeps the old one beside it", () => {
  const { tree, asked } = chat();
  const other = tree.edit(asked.id, "Who are you?");
  assert.deepEqual(words(tree), ["Who are you?"]);
  assert.deepEqual(tree.branch(other.id), { at: 2, of: 2 });
  tree.step(other.id, -1);
  assert.deepEqual(words(tree), ["How are you?", "Bad."]);
});

test("the model is told one branch, whatever is shown", () => {
  const { tree, fine } = chat();
  assert.deepEqual(tree.told(fine.id), [user("How are you?"), model("Fine.")]);
  assert.deepEqual(tree.leaves.map((turn) => turn.text).sort(), ["Bad.", "Why?"]);
  tree.show(tree.leaves.find((turn) => turn.text === "Why?").id);
  assert.deepEqual(words(tree), ["How are you?", "Fine.", "Why?"]);
});

test("a turn is found by what was said before it", () => {
  const { tree, bad } = chat();
  assert.equal(tree.find([user("How are you?")]), bad);
  assert.equal(tree.find([user("Who?")]), null);
  assert.equal(tree.find([user("How are you?"), model("Bad.")]), null);
  assert.equal(new Tree().find([]), null);
});

test("a removed turn takes what follows it along, and its neighbour is shown", () => {
  const { tree, asked, fine, bad } = chat();
  tree.step(bad.id, -1);
  tree.remove(fine.id);
  assert.deepEqual(words(tree), ["How are you?", "Bad."]);
  assert.deepEqual(tree.branch(bad.id), { at: 1, of: 1 });
  tree.remove(asked.id);
  assert.equal(tree.empty, true);
  assert.equal(tree.last, null);
  assert.deepEqual(Object.keys(tree.turns), ["0"]);
});

test("any walk of changes leaves a tree that reads back the same", () => {
  let seed = 7;
  const random = (below) => {
    seed = (seed * 1103515245 + 12345) % 2147483648;
    return Math.floor((seed / 2147483648) * below);
  };
  const tree = new Tree();
  for (let step = 0; step < 400; step += 1) {
    const ids = Object.keys(tree.turns).filter((id) => id !== "0");
    const id = ids[random(ids.length)];
    const act = id === undefined ? 0 : random(5);
    if (act === 0) tree.add(id ?? null, random(2) ? user(`u${step}`) : model(`m${step}`));
    else if (act === 1) tree.edit(id, `e${step}`);
    else if (act === 2) tree.step(id, random(2) ? 1 : -1);
    else if (act === 3) tree.show(id);
    else if (random(4) === 0) tree.remove(id);
    const back = readTree(JSON.parse(JSON.stringify(tree)));
    assert.deepEqual(back.toJSON(), tree.toJSON());
    for (const turn of tree.path) {
      const { at, of } = tree.branch(turn.id);
      assert.ok(at >= 1 && at <= of);
    }
    assert.equal(new Set(tree.leaves.map((turn) => turn.id)).size, tree.leaves.length);
  }
});

test("a title is the first words", () => {
  assert.equal(new Tree().title(), "Empty chat");
  const tree = new Tree();
  tree.add(null, user(`  ${"word ".repeat(30)}`));
  assert.equal(tree.title().length, 48);
  assert.ok(tree.title().endsWith("…"));
  tree.add(tree.last.id, model("Fine."));
  assert.equal(tree.title(1), "Fine.");
  assert.equal(tree.title(5), tree.title());
});

test("what is no tree is refused", () => {
  const good = JSON.parse(JSON.stringify(chat().tree));
  const broken = [
    null,
    {},
    { turns: {}, next: 1 },
    { ...good, next: 2 },
    { ...good, turns: { ...good.turns, 9: { ...good.turns[1], id: "9" } } },
    { ...good, turns: { ...good.turns, 1: { ...good.turns[1], role: "robot" } } },
    { ...good, turns: { ...good.turns, 1: { ...good.turns[1], children: ["1"] } } },
    { ...good, turns: { ...good.turns, 2: { ...good.turns[2], shown: 5 } } },
  ];
  for (const value of broken) assert.throws(() => readTree(value), /chat|turn/);
});
