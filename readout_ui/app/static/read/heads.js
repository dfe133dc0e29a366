// The heads of a chat's turns: which branch is shown, and what can be done with a turn.

import { say } from "../lib/dom.js";
import { editorOf, headOf, noteOf } from "./chat_parts.js";

export class TurnHeads {
  // `editing`: {id, text} of the turn that is being changed, or null.
  constructor(chat) {
    Object.assign(this, { chat, heads: [], editing: null });
    chat.room.onTurns((heads) => {
      this.heads = heads;
      this.draw();
    });
  }

  get turns() {
    return this.chat.room.reading?.turns ?? [];
  }

  boxOf(id) {
    const at = this.turns.findIndex((turn) => turn.id === id);
    return this.heads[at]?.element.closest(".rd-turn") ?? null;
  }

  draw() {
    const { editing, turns } = this;
    const { tree, busy, room } = this.chat;
    for (const old of room.root.querySelectorAll(".rd-text :is(.rc-edit, .rc-note)")) old.remove();
    this.heads.forEach(({ index, element }) => {
      const turn = tree.turn(turns[index]?.id);
      const box = element.closest(".rd-turn");
      box?.classList.toggle("rc-editing", Boolean(turn) && editing?.id === turn.id);
      element.replaceChildren(
        ...(turn ? headOf(turn, { branch: tree.branch(turn.id), busy }, this) : []),
      );
      if (!turn || !box) return;
      element.onkeydown = (event) => this.walk(turn, event);
      if (turn.note !== undefined) box.append(noteOf(turn, (text) => this.noteTyped(turn, text)));
      if (editing?.id === turn.id) box.append(this.editor(turn));
    });
  }

  // Branches.

  step(turn, by) {
    const { tree } = this.chat;
    const siblings = tree.turn(turn.parent).children;
    if (!tree.step(turn.id, by)) return;
    this.chat.keep();
    this.chat.showPath();
    const box = this.boxOf(siblings[siblings.indexOf(turn.id) + by]);
    const [before, next] = [...(box?.querySelectorAll(".rc-step") ?? [])];
    (by < 0 ? before : next)?.focus();
    if (document.activeElement?.closest(".rd-turn") !== box) (by < 0 ? next : before)?.focus();
  }

  // Arrow keys at a turn's head walk its branches.
  walk(turn, event) {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    this.step(turn, by);
  }

  again(turn) {
    const { chat } = this;
    chat.nextSeed();
    chat.keepSettings();
    if (chat.answers.may()) chat.answers.ask(chat.tree.turn(turn.parent), { recipe: turn.recipe });
  }

  compare(turn) {
    const { tree, compare } = this.chat;
    const { at, of } = tree.branch(turn.id);
    const siblings = tree.turn(turn.parent).children;
    compare.openBranches(siblings[at > 1 ? at - 2 : of - 1], turn.id);
  }

  // Another text.

  edit(turn, text = turn.text) {
    this.editing = { id: turn.id, text };
    this.draw();
    const box = this.boxOf(turn.id)?.querySelector(".rc-edit-box");
    box?.focus();
    box?.setSelectionRange(box.value.length, box.value.length);
  }

  editor(turn) {
    return editorOf(turn, this.editing.text, {
      typed: (text) => {
        this.editing.text = text;
      },
      save: (text) => this.saveEdit(turn, text),
      leave: () => this.leaveEdit(),
    });
  }

  saveEdit(turn, text) {
    const { chat } = this;
    if (!text.trim()) {
      say(chat.parts.line, "A turn cannot be empty.");
      return;
    }
    const other = chat.tree.edit(turn.id, text);
    this.editing = null;
    if (turn.role === "user" && chat.answers.may())
      chat.answers.ask(other, { recipe: chat.recipe });
    else {
      chat.keep();
      chat.showPath();
    }
  }

  leaveEdit() {
    this.editing = null;
    this.draw();
    this.chat.parts.box.focus();
  }

  // Star and note.

  star(turn) {
    turn.star = !turn.star;
    this.chat.keep();
    this.draw();
    this.boxOf(turn.id)?.querySelector(".rc-star")?.focus();
  }

  note(turn) {
    turn.note ??= "";
    this.draw();
    this.boxOf(turn.id)?.querySelector(".rc-note")?.focus();
  }

  noteTyped(turn, text) {
    if (text) turn.note = text;
    else delete turn.note;
    this.chat.keep();
  }
}
