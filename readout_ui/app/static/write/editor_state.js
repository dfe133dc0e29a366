// What the editor holds, as a value: boxes, what is on disk, undo and redo. No page in here;
// every function gives a new state.

let lastBoxId = 0;

export function newBox(text = "") {
  lastBoxId += 1;
  return { id: lastBoxId, text };
}

// The texts as the file will hold them: no blank lines inside, empty boxes left out.
export function savedForm(boxes) {
  return boxes
    .map((box) =>
      box.text
        .replace(/\r\n?/g, "\n")
        .split("\n")
        .map((line) => line.trimEnd())
        .filter((line) => line.trim())
        .join("\n")
        .trim(),
    )
    .filter((text) => text);
}

export function sameTexts(some, others) {
  return some.length === others.length && some.every((text, i) => text === others[i]);
}

export function openedState(concept) {
  const boxes = concept.descriptions.map(newBox);
  return {
    name: concept.name,
    neutral: concept.neutral,
    opened: concept.fingerprint,
    onDisk: concept.descriptions,
    boxes: boxes.length ? boxes : [newBox()],
    undo: [],
    redo: [],
    typing: null,
  };
}

export function isDirty(state) {
  return !sameTexts(savedForm(state.boxes), state.onDisk);
}

// The file now holds what was sent; the boxes stay as they are being typed.
export function savedState(state, concept) {
  return { ...state, opened: concept.fingerprint, onDisk: concept.descriptions };
}

// `typing`: [box id, moment] while one box is being typed in, so that a pause makes one undo step.
export function changed(state, boxes, typing = null) {
  const joined =
    typing &&
    state.typing &&
    state.typing[0] === typing[0] &&
    typing[1] - state.typing[1] < 1200 &&
    state.undo.length;
  const undo = joined ? state.undo : [...state.undo, state.boxes].slice(-200);
  return { ...state, boxes, undo, redo: [], typing };
}

export function typed(state, id, text, now) {
  const boxes = state.boxes.map((box) => (box.id === id ? { ...box, text } : box));
  return changed(state, boxes, [id, now]);
}

export function indexOf(state, id) {
  return state.boxes.findIndex((box) => box.id === id);
}

// New boxes with these texts behind the box `id`, or at the end.
export function inserted(state, id, texts) {
  const at = id === null ? state.boxes.length : indexOf(state, id) + 1;
  const boxes = [...state.boxes];
  boxes.splice(at, 0, ...texts.map(newBox));
  return changed(state, boxes);
}

export function removed(state, id) {
  const boxes = state.boxes.filter((box) => box.id !== id);
  return changed(state, boxes.length ? boxes : [newBox()]);
}

export function moved(state, id, by) {
  const from = indexOf(state, id);
  const to = from + by;
  if (to < 0 || to >= state.boxes.length) return state;
  const boxes = [...state.boxes];
  boxes.splice(to, 0, ...boxes.splice(from, 1));
  return changed(state, boxes);
}

export function duplicated(state, id) {
  return inserted(state, id, [state.boxes[indexOf(state, id)].text]);
}

// A blank line inside a box starts a new description, as it does in the file.
export function divided(state, id, parts) {
  const at = indexOf(state, id);
  const boxes = [...state.boxes];
  boxes.splice(at, 1, { ...boxes[at], text: parts[0] }, ...parts.slice(1).map(newBox));
  return changed(state, boxes);
}

// Other texts in one step; a box whose text stays keeps its place in the page, and the caret.
export function replacedTexts(state, texts) {
  const spare = [...state.boxes];
  const boxes = texts.map((text) => {
    const at = spare.findIndex((box) => box.text.trim() === text);
    return at < 0 ? newBox(text) : spare.splice(at, 1)[0];
  });
  return changed(state, boxes.length ? boxes : [newBox()]);
}

export function undone(state) {
  if (!state.undo.length) return state;
  return {
    ...state,
    boxes: state.undo.at(-1),
    undo: state.undo.slice(0, -1),
    redo: [...state.redo, state.boxes],
    typing: null,
  };
}

export function redone(state) {
  if (!state.redo.length) return state;
  return {
    ...state,
    boxes: state.redo.at(-1),
    redo: state.redo.slice(0, -1),
    undo: [...state.undo, state.boxes],
    typing: null,
  };
}

// How much each box has to gain, 0 for the most, by its id. `judged`: what the report says, by
// text: advice counts most, then how far a text pulls elsewhere.
export function ranksOf(boxes, judged) {
  const gain = (one) => (one.advice ? 100 : 0) + (one.pull || 0) - (one.own || 0);
  const found = boxes
    .map((box) => [box.id, judged.get(box.text.trim())])
    .filter(([, one]) => one)
    .sort(([, a], [, b]) => gain(b) - gain(a));
  return new Map(found.map(([id], rank) => [id, rank]));
}

// Boxes as they are shown; a text that was not judged is at the end.
export function byRank(boxes, ranks) {
  const rank = (box) => ranks.get(box.id) ?? boxes.length;
  return [...boxes].sort((a, b) => rank(a) - rank(b));
}

// Where a word, or some words one after another, stand in the boxes: [{id, from, to}].
export function placesOf(boxes, words) {
  const parts = words.split(/[^\p{L}\p{N}'’]+/u).map((word) => word.replace(/['’]/g, "['’]"));
  const letter = "[\\p{L}\\p{N}]";
  const whole = `(?<!${letter})${parts.join(`(?:(?!${letter})[^])+`)}(?!${letter})`;
  return boxes.flatMap(({ id, text }) =>
    [...text.matchAll(new RegExp(whole, "giu"))].map(({ index, 0: found }) => {
      return { id, from: index, to: index + found.length };
    }),
  );
}
