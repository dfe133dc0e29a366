// The page of one concept: what is known about it, and its texts with their numbers, edited in
// place: boxes, undo, keyboard, lint beside the text.

import { button, el, remember, remembered } from "../lib/dom.js";
import { Contrast } from "./contrast.js";
import { DescriptionBox, findingLine, fitHeight, GROWS_ITSELF } from "./editor_box.js";
import { Saver } from "./editor_saving.js";
import {
  byRank,
  divided,
  duplicated,
  indexOf,
  inserted,
  isDirty,
  moved,
  openedState,
  ranksOf,
  redone,
  removed,
  replacedTexts,
  savedForm,
  savedState,
  typed,
  undone,
} from "./editor_state.js";
import { backButton, keysLine, PageHead } from "./page_head.js";
import { Telling } from "./telling.js";
import { Passages, TryIt } from "./try_it.js";

const REVIEW_PAUSE = 350;
const MODEL_PAUSE = 4000;
const WRITES = { "data-writes": true };
const ORDER_KEY = "readout-ui:write:texts";

export class Editor {
  constructor(app) {
    this.app = app;
    this.state = null; // see editor_state.js; null while no concept is open
    this.boxes = new Map();
    this.reviewTimer = 0;
    this.reviewNumber = 0;
    this.tokens = 0;
    this.judged = new Map(); // what the report says about a text
    this.ranks = new Map(); // how much each box has to gain, by its id
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
    const { app } = this;
    this.head = new PageHead(app, this);
    this.undo = this.stepButton("undo", "Undo (Ctrl+Z)", undone);
    this.redo = this.stepButton("redo", "Redo (Ctrl+Shift+Z)", redone);
    this.notice = el("div", { class: "rs-notice-place", "aria-live": "polite" });
    this.general = el("ul", { class: "rs-findings rs-general" });
    this.list = el("ol", { class: "rs-boxes" });
    this.blank = el("div", { class: "rs-blank" });
    this.passages = new Passages(app);
    this.tryIt = new TryIt(app);
    this.page = el(
      "div",
      { class: "rs-editor-page" },
      this.head.root,
      this.notice,
      this.buildTexts(),
    );
    this.contrast = new Contrast(app);
    this.telling = new Telling(app, this);
    this.page.append(this.telling.root, this.contrast.root, this.passages.root, this.tryIt.root);
    this.page.hidden = true;
    const onkeydown = (event) => this.keys(event);
    this.root = el(
      "section",
      { class: "rs-editor", "aria-label": "Concept", onkeydown },
      this.blank,
      this.page,
    );
  }

  stepButton(symbol, label, how) {
    return button({ symbol, label, iconOnly: true, onclick: () => this.step(how), ...WRITES });
  }

  buildTexts() {
    this.gain = el(
      "button",
      { type: "button", class: "rs-link", onclick: () => this.turnOrder() },
      "Most to gain first",
    );
    const add = (kind) =>
      button({
        symbol: "add",
        label: "Add a text",
        kind,
        onclick: () => this.addBox(null),
        ...WRITES,
      });
    const train = button({
      label: "Save and train",
      kind: "soft rs-main",
      title: "Ctrl+Enter",
      onclick: () => this.saveAndTrain(),
      ...WRITES,
    });
    const space = el("span", { class: "rs-space" });
    return el(
      "section",
      { class: "rs-sect rs-texts" },
      el("header", {}, el("h3", {}, "Texts"), this.gain, space, this.undo, this.redo, train),
      this.general,
      this.list,
      add("dashed"),
      keysLine(),
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
    if (this.byGain) return; // the order that is shown is not that of the file
    this.edit(moved(this.state, id, by));
    this.focusBox(id);
  }

  copy(id) {
    this.edit(duplicated(this.state, id));
    this.focusBox(this.state.boxes[indexOf(this.state, id) + 1].id);
  }

  remove(id) {
    const at = this.shownBoxes.findIndex((box) => box.id === id);
    this.edit(removed(this.state, id));
    this.focusBox(this.shownBoxes[Math.min(at, this.state.boxes.length - 1)].id);
    this.setMark("undo", "Removed. Ctrl+Z brings it back");
  }

  // A new box behind the box `after`, or at the end.
  addBox(after) {
    this.edit(inserted(this.state, after, [""]));
    const { boxes } = this.state;
    const at = after === null ? boxes.length - 1 : indexOf(this.state, after) + 1;
    this.focusBox(boxes[at].id);
  }

  // A text from elsewhere behind the others; it is in the file as soon as anything else is.
  addText(text) {
    if (!this.state || this.state.boxes.some((box) => box.text === text)) return;
    this.edit(inserted(this.state, null, [text]));
    this.focusBox(this.state.boxes.at(-1).id);
  }

  focusBox(id, caret = null, end = caret) {
    const box = this.boxes.get(id);
    if (!box) return;
    box.area.focus();
    if (caret !== null) box.area.setSelectionRange(caret, end);
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
    this.head.setMark(kind, words);
  }

  draw() {
    const { state } = this;
    if (!state) return;
    this.drawHead();
    this.undo.disabled = !state.undo.length;
    this.redo.disabled = !state.redo.length;
    this.drawBoxes();
  }

  drawHead() {
    const { state, tokens } = this;
    if (!state) return;
    const row = this.app.row(state.name);
    this.head.draw(state, row, savedForm(state.boxes).length, tokens);
    for (const part of [this.contrast, this.telling]) part.follow(row);
  }

  // The report came, or another one did.
  async readJudged() {
    const { state } = this;
    if (!state) return;
    const answer = await this.app.call("open_concept", { name: state.name });
    if (answer.ok && this.state?.name === state.name) this.takeJudged(answer.judged);
  }

  // What the report says about the concept that is open: numbers beside the texts that it knows.
  takeJudged(judged) {
    const { name, neutral } = this.state;
    this.judged = new Map((judged?.texts || []).map((one) => [one.text.trim(), one]));
    const row = this.app.row(name);
    const trained = this.head.trained(row) && !neutral;
    this.head.facts.show(judged, row);
    this.passages.show(name, trained);
    this.tryIt.root.hidden = !trained; // its answers stay when a report comes
    // Nothing moves below a caret.
    if (!this.list.contains(document.activeElement)) this.rankBoxes();
    this.draw();
  }

  rankBoxes() {
    this.ranks = ranksOf(this.state.boxes, this.judged);
  }

  get byGain() {
    return this.ranks.size > 0 && remembered(ORDER_KEY) !== "file";
  }

  turnOrder() {
    remember(ORDER_KEY, this.byGain ? "file" : "gain");
    this.rankBoxes();
    this.draw();
  }

  get shownBoxes() {
    const { boxes } = this.state;
    return this.byGain ? byRank(boxes, this.ranks) : boxes;
  }

  drawBoxes() {
    const { state, list, byGain } = this;
    const seen = new Map();
    this.gain.hidden = !this.ranks.size;
    this.gain.setAttribute("aria-pressed", String(byGain));
    this.shownBoxes.forEach((box, i) => {
      const view = this.boxes.get(box.id) || new DescriptionBox(box, this, this.app.readOnly());
      seen.set(box.id, view);
      view.setText(box.text);
      view.place(indexOf(state, box.id), state.boxes.length, byGain);
      view.setJudged(this.judged.get(box.text.trim()) || null);
      if (list.children[i] !== view.root) list.insertBefore(view.root, list.children[i] || null);
      view.fit();
    });
    for (const [id, view] of this.boxes) if (!seen.has(id)) view.root.remove();
    this.boxes = seen;
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
    this.drawHead();
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

  // Texts and numbers come at once: nobody sees those of the one before under this name.
  show(concept, judged) {
    this.reviewNumber += 1;
    for (const box of this.boxes.values()) box.root.remove();
    this.boxes = new Map();
    this.general.replaceChildren();
    this.tokens = 0;
    this.saver.reset();
    this.page.hidden = false;
    this.blank.hidden = true;
    this.state = openedState(concept);
    this.saver.takeUpDraft();
    this.tryIt.open(this.state.name);
    this.takeJudged(judged);
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
    this.blank.replaceChildren(backButton(this.app), ...content);
  }

  // Replace all texts as one step that Undo takes back, and save.
  replace(texts) {
    this.edit(replacedTexts(this.state, texts));
    return this.saver.now();
  }

  focusFirst() {
    if (this.state) this.focusBox(this.shownBoxes[0].id);
  }

  // The text of that number, from 1.
  focusNumber(number) {
    const box = this.state?.boxes[number - 1];
    if (box) this.focusBox(box.id);
  }
}
