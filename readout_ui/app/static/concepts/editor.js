// The editor of one concept: boxes, undo, keyboard, lint beside the text.

import { button, el, plural } from "../lib/dom.js";
import { DescriptionBox, findingLine, fitHeight, GROWS_ITSELF } from "./editor_box.js";
import { Saver } from "./editor_saving.js";
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
const REVIEW_PAUSE = 350;
const MODEL_PAUSE = 4000;
const WRITES = { "data-writes": true };

export class Editor {
  constructor(app) {
    this.app = app;
    this.state = null; // see editor_state.js; null while no concept is open
    this.boxes = new Map();
    this.reviewTimer = 0;
    this.reviewNumber = 0;
    this.tokens = 0;
    this.buildParts();
    this.saver = new Saver(app, this);
    this.list.addEventListener("focusout", () => this.saver.soon());
    if (GROWS_ITSELF) return;
    const fitAll = () => {
      for (const box of this.boxes.values()) box.fit();
    };
    new ResizeObserver(fitAll).observe(this.list);
  }

  buildParts() {
    this.name = el("h2", { class: "rs-name" });
    this.chip = el("span", { class: "rs-chip" });
    this.facts = el("span", { class: "rs-facts" });
    this.mark = el("span", { class: "rs-mark", role: "status" });
    this.undo = this.stepButton("undo", "Undo (Ctrl+Z)", undone);
    this.redo = this.stepButton("redo", "Redo (Ctrl+Shift+Z)", redone);
    this.notice = el("div", { class: "rs-notice-place", "aria-live": "polite" });
    this.general = el("ul", { class: "rs-findings rs-general" });
    this.list = el("ol", { class: "rs-boxes" });
    this.blank = el("div", { class: "rs-blank" });
    this.page = this.buildPage();
    this.page.hidden = true;
    const onkeydown = (event) => this.keys(event);
    this.root = el(
      "section",
      { class: "rs-editor", "aria-label": "Editor", onkeydown },
      this.blank,
      this.page,
    );
  }

  stepButton(symbol, label, how) {
    return button({ symbol, label, iconOnly: true, onclick: () => this.step(how), ...WRITES });
  }

  backButton() {
    const onclick = () => this.app.showList();
    return button({ symbol: "back", label: "All concepts", kind: "back", onclick });
  }

  buildPage() {
    const title = el(
      "div",
      { class: "rs-title" },
      this.backButton(),
      this.name,
      this.chip,
      this.facts,
      this.mark,
    );
    const add = button({
      symbol: "add",
      label: "Add a description",
      kind: "dashed",
      onclick: () => this.addBox(null),
      ...WRITES,
    });
    const keys = KEYS.map(([key, what]) =>
      el("span", { class: "rs-key" }, el("kbd", {}, key), ` ${what}`),
    );
    return el(
      "div",
      { class: "rs-editor-page" },
      el("header", { class: "rs-editor-head" }, title, this.buildActions()),
      this.notice,
      this.general,
      this.list,
      add,
      el("p", { class: "rs-keys", ...WRITES }, keys),
    );
  }

  buildActions() {
    const { app } = this;
    return el(
      "div",
      { class: "rs-actions", role: "group", "aria-label": "This concept" },
      this.undo,
      this.redo,
      button({ symbol: "history", label: "History", onclick: () => app.dialogs.history() }),
      button({ symbol: "rename", label: "Rename", onclick: () => app.dialogs.rename(), ...WRITES }),
      button({
        symbol: "trash",
        label: "Delete",
        onclick: () => app.dialogs.remove(this.state.name),
        ...WRITES,
      }),
      button({
        label: "Save and train",
        kind: "soft rs-main",
        title: "Ctrl+Enter",
        onclick: () => this.saveAndTrain(),
        ...WRITES,
      }),
    );
  }

  get dirty() {
    return this.state !== null && isDirty(this.state);
  }

  setState(next) {
    this.state = next;
    this.draw();
  }

  // A change by the user: kept in the browser at once, on disk after a pause.
  edit(next) {
    if (next === this.state || this.app.readOnly()) return;
    this.setState(next);
    this.saver.changed();
    this.reviewSoon();
  }

  step(how) {
    const before = this.state.boxes;
    this.edit(how(this.state));
    const touched = this.state.boxes.find((box, i) => box !== before[i]);
    if (touched) this.focusBox(touched.id);
  }

  // Where a box was typed in: a blank line inside it begins a new description.
  typed(id, event) {
    const { value, selectionEnd } = event.target;
    const parts = value.split(/\n[^\S\n]*\n\s*/).filter((part) => part.trim());
    const next = typed(this.state, id, value, event.timeStamp);
    if (parts.length > 1 && !event.isComposing) {
      const fromEnd = value.length - selectionEnd;
      const last = indexOf(this.state, id) + parts.length - 1;
      this.edit(divided(next, id, parts));
      const caret = Math.max(0, parts.at(-1).length - fromEnd);
      this.focusBox(this.state.boxes[last].id, caret);
    } else {
      this.edit(next);
    }
    fitHeight(event.target);
  }

  move(id, by) {
    this.edit(moved(this.state, id, by));
    this.focusBox(id);
  }

  copy(id) {
    this.edit(duplicated(this.state, id));
    this.focusBox(this.state.boxes[indexOf(this.state, id) + 1].id);
  }

  remove(id) {
    const at = indexOf(this.state, id);
    this.edit(removed(this.state, id));
    this.focusBox(this.state.boxes[Math.min(at, this.state.boxes.length - 1)].id);
    this.setMark("undo", "Removed. Ctrl+Z brings it back");
  }

  // A new box behind the box `after`, or at the end.
  addBox(after) {
    this.edit(inserted(this.state, after, [""]));
    const { boxes } = this.state;
    const at = after === null ? boxes.length - 1 : indexOf(this.state, after) + 1;
    this.focusBox(boxes[at].id);
  }

  focusBox(id, caret = null) {
    const box = this.boxes.get(id);
    if (!box) return;
    box.area.focus();
    if (caret !== null) box.area.setSelectionRange(caret, caret);
    box.root.scrollIntoView({ block: "nearest" });
  }

  boxKeys(id, event) {
    const { key, altKey, shiftKey, ctrlKey, metaKey } = event;
    const alone = event.target.value === "" && this.state.boxes.length > 1;
    if (altKey && !ctrlKey && !metaKey && (key === "ArrowUp" || key === "ArrowDown")) {
      event.preventDefault();
      if (shiftKey && key === "ArrowDown") this.copy(id);
      else this.move(id, key === "ArrowUp" ? -1 : 1);
    } else if (altKey && key === "Enter") {
      event.preventDefault();
      this.addBox(id);
    } else if (key === "Backspace" && alone && !this.app.readOnly()) {
      event.preventDefault();
      const at = Math.max(0, indexOf(this.state, id) - 1);
      this.edit(removed(this.state, id));
      this.focusBox(this.state.boxes[at].id, this.state.boxes[at].text.length);
    }
  }

  keys(event) {
    const command = event.ctrlKey || event.metaKey;
    const key = event.key.toLowerCase();
    if (event.key === "Escape" && !event.isComposing) this.app.leaveEditor();
    else if (!command || !this.state) return;
    else if (key === "s") this.saver.now();
    else if (key === "enter") this.saveAndTrain();
    else if (key === "z") this.step(event.shiftKey ? redone : undone);
    else if (key === "y") this.step(redone);
    else return;
    event.preventDefault();
  }

  async saveAndTrain() {
    if (this.app.readOnly()) return;
    if (await this.saver.now()) {
      this.setMark("saved", "Saved");
      this.app.requestTraining(this.state.name);
    }
  }

  setMark(kind, words) {
    this.mark.className = `rs-mark rs-mark-${kind}`;
    this.mark.textContent = words;
  }

  draw() {
    const { state } = this;
    if (!state) return;
    this.name.textContent = state.name;
    this.drawFacts();
    this.undo.disabled = !state.undo.length;
    this.redo.disabled = !state.redo.length;
    this.drawChip();
    this.drawBoxes();
  }

  drawBoxes() {
    const { state, list } = this;
    const seen = new Map();
    state.boxes.forEach((box, i) => {
      const view = this.boxes.get(box.id) || new DescriptionBox(box, this, this.app.readOnly());
      seen.set(box.id, view);
      view.setText(box.text);
      view.place(i, state.boxes.length);
      if (list.children[i] !== view.root) list.insertBefore(view.root, list.children[i] || null);
      view.fit();
    });
    for (const [id, view] of this.boxes) if (!seen.has(id)) view.root.remove();
    this.boxes = seen;
  }

  drawFacts() {
    const { state, tokens } = this;
    const n = savedForm(state.boxes).length;
    const texts = plural(n, state.neutral ? "neutral text" : "description");
    this.facts.textContent = texts + (tokens ? ` · ${plural(tokens, "token")}` : "");
  }

  drawChip() {
    const row = this.app.row(this.state.name);
    const kind = row ? row.state : "new";
    this.chip.className = `rs-chip rs-state-${kind}`;
    this.chip.textContent = STATE_WORDS[kind] || kind;
    this.chip.title = STATE_MEANING[kind] || "";
  }

  reviewSoon(pause = REVIEW_PAUSE) {
    clearTimeout(this.reviewTimer);
    this.reviewTimer = setTimeout(() => this.review(), pause);
  }

  async review() {
    if (!this.state) return;
    this.reviewNumber += 1;
    const number = this.reviewNumber;
    const { name, boxes } = this.state;
    const texts = boxes.map((box) => box.text);
    const answer = await this.app.call("review_texts", { name, boxes: texts });
    if (number !== this.reviewNumber || !answer.ok || !this.state) return;
    this.showReview(answer, boxes);
    // The model is still loading, or what the texts did to the vectors is being worked out.
    if (!answer.tokens || !answer.notes) this.reviewSoon(MODEL_PAUSE);
    this.tokens = (answer.tokens || []).reduce((sum, n) => sum + (n || 0), 0);
    this.drawFacts();
  }

  // `boxes`: those that the answer is about, in its order.
  showReview({ findings, tokens, notes }, boxes) {
    const general = findings.filter(
      (finding) => finding.index === null && finding.rule !== "empty", // the empty box says so itself
    );
    this.general.replaceChildren(...general.map(findingLine));
    boxes.forEach(({ id }, i) => {
      const found = findings.filter((finding) => finding.index === i);
      this.boxes.get(id)?.setReview(found, tokens ? tokens[i] : null, notes ? notes[i] : null);
    });
  }

  show(concept) {
    this.reviewNumber += 1;
    for (const box of this.boxes.values()) box.root.remove();
    this.boxes = new Map();
    this.general.replaceChildren();
    this.tokens = 0;
    this.saver.reset();
    this.page.hidden = false;
    this.blank.hidden = true;
    this.setState(openedState(concept));
    this.saver.takeUpDraft();
    this.reviewSoon(0);
  }

  // The file changed on disk while nothing was unsaved here: show it; Undo gives the former text.
  follow(concept) {
    this.setState(savedState(replacedTexts(this.state, concept.descriptions), concept));
    this.setMark("saved", "Updated from disk");
    this.reviewSoon(0);
  }

  showBlank(...content) {
    this.saver.reset();
    this.state = null;
    this.page.hidden = true;
    this.blank.hidden = false;
    this.blank.replaceChildren(this.backButton(), ...content);
  }

  // Replace all texts as one step that Undo takes back, and save.
  replace(texts) {
    this.edit(replacedTexts(this.state, texts));
    return this.saver.now();
  }

  toTop() {
    const { top } = this.root.getBoundingClientRect();
    if (top < this.app.covered()) this.root.scrollIntoView({ block: "start" });
  }

  focusFirst() {
    if (this.state) this.focusBox(this.state.boxes[0].id);
  }

  // From another tab: go to a description, take it out, or begin a new one with a hint beside it.
  act({ kind, index, text, hint }) {
    const { boxes } = this.state;
    const found = boxes.find((box) => box.text.trim() === (text || "").trim());
    const box = text ? found : boxes[index ?? 0];
    if (kind === "draft" && !this.app.readOnly()) {
      this.addBox(null);
      this.boxes.get(this.state.boxes.at(-1).id).area.placeholder = hint;
      this.setMark("undo", hint);
    } else if (!box) {
      this.setMark("undo", "That description has changed since the training");
    } else if (kind === "delete" && !this.app.readOnly()) {
      this.remove(box.id);
    } else {
      this.focusBox(box.id);
    }
  }
}
