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

const PAUSE = 1000;
const RETRY = 4000;

export function draftKey(folder, name) {
  return `readout-ui:draft:${folder}:${name}`;
}

// `editor`: get and set its state, mark(kind, words), and the place for notices.
export function makeSaver(app, editor) {
  let timer = 0;
  let running = null;
  let conflict = null;
  let finished = null;

  function keepDraft(state) {
    const draft = { opened: state.opened, texts: state.boxes.map((box) => box.text) };
    return remember(draftKey(app.overview.folder, state.name), JSON.stringify(draft));
  }

  function dropDraft(name) {
    remember(draftKey(app.overview.folder, name), null);
    if (app.list.root.querySelector(".rs-unsaved-dot")) app.list.draw();
  }

  function reset() {
    clearTimeout(timer);
    timer = 0;
    conflict = null;
    editor.notice.replaceChildren();
    editor.mark("", "");
  }

  function changed() {
    const state = editor.get();
    if (!isDirty(state)) {
      if (!running) dropDraft(state.name);
      if (!conflict) editor.mark("saved", "Saved");
      return;
    }
    keepDraft(state);
    if (!conflict) editor.mark("unsaved", "Not saved yet");
    soon(PAUSE);
  }

  function soon(pause) {
    clearTimeout(timer);
    timer = setTimeout(now, pause);
  }

  // Save what is in the boxes; true when the file holds it afterwards.
  async function now() {
    clearTimeout(timer);
    let state = editor.get();
    if (!state || app.readOnly()) return false;
    while (running) await running;
    const shown = editor.get();
    if (shown && shown.name === state.name) {
      if (conflict) return false;
      state = shown;
    } else if (finished && finished.name === state.name) {
      state = savedState(state, finished); // left while its last save was on the way
    }
    if (!isDirty(state)) {
      dropDraft(state.name);
      return true;
    }
    const saved = await run(state, state.opened);
    const present = editor.get();
    if (saved && present && present.name === state.name && isDirty(present)) return now();
    return saved;
  }

  // One save at a time.
  async function run(state, opened) {
    running = save(state, opened);
    const saved = await running;
    running = null;
    return saved;
  }

  async function save(state, opened) {
    editor.mark("saving", "Saving…");
    const answer = await app.call("save_texts", {
      name: state.name,
      boxes: state.boxes.map((box) => box.text),
      opened,
    });
    const present = editor.get();
    const here = present && present.name === state.name;
    if (answer.conflict) {
      if (here) showConflict(answer.conflict);
      else app.list.draw();
      return false;
    }
    if (!answer.ok) {
      if (here) failed(answer);
      return false;
    }
    finished = answer.concept;
    if (here) {
      editor.set(savedState(present, answer.concept));
      editor.notice.replaceChildren();
      if (!isDirty(editor.get())) {
        dropDraft(state.name);
        editor.mark("saved", "Saved");
      }
    } else {
      dropDraft(state.name);
    }
    app.applyOverview(answer.overview);
    return true;
  }

  function failed(answer) {
    editor.mark("failed", "Not saved");
    editor.notice.replaceChildren(
      el(
        "div",
        { class: "rs-notice rs-notice-failed", role: "alert" },
        el("p", {}, answer.message),
        el("p", { class: "rs-small" }, "Your text is kept in this browser until it can be saved."),
        el(
          "div",
          { class: "rs-notice-actions" },
          button({ label: "Try again", kind: "soft", onclick: now }),
        ),
      ),
    );
    if (answer.offline) soon(RETRY);
  }

  function showConflict(found) {
    conflict = found;
    const gone = found.theirs_fingerprint === null;
    const both = el("div", { class: "rs-both", hidden: true });
    const panel = el(
      "div",
      { class: "rs-notice rs-notice-conflict", role: "group", "aria-label": "Changed on disk" },
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
      el(
        "div",
        { class: "rs-notice-actions" },
        button({
          label: gone ? "Keep mine (bring it back)" : "Keep mine",
          kind: "soft",
          onclick: keepMine,
        }),
        button({
          label: gone ? "Leave it deleted" : "Take theirs",
          kind: "soft",
          onclick: takeTheirs,
        }),
        gone
          ? null
          : button({ label: "See both", kind: "soft", "aria-expanded": "false", onclick: see }),
      ),
      both,
    );
    function see(event) {
      both.hidden = !both.hidden;
      event.currentTarget.setAttribute("aria-expanded", String(!both.hidden));
      const mine = savedForm(editor.get().boxes);
      both.replaceChildren(
        sideBySide("Mine", mine, found.theirs),
        sideBySide("On disk", found.theirs, mine),
      );
    }
    editor.mark("failed", "Not saved: choose below");
    editor.notice.replaceChildren(panel);
    panel.scrollIntoView({ block: "nearest" });
  }

  async function keepMine() {
    const { theirs_fingerprint: theirs } = conflict;
    conflict = null;
    editor.notice.replaceChildren();
    await run(editor.get(), theirs);
  }

  function takeTheirs() {
    const found = conflict;
    const state = editor.get();
    reset();
    dropDraft(state.name);
    if (found.theirs_fingerprint === null) {
      app.close(state.name);
      return;
    }
    const theirs = { fingerprint: found.theirs_fingerprint, descriptions: found.theirs };
    editor.set(savedState(replacedTexts(state, found.theirs), theirs));
    editor.mark("saved", "Theirs taken. Ctrl+Z brings yours back");
    app.reviewSoon();
  }

  // Text that was typed here before and did not reach the disk.
  function takeUpDraft() {
    const state = editor.get();
    const kept = app.readOnly() ? null : remembered(draftKey(app.overview.folder, state.name));
    if (!kept) return;
    const draft = JSON.parse(kept);
    const texts = draft.texts.filter((text) => text.trim());
    if (sameTexts(savedForm(texts.map(newBox)), state.onDisk)) {
      dropDraft(state.name);
      return;
    }
    editor.set(replacedTexts({ ...state, opened: draft.opened }, texts));
    editor.mark("unsaved", "Text from your last visit");
    soon(0);
  }

  return {
    changed,
    soon: (pause) => {
      if (editor.get() && isDirty(editor.get())) soon(pause);
    },
    now,
    reset,
    takeUpDraft,
    dropDraft,
    busy: () => running !== null,
    conflicting: () => conflict !== null,
  };
}

// One side of a comparison; texts that the other side lacks are marked.
export function sideBySide(title, texts, others, only = "only here") {
  return el(
    "div",
    { class: "rs-side" },
    el("h4", {}, title),
    el(
      "ol",
      {},
      texts.map((text) =>
        el(
          "li",
          { class: others.includes(text) ? "" : "rs-differs" },
          others.includes(text) ? null : el("span", { class: "rs-only" }, only),
          text,
        ),
      ),
    ),
    texts.length ? null : el("p", { class: "rs-small" }, "No descriptions."),
  );
}
