// Answers of the model to a chat: asked for, followed while they grow, then kept or given up.

import { say } from "../lib/dom.js";
import { GrowingReading } from "./growing.js";
import { pause, underWay } from "./job.js";

const POLL_MS = 120;
const LOST = "The app was restarted and lost this answer. Press Again.";
const SILENT = "The model ended its answer without a word. Press Send for the next seed.";

export class Answers {
  // `now`: the answer under way, or null; `last`: what is said of the one before.
  constructor(chat) {
    Object.assign(this, { chat, now: null, last: {} });
  }

  may() {
    const { ready, missing, run } = this.chat.room.state;
    if (ready) return true;
    say(
      this.chat.parts.line,
      run ? missing || "The model is not loaded yet." : "Train first; then the model answers here.",
    );
    return false;
  }

  // One more answer after a turn; gives the finished turn, or null.
  async ask(parent, { recipe = "", begun = "" } = {}) {
    const { chat } = this;
    const { kept, tree } = chat;
    say(chat.parts.line, "");
    chat.heads.editing = null;
    const turn = tree.add(parent.id, {
      role: "assistant",
      text: begun,
      recipe,
      sampling: { ...chat.settings.sampling },
    });
    const mine = this.begin(turn);
    chat.keep();
    chat.showPath();
    const answer = await chat.ask("chat_ask", {
      chat: kept.id,
      ...chat.asking(parent.id),
      recipe,
      begun,
    });
    if (this.now !== mine) return null;
    if (!answer.ok) return this.fail(mine, answer.message);
    mine.number = answer.number;
    kept.asked = { number: answer.number, turn: turn.id };
    chat.keep();
    return this.follow(mine);
  }

  begin(turn, number = 0) {
    const path = this.chat.tree.pathTo(turn.id);
    const reading = new GrowingReading(path, { steered: Boolean(turn.recipe) });
    this.now = { turn, reading, number, state: "waiting", before: [], made: 0 };
    return this.now;
  }

  // After a reload: the answer goes on, or is still there.
  resume() {
    const { kept, tree } = this.chat;
    const turn = tree.turn(kept.asked.turn);
    if (!turn) return;
    const mine = this.begin(turn, kept.asked.number);
    this.chat.showPath();
    this.follow(mine);
  }

  async follow(mine) {
    const { chat } = this;
    while (this.now === mine) {
      const request = { chat: chat.kept.id, have: mine.reading.tokens.length };
      const answer = await chat.ask("chat_poll", request);
      if (this.now !== mine) return null;
      if (!answer.ok) chat.parts.status.textContent = answer.message;
      else if (answer.number !== mine.number) return this.fail(mine, LOST);
      else if (this.takeNews(mine, answer)) return this.finish(mine, answer);
      await pause(POLL_MS);
    }
    return null;
  }

  // News of the answer under way; says whether it has ended.
  takeNews(mine, answer) {
    const { chat } = this;
    const { state, before, made, source, news } = answer;
    Object.assign(mine, { state, before, made });
    if (source) mine.reading.begin(source);
    if (mine.reading.take(news) && chat.tree.path.includes(mine.turn)) chat.room.show(mine.reading);
    chat.drawState();
    return !underWay(state);
  }

  finish(mine, { ending, error }) {
    const { chat } = this;
    const { turn, reading } = mine;
    if (!ending) return this.fail(mine, error);
    if (!ending.text.trim()) {
      chat.nextSeed();
      return this.fail(mine, SILENT);
    }
    turn.text = ending.text;
    reading.growing = false;
    if (chat.room.reading === reading) chat.room.show(reading); // the bars are of the chat again
    chat.readings.set(turn.id, reading);
    this.settle({ state: "done", ending });
    // The same scores at every layer; a steered answer's are those of the steered model.
    if (!turn.recipe) chat.readPath(turn);
    return turn;
  }

  fail(mine, message) {
    this.chat.tree.remove(mine.turn.id);
    this.settle({});
    say(this.chat.parts.line, message);
    return null;
  }

  settle(last) {
    Object.assign(this, { now: null, last });
    this.chat.kept.asked = null;
    this.chat.keep();
    this.chat.showPath();
  }

  stop() {
    if (this.now) this.chat.ask("chat_stop", { chat: this.chat.kept.id });
  }

  // Another chat takes the place of the one that asked.
  leave() {
    this.stop();
    Object.assign(this, { now: null, last: {} });
  }
}
