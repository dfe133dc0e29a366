// Saving: a draft in this browser at every keystroke, the file after a pause, never over a file
// that changed meanwhile.

import { button, el, remember, remembered } from "../lib/dom.js";
import {
  isDirty,
  newBox,
  replacedTexts,
  sameTexts,
  savedForm,
  savedState,
} from "./editor_state.js";
import { sideBySide } from "./side_by_side.js";

const PAUSE = 1000;
const RETRY = 4000;

export function draftKey(folder, name) {
  return `readout-ui:draft:${folder}:${name}`;
}

// `editor`: has a state, setState, setMark(kind, words) and the place for notices.
export class Saver {
  constructor(app, editor) {
    this.app = app;
    this.editor = editor;
    this.timer = 0;
    this.running = null; // the promise of the save that is on its way
    this.conflict = null; // what the server told about a file that changed meanwhile
    this.finished = null; // the concept as it was saved last
  }

  get busy() {
    return this.running !== null;
  }

  get conflicting() {
    return this.conflict !== null;
  }

  keepDraft(state) {
    const draft = { opened: state.opened, texts: state.boxes.map((box) => box.text) };
    remember(draftKey(this.app.overview.folder, state.name), JSON.stringify(draft));
  }

  dropDraft(name) {
    const { list, overview } = this.app;
    remember(draftKey(overview.folder, name), null);
    if (list.root.querySelector(".rs-unsaved-dot")) list.draw();
  }

  reset() {
    clearTimeout(this.timer);
    this.timer = 0;
    this.conflict = null;
    this.editor.notice.replaceChildren();
    this.editor.setMark("", "");
  }

  changed() {
    const { state } = this.editor;
    if (!isDirty(state)) {
      if (!this.running) this.dropDraft(state.name);
      if (!this.conflict) this.editor.setMark("saved", "Saved");
      return;
    }
    this.keepDraft(state);
    if (!this.conflict) this.editor.setMark("unsaved", "Not saved yet");
    this.start(PAUSE);
  }

  start(pause) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.now(), pause);
  }

  // The caret left the text: what is unsaved need not wait for its pause.
  soon() {
    const { state } = this.editor;
    if (state && isDirty(state)) this.start(0);
  }

  // Save what is in the boxes; true when the file holds it afterwards.
  async now() {
    clearTimeout(this.timer);
    const asked = this.editor.state;
    if (!asked || this.app.readOnly()) return false;
    while (this.running) await this.running;
    const state = this.latest(asked);
    if (!state) return false;
    if (!isDirty(state)) {
      this.dropDraft(state.name);
      return true;
    }
    const saved = await this.run(state, state.opened);
    const present = this.editor.state;
    if (saved && present && present.name === state.name && isDirty(present)) return this.now();
    return saved;
  }

  // The state to be saved after waiting for another save; null while a choice is open.
  latest(asked) {
    const { finished } = this;
    const shown = this.editor.state;
    if (shown && shown.name === asked.name) return this.conflict ? null : shown;
    // Left while its last save was on the way.
    return finished && finished.name === asked.name ? savedState(asked, finished) : asked;
  }

  // One save at a time.
  async run(state, opened) {
    this.running = this.save(state, opened);
    const saved = await this.running;
    this.running = null;
    return saved;
  }

  async save(state, opened) {
    const { app, editor } = this;
    editor.setMark("saving", "Saving…");
    const boxes = state.boxes.map((box) => box.text);
    const answer = await app.call("save_texts", { name: state.name, boxes, opened });
    const here = editor.state && editor.state.name === state.name;
    if (answer.conflict) {
      if (here) this.showConflict(answer.conflict);
      else app.list.draw();
      return false;
    }
    if (!answer.ok) {
      if (here) this.failed(answer);
      return false;
    }
    this.finished = answer.concept;
    if (here) this.takeSaved(answer.concept);
    else this.dropDraft(state.name);
    app.applyOverview(answer.overview);
    return true;
  }

  takeSaved(concept) {
    const { editor } = this;
    editor.setState(savedState(editor.state, concept));
    editor.notice.replaceChildren();
    if (isDirty(editor.state)) return;
    this.dropDraft(editor.state.name);
    editor.setMark("saved", "Saved");
  }

  failed(answer) {
    const again = button({ label: "Try again", kind: "soft", onclick: () => this.now() });
    this.editor.setMark("failed", "Not saved");
    this.editor.notice.replaceChildren(
      el(
        "div",
        { class: "rs-notice rs-notice-failed", role: "alert" },
        el("p", {}, answer.message),
        el("p", { class: "rs-small" }, "Your text is kept in this browser until it can be saved."),
        el("div", { class: "rs-notice-actions" }, again),
      ),
    );
    if (answer.offline) this.start(RETRY);
  }

  showConflict(found) {
    this.conflict = found;
    const gone = found.theirs_fingerprint === null;
    const panel = el(
      "div",
      {
        class: "rs-notice rs-notice-conflict",
        role: "group",
        "aria-label": "Changed on disk",
      },
      el(
        "p",
        { class: "rs-strong" },
        gone
          ? "This concept was deleted while you were editing it."
          : "This file was changed by another program or page while you were editing it.",
      ),
      el(
        "p",
        { class: "rs-small" },
        "Nothing was overwritten. Your text is kept in this browser until you choose.",
      ),
      ...this.buildChoices(found, gone),
    );
    this.editor.setMark("failed", "Not saved: choose below");
    this.editor.notice.replaceChildren(panel);
    panel.scrollIntoView({ block: "nearest" });
  }

  // The buttons of a conflict and, below them, both texts once they are asked for.
  buildChoices(found, gone) {
    const both = el("div", { class: "rs-both", hidden: true });
    const see = (event) => {
      both.hidden = !both.hidden;
      event.currentTarget.setAttribute("aria-expanded", String(!both.hidden));
      const mine = savedForm(this.editor.state.boxes);
      both.replaceChildren(
        sideBySide("Mine", mine, found.theirs),
        sideBySide("On disk", found.theirs, mine),
      );
    };
    const mine = gone ? "Keep mine (bring it back)" : "Keep mine";
    const theirs = gone ? "Leave it deleted" : "Take theirs";
    const choices = el(
      "div",
      { class: "rs-notice-actions" },
      button({ label: mine, kind: "soft", onclick: () => this.keepMine() }),
      button({ label: theirs, kind: "soft", onclick: () => this.takeTheirs() }),
      gone
        ? null
        : button({ label: "See both", kind: "soft", "aria-expanded": "false", onclick: see }),
    );
    return [choices, both];
  }

  async keepMine() {
    const { theirs_fingerprint: theirs } = this.conflict;
    this.conflict = null;
    this.editor.notice.replaceChildren();
    await this.run(this.editor.state, theirs);
  }

  takeTheirs() {
    const { app, editor, conflict } = this;
    const { state } = editor;
    this.reset();
    this.dropDraft(state.name);
    if (conflict.theirs_fingerprint === null) {
      app.close(state.name);
      return;
    }
    const theirs = {
      fingerprint: conflict.theirs_fingerprint,
      descriptions: conflict.theirs,
    };
    editor.setState(savedState(replacedTexts(state, conflict.theirs), theirs));
    editor.setMark("saved", "Theirs taken. Ctrl+Z brings yours back");
    editor.reviewSoon(0);
  }

  // Text that was typed here before and did not reach the disk.
  takeUpDraft() {
    const { app, editor } = this;
    const { state } = editor;
    const kept = app.readOnly() ? null : remembered(draftKey(app.overview.folder, state.name));
    if (!kept) return;
    const draft = JSON.parse(kept);
    const texts = draft.texts.filter((text) => text.trim());
    if (sameTexts(savedForm(texts.map(newBox)), state.onDisk)) {
      this.dropDraft(state.name);
      return;
    }
    editor.setState(replacedTexts({ ...state, opened: draft.opened }, texts));
    editor.setMark("unsaved", "Text from your last visit");
    this.soon();
  }
}
