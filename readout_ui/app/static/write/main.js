// The room Write: what is open, and how scoreboard, page and dialogs act together.

import { ask } from "../lib/ask.js";
import { button, el, remember, remembered } from "../lib/dom.js";
import { current, go, onRoute } from "../lib/route.js";
import { Comparing } from "./comparing.js";
import { Dialogs } from "./dialogs.js";
import { Drafts } from "./drafts.js";
import { Editor } from "./editor.js";
import { draftKey } from "./editor_saving.js";
import { Exchange } from "./exchange.js";
import { ConceptList } from "./list.js";
import { conceptAddress } from "./list_rows.js";
import { TagEditor } from "./tags.js";

const POLL = 1500;
const NOTHING = {
  folder: "",
  read_only: true,
  rows: [],
  problems: [],
  error: "",
  notice: "",
  report: "",
  revision: "",
};
const SOURCES = ["pairs", "stories", "memories"];
const WRITES = { "data-writes": true };

// What gr.HTML hands over; `server` holds the functions of the app.
export function start({ element, trigger, server }) {
  const app = new WriteRoom(element.querySelector(".rs-concepts"), trigger, server);
  app.listen();
  app.load();
}

class WriteRoom {
  constructor(root, trigger, server) {
    Object.assign(this, { root, trigger, server });
    this.overview = NOTHING;
    this.selected = null; // a concept's name, or "file:" and the name of an unusable file
    this.asked = 0;
    this.scores = null; // of the run in use; null before it was judged
    this.judging = ""; // how far the judging of a new run is
    this.comparing = new Comparing(this);
    this.tags = new TagEditor(this);
    this.list = new ConceptList(this);
    this.editor = new Editor(this);
    this.dialogs = new Dialogs(this);
    this.exchange = new Exchange(this);
    this.drafts = new Drafts(this);
    this.root.append(this.list.root, this.editor.root);
  }

  call(name, request) {
    return ask(this.server, name, request);
  }

  readOnly() {
    return this.overview.read_only;
  }

  row(name) {
    return this.overview.rows.find((row) => row.name === name) || null;
  }

  hasDraft(name) {
    return remembered(draftKey(this.overview.folder, name)) !== null;
  }

  get lastKey() {
    return `readout-ui:last:${this.overview.folder}`;
  }

  requestTraining(concept) {
    this.trigger("train_requested", { concept });
  }

  // Back to the list; where there is room for one of the two only, that is an address of its own.
  showList() {
    if (this.list.root.offsetParent === null) go("#/write");
    this.root.classList.remove("rs-editing");
    this.list.focusCurrent();
  }

  leaveEditor() {
    this.editor.saver.now();
    this.showList();
  }

  // Go to a concept's address, so that Back, a reload and a link come to the same place.
  // `focus`: with the caret in its first text.
  open(key, { focus = false } = {}) {
    this.focusing = focus;
    const { room, part, query } = current();
    if (room === "write" && part === key && !Object.keys(query).length) this.follow(current());
    else go(conceptAddress(key));
  }

  // What an address asks for: a concept, a text of it, a text to add to it, two side by side, texts
  // from elsewhere.
  async follow({ room, part, query }) {
    if (room !== "write" || !this.root.isConnected || !this.overview.revision) return;
    this.root.classList.toggle("rs-away", Boolean(query.from));
    document.getElementById("write-sources")?.classList.toggle("rs-here", Boolean(query.from));
    this.chooseSource(query.from);
    this.root.classList.toggle("rs-editing", Boolean(part));
    if (query.new) {
      go("#/write", { replace: true }); // so that the same link works again
      this.dialogs.create();
    }
    const { focusing } = this;
    this.focusing = false;
    if (part && (part !== this.selected || focusing)) await this.select(part, focusing);
    // What follows is for this concept, not for another one that was asked for meanwhile.
    if (!part || part !== this.editor.state?.name) return;
    if (query.text) this.editor.focusNumber(Number(query.text));
    if (query.draft) {
      this.editor.addText(query.draft);
      go(conceptAddress(part), { replace: true });
    }
    if (query.beside) this.comparing.open(part, query.beside);
  }

  chooseSource(name) {
    const radio = document.querySelectorAll("#src-source input")[SOURCES.indexOf(name)];
    if (radio && !radio.checked) radio.click();
  }

  async select(key, focus = false) {
    const { editor } = this;
    this.asked += 1;
    const number = this.asked;
    if (editor.state && editor.state.name !== key && editor.dirty) editor.saver.now();
    this.selected = key;
    this.list.markOpen();
    if (key.startsWith("file:")) {
      this.showBroken(key);
      return;
    }
    const answer = await this.call("open_concept", { name: key });
    if (number !== this.asked) return;
    if (!answer.ok) {
      this.selected = null;
      this.editor.showBlank(el("p", { class: "rs-strong", role: "alert" }, answer.message));
      return;
    }
    remember(this.lastKey, key);
    editor.show(answer.concept, answer.judged);
    editor.root.scrollTop = 0;
    if (focus) editor.focusFirst();
  }

  // What was open is not there any more; its address is not kept.
  forget() {
    this.selected = null;
    go("#/write", { replace: true });
    this.root.classList.add("rs-editing"); // what is said about it stays in sight on a phone
    this.list.draw();
  }

  close(name) {
    this.forget();
    this.editor.showBlank(
      el("p", { class: "rs-strong" }, `“${name}” is deleted.`),
      el(
        "p",
        {},
        "It is in the trash, if it was deleted with this app. Choose another concept in the list.",
      ),
      button({
        symbol: "trash",
        label: "Open the trash",
        kind: "soft",
        onclick: () => this.dialogs.trash(),
      }),
    );
  }

  removed(entry) {
    this.forget();
    const undo = button({
      symbol: "undo",
      label: "Undo",
      kind: "primary",
      onclick: () => this.dialogs.bringBack(entry.entry),
    });
    this.editor.showBlank(
      el("p", { class: "rs-strong", role: "status" }, `“${entry.name}” is in the trash.`),
      el("p", {}, "Its texts and history are kept."),
      undo,
    );
    undo.focus();
  }

  tell(message, kind = "failed") {
    if (this.editor.state) this.editor.setMark(kind, message);
    else this.editor.showBlank(el("p", { class: "rs-strong", role: "alert" }, message));
  }

  // The list changed, here or on disk.
  applyOverview(overview, { renamed = false } = {}) {
    if (!overview) return;
    const first = !this.overview.revision;
    const different = overview.revision !== this.overview.revision;
    this.overview = overview;
    this.root.classList.toggle("rs-read-only", overview.read_only);
    if (!different && !first) return;
    this.list.draw();
    this.followReport();
    if (!renamed) this.followDisk();
  }

  // Another run is in use, or it was judged meanwhile.
  async followReport() {
    const { report } = this.overview;
    if (report === (this.scores?.run || "")) return;
    const answer = report ? await this.call("read_scores", {}) : { ok: true, scores: null };
    if (!answer.ok) return;
    this.scores = answer.scores;
    this.list.draw();
    this.editor.readJudged();
  }

  followJudging(words) {
    if (words === undefined || words === this.judging) return;
    this.judging = words;
    this.list.drawWords();
    this.editor.drawHead();
  }

  async followDisk() {
    const { editor } = this;
    const { state, saver } = editor;
    if (!state) {
      if (this.selected?.startsWith("file:")) this.showBroken(this.selected);
      return;
    }
    editor.drawHead();
    const row = this.row(state.name);
    if (saver.busy || saver.conflicting) return;
    if (row && row.fingerprint === state.opened) editor.reviewSoon(0);
    else if (editor.dirty) saver.now();
    else if (row) await this.followFile(state.name);
    else this.showGone(state.name);
  }

  // The open concept's file holds other texts now.
  async followFile(name) {
    const { editor } = this;
    const answer = await this.call("open_concept", { name });
    const present = editor.state;
    if (!answer.ok || !present || present.name !== name || editor.dirty) return;
    if (answer.concept.fingerprint !== present.opened) editor.follow(answer.concept);
  }

  showGone(name) {
    const file = `${name}.txt`.toLowerCase();
    const broken = this.overview.problems.find((problem) => problem.file.toLowerCase() === file);
    if (broken) this.open(`file:${broken.file}`);
    else this.close(name);
  }

  showBroken(key) {
    const file = key.slice(5);
    const name = file.replace(/\.txt$/i, "");
    const problem = this.overview.problems.find((other) => other.file === file);
    if (!problem) {
      if (this.row(name)) this.open(name);
      else this.close(name);
      return;
    }
    const where = `The file is in ${this.overview.folder}; nothing in it was changed. When it is fixed, it appears here by itself.`;
    this.editor.showBlank(
      el("p", { class: "rs-strong" }, `${file} cannot be used`),
      el("p", {}, problem.message),
      el("p", { class: "rs-small" }, where),
      el(
        "div",
        { class: "rs-notice-actions" },
        button({
          symbol: "history",
          label: "Earlier versions",
          kind: "soft",
          onclick: () => this.dialogs.history(name),
        }),
        button({
          symbol: "trash",
          label: "Move to the trash",
          kind: "soft",
          onclick: () => this.dialogs.remove(key),
          ...WRITES,
        }),
      ),
    );
  }

  welcome() {
    if (this.overview.error) {
      this.editor.showBlank(
        el("p", { class: "rs-strong", role: "alert" }, "The descriptions cannot be read"),
        el("p", {}, this.overview.error),
      );
      return;
    }
    const words =
      "A concept is something to read out of the model, such as calm. Describe it in the first person, two or three sentences at a time; eight descriptions are a good start. Then train.";
    this.editor.showBlank(
      el("p", { class: "rs-strong" }, "Write the first concept"),
      el("p", {}, words),
      el(
        "div",
        { class: "rs-notice-actions" },
        button({
          symbol: "add",
          label: "New concept",
          kind: "primary",
          onclick: () => this.dialogs.create(),
          ...WRITES,
        }),
        button({
          symbol: "import",
          label: "Import a set",
          kind: "soft",
          onclick: () => this.exchange.importSet(),
          ...WRITES,
        }),
      ),
    );
  }

  listen() {
    const { root, editor } = this;
    root.addEventListener("keydown", (event) => {
      const command = event.ctrlKey || event.metaKey;
      if (command && event.key.toLowerCase() === "s") event.preventDefault();
    });
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "hidden" && editor.dirty) editor.saver.now();
    });
    const stop = onRoute((place) => (root.isConnected ? this.follow(place) : stop?.()));
  }

  async load() {
    const answer = await this.call("read_overview", { revision: "" });
    if (!answer.ok) {
      this.tell(answer.message);
      setTimeout(() => this.load(), POLL);
      return;
    }
    this.judging = answer.judging;
    this.applyOverview(answer.overview);
    const place = current();
    const row = this.row(remembered(this.lastKey)) || this.overview.rows[0];
    if (place.room === "write") await this.follow(place);
    if (!place.part || place.room !== "write") {
      if (row) await this.select(row.name);
      else this.welcome();
    }
    setTimeout(() => this.poll(), POLL);
  }

  // Ask what changed, here or by another program; a hidden page asks when it is looked at again.
  async poll() {
    if (!document.hidden && this.root.offsetParent !== null) {
      const answer = await this.call("read_overview", { revision: this.overview.revision });
      this.root.classList.toggle("rs-offline", Boolean(answer.offline));
      if (answer.ok) this.applyOverview(answer.overview);
      this.followJudging(answer.judging);
    }
    if (this.root.isConnected) setTimeout(() => this.poll(), POLL);
  }
}
