// The editor of one concept: boxes, undo, keyboard, lint beside the text.

import { button, el, plural } from "../lib/dom.js";
import { findingLine, fitHeight, GROWS_ITSELF, makeBox } from "./editor_box.js";
import { makeSaver } from "./editor_saving.js";
import {
  divided,
  duplicated,
  indexOf,
  inserted,
  isDirty,
  moved,
  openedState,
  redone,
  removed,
  replacedTexts,
  savedForm,
  savedState,
  typed,
  undone,
} from "./editor_state.js";
import { STATE_MEANING, STATE_WORDS } from "./list.js";

const KEYS = [
  ["Ctrl+Enter", "save and train"],
  ["Ctrl+S", "save"],
  ["Ctrl+Z", "undo"],
  ["Alt+↑ ↓", "move"],
  ["Alt+Shift+↓", "duplicate"],
  ["Alt+Enter", "new below"],
  ["Esc", "back to the list"],
];

const MODEL_PAUSE = 4000;

export function makeEditor(app) {
  let state = null;
  let boxes = new Map();
  let reviewTimer = 0;
  let reviewNumber = 0;
  let tokens = 0;

  const name = el("h2", { class: "rs-name" });
  const chip = el("span", { class: "rs-chip" });
  const facts = el("span", { class: "rs-facts" });
  const mark = el("span", { class: "rs-mark", role: "status" });
  const undoButton = button({
    symbol: "undo",
    label: "Undo (Ctrl+Z)",
    iconOnly: true,
    onclick: () => step(undone),
    "data-writes": true,
  });
  const redoButton = button({
    symbol: "redo",
    label: "Redo (Ctrl+Shift+Z)",
    iconOnly: true,
    onclick: () => step(redone),
    "data-writes": true,
  });
  const notice = el("div", { class: "rs-notice-place", "aria-live": "polite" });
  const general = el("ul", { class: "rs-findings rs-general" });
  const list = el("ol", { class: "rs-boxes" });
  const add = button({
    symbol: "add",
    label: "Add a description",
    kind: "dashed",
    onclick: () => addBox(null),
    "data-writes": true,
  });
  const page = el(
    "div",
    { class: "rs-editor-page" },
    el(
      "header",
      { class: "rs-editor-head" },
      el(
        "div",
        { class: "rs-title" },
        button({
          symbol: "back",
          label: "All concepts",
          kind: "back",
          onclick: () => app.showList(),
        }),
        name,
        chip,
        facts,
        mark,
      ),
      el(
        "div",
        { class: "rs-actions", role: "group", "aria-label": "This concept" },
        undoButton,
        redoButton,
        button({ symbol: "history", label: "History", onclick: () => app.dialogs.history() }),
        button({
          symbol: "rename",
          label: "Rename",
          onclick: () => app.dialogs.rename(),
          "data-writes": true,
        }),
        button({
          symbol: "trash",
          label: "Delete",
          onclick: () => app.dialogs.remove(state.name),
          "data-writes": true,
        }),
        button({
          label: "Save and train",
          kind: "soft rs-main",
          title: "Ctrl+Enter",
          onclick: saveAndTrain,
          "data-writes": true,
        }),
      ),
    ),
    notice,
    general,
    list,
    add,
    el(
      "p",
      { class: "rs-keys", "data-writes": true },
      KEYS.map(([keys, what]) => el("span", { class: "rs-key" }, el("kbd", {}, keys), ` ${what}`)),
    ),
  );
  const blank = el("div", { class: "rs-blank" });
  const root = el(
    "section",
    { class: "rs-editor", "aria-label": "Editor", onkeydown: keys },
    blank,
    page,
  );
  const saver = makeSaver(app, { get: () => state, set: setState, mark: setMark, notice });

  list.addEventListener("focusout", () => saver.soon(0));
  if (!GROWS_ITSELF) new ResizeObserver(() => boxes.forEach((box) => box.fit())).observe(list);

  const actions = {
    typed(id, event) {
      const text = event.target.value;
      const parts = text.split(/\n[^\S\n]*\n\s*/).filter((part) => part.trim());
      if (parts.length > 1 && !event.isComposing) {
        const fromEnd = text.length - event.target.selectionEnd;
        const at = indexOf(state, id);
        edit(divided(typed(state, id, text, event.timeStamp), id, parts));
        focusBox(state.boxes[at + parts.length - 1].id, Math.max(0, parts.at(-1).length - fromEnd));
      } else {
        edit(typed(state, id, text, event.timeStamp));
      }
      fitHeight(event.target);
    },
    move(id, by) {
      edit(moved(state, id, by));
      focusBox(id);
    },
    copy(id) {
      edit(duplicated(state, id));
      focusBox(state.boxes[indexOf(state, id) + 1].id);
    },
    remove(id) {
      const at = indexOf(state, id);
      edit(removed(state, id));
      focusBox(state.boxes[Math.min(at, state.boxes.length - 1)].id);
      setMark("undo", "Removed. Ctrl+Z brings it back");
    },
    keys: boxKeys,
  };

  function setState(next) {
    state = next;
    draw();
  }

  // A change by the user: kept in the browser at once, on disk after a pause.
  function edit(next) {
    if (next === state || app.readOnly()) return;
    setState(next);
    saver.changed();
    reviewSoon();
  }

  function step(how) {
    const before = state.boxes;
    edit(how(state));
    const touched = state.boxes.find((box, i) => box !== before[i]);
    if (touched) focusBox(touched.id);
  }

  function addBox(after) {
    edit(inserted(state, after, [""]));
    focusBox(state.boxes[after === null ? state.boxes.length - 1 : indexOf(state, after) + 1].id);
  }

  function focusBox(id, caret = null) {
    const box = boxes.get(id);
    if (!box) return;
    box.area.focus();
    if (caret !== null) box.area.setSelectionRange(caret, caret);
    box.root.scrollIntoView({ block: "nearest" });
  }

  function boxKeys(id, event) {
    const { key, altKey, shiftKey, ctrlKey, metaKey } = event;
    const alone = event.target.value === "" && state.boxes.length > 1;
    if (altKey && !ctrlKey && !metaKey && (key === "ArrowUp" || key === "ArrowDown")) {
      event.preventDefault();
      if (shiftKey && key === "ArrowDown") actions.copy(id);
      else actions.move(id, key === "ArrowUp" ? -1 : 1);
    } else if (altKey && key === "Enter") {
      event.preventDefault();
      addBox(id);
    } else if (key === "Backspace" && alone && !app.readOnly()) {
      event.preventDefault();
      const at = Math.max(0, indexOf(state, id) - 1);
      edit(removed(state, id));
      focusBox(state.boxes[at].id, state.boxes[at].text.length);
    }
  }

  function keys(event) {
    const command = event.ctrlKey || event.metaKey;
    const key = event.key.toLowerCase();
    if (event.key === "Escape" && !event.isComposing) app.leaveEditor();
    else if (!command || !state) return;
    else if (key === "s") saver.now();
    else if (key === "enter") saveAndTrain();
    else if (key === "z") step(event.shiftKey ? redone : undone);
    else if (key === "y") step(redone);
    else return;
    event.preventDefault();
  }

  async function saveAndTrain() {
    if (app.readOnly()) return;
    if (await saver.now()) {
      setMark("saved", "Saved");
      app.trigger("train_requested", { concept: state.name });
    }
  }

  function setMark(kind, words) {
    mark.className = `rs-mark rs-mark-${kind}`;
    mark.textContent = words;
  }

  function draw() {
    if (!state) return;
    name.textContent = state.name;
    drawFacts();
    undoButton.disabled = !state.undo.length;
    redoButton.disabled = !state.redo.length;
    drawChip();
    const seen = new Map();
    state.boxes.forEach((box, i) => {
      const view = boxes.get(box.id) || makeBox(box, actions, app.readOnly());
      seen.set(box.id, view);
      view.setText(box.text);
      view.place(i, state.boxes.length);
      if (list.children[i] !== view.root) list.insertBefore(view.root, list.children[i] || null);
      view.fit();
    });
    for (const [id, view] of boxes) if (!seen.has(id)) view.root.remove();
    boxes = seen;
  }

  function drawFacts() {
    const n = savedForm(state.boxes).length;
    facts.textContent =
      plural(n, state.neutral ? "neutral text" : "description") +
      (tokens ? ` · ${plural(tokens, "token")}` : "");
  }

  function drawChip() {
    const row = app.row(state.name);
    const kind = row ? row.state : "new";
    chip.className = `rs-chip rs-state-${kind}`;
    chip.textContent = STATE_WORDS[kind] || kind;
    chip.title = STATE_MEANING[kind] || "";
  }

  function reviewSoon(pause = 350) {
    clearTimeout(reviewTimer);
    reviewTimer = setTimeout(review, pause);
  }

  async function review() {
    if (!state) return;
    reviewNumber += 1;
    const number = reviewNumber;
    const ids = state.boxes.map((box) => box.id);
    const answer = await app.call("review_texts", {
      name: state.name,
      boxes: state.boxes.map((box) => box.text),
    });
    if (number !== reviewNumber || !answer.ok || !state) return;
    general.replaceChildren(
      ...answer.findings
        .filter(
          (finding) => finding.index === null && finding.rule !== "empty", // the empty box says so itself
        )
        .map(findingLine),
    );
    ids.forEach((id, i) =>
      boxes.get(id)?.setReview(
        answer.findings.filter((finding) => finding.index === i),
        answer.tokens ? answer.tokens[i] : null,
        answer.notes ? answer.notes[i] : null,
      ),
    );
    // The model is still loading, or what the texts did to the vectors is being worked out.
    if (!answer.tokens || !answer.notes) reviewSoon(MODEL_PAUSE);
    tokens = (answer.tokens || []).reduce((sum, n) => sum + (n || 0), 0);
    drawFacts();
  }

  function show(concept) {
    reviewNumber += 1;
    boxes.forEach((box) => box.root.remove());
    boxes = new Map();
    general.replaceChildren();
    tokens = 0;
    saver.reset();
    page.hidden = false;
    blank.hidden = true;
    state = openedState(concept);
    draw();
    saver.takeUpDraft();
    reviewSoon(0);
  }

  // The file changed on disk while nothing was unsaved here: show it; Undo gives the former text.
  function follow(concept) {
    setState(savedState(replacedTexts(state, concept.descriptions), concept));
    setMark("saved", "Updated from disk");
    reviewSoon(0);
  }

  function showBlank(...content) {
    saver.reset();
    state = null;
    page.hidden = true;
    blank.hidden = false;
    blank.replaceChildren(
      button({
        symbol: "back",
        label: "All concepts",
        kind: "back",
        onclick: () => app.showList(),
      }),
      ...content,
    );
  }

  // Replace all texts as one step that Undo takes back, and save.
  async function replace(texts) {
    edit(replacedTexts(state, texts));
    return saver.now();
  }

  function toTop() {
    const { top } = root.getBoundingClientRect();
    if (top < app.covered()) root.scrollIntoView({ block: "start" });
  }

  function focusFirst() {
    if (state) focusBox(state.boxes[0].id);
  }

  // From another tab: go to a description, take it out, or begin a new one with a hint beside it.
  function act({ kind, index, text, hint }) {
    const found = state.boxes.find((box) => box.text.trim() === (text || "").trim());
    const box = text ? found : state.boxes[index ?? 0];
    if (kind === "draft" && !app.readOnly()) {
      addBox(null);
      boxes.get(state.boxes.at(-1).id).area.placeholder = hint;
      setMark("undo", hint);
    } else if (!box) {
      setMark("undo", "That description has changed since the training");
    } else if (kind === "delete" && !app.readOnly()) {
      actions.remove(box.id);
    } else {
      focusBox(box.id);
    }
  }

  page.hidden = true;
  return {
    root,
    act,
    show,
    showBlank,
    follow,
    replace,
    saver,
    focusFirst,
    toTop,
    drawChip,
    reviewSoon,
    setMark,
    state: () => state,
    dirty: () => state !== null && isDirty(state),
  };
}
