// Puts the page together. In scope from Gradio: element, trigger, props, server, watch.

import { button, el, remember, remembered } from "../lib/dom.js";
import { makeDialogs } from "./dialogs.js";
import { makeEditor } from "./editor.js";
import { draftKey } from "./editor_saving.js";
import { makeExchange } from "./exchange.js";
import { makeList } from "./list.js";

export function start({ element, trigger, server }) {
  const app = {
    root: element.querySelector(".rs-concepts"),
    overview: { folder: "", read_only: true, rows: [], problems: [], error: "", revision: "" },
    trigger(name, detail) {
      // Gradio finds the events of a component by their names in its script.
      if (name === "train_requested") trigger("train_requested", detail);
    },
    readOnly: () => app.overview.read_only,
    row: (name) => app.overview.rows.find((row) => row.name === name) || null,
    current: () => app.selected,
    hasDraft: (name) => remembered(draftKey(app.overview.folder, name)) !== null,
    reviewSoon: () => app.editor.reviewSoon(0),
    // Pixels at the window's top that the app's header covers.
    covered: () => {
      const header = document.getElementById("header");
      return header && getComputedStyle(header).position === "sticky" ? header.offsetHeight : 0;
    },
    selected: null,
    asked: 0,
  };

  // Gradio answers undefined, or throws, when the server did not.
  app.call = async (name, request) => {
    const answer = await Promise.resolve(server[name](request)).catch(() => undefined);
    return (
      answer || {
        ok: false,
        offline: true,
        message: "The app does not answer. It may have been stopped or be restarting.",
      }
    );
  };

  app.showList = () => {
    app.root.classList.remove("rs-editing");
    app.list.focusCurrent();
  };

  app.leaveEditor = () => {
    app.editor.saver.now();
    app.showList();
  };

  // `open`: show the editor where there is room for one of the two only.
  app.select = async (key, { open = false, focus = false } = {}) => {
    app.asked += 1;
    const number = app.asked;
    const before = app.editor.state();
    if (before && before.name !== key && app.editor.dirty()) app.editor.saver.now();
    app.selected = key;
    if (open || focus) app.root.classList.add("rs-editing");
    app.list.draw();
    if (key.startsWith("file:")) {
      showBroken(key);
      return;
    }
    const answer = await app.call("open_concept", { name: key });
    if (number !== app.asked) return;
    if (!answer.ok) {
      app.tell(answer.message);
      return;
    }
    remember(`readout-ui:last:${app.overview.folder}`, key);
    app.editor.show(answer.concept);
    app.editor.toTop();
    if (focus) app.editor.focusFirst();
  };

  app.close = (name) => {
    app.selected = null;
    app.list.draw();
    app.editor.showBlank(
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
        onclick: () => app.dialogs.trash(),
      }),
    );
  };

  app.removed = (key, entry) => {
    app.selected = null;
    const undo = button({
      symbol: "undo",
      label: "Undo",
      kind: "primary",
      onclick: () => app.dialogs.bringBack(entry.entry, null, null),
    });
    app.editor.showBlank(
      el("p", { class: "rs-strong", role: "status" }, `“${entry.name}” is in the trash.`),
      el("p", {}, "Its texts and history are kept."),
      undo,
    );
    undo.focus();
  };

  app.tell = (message, kind = "failed") => {
    if (app.editor.state()) app.editor.setMark(kind, message);
    else app.editor.showBlank(el("p", { class: "rs-strong", role: "alert" }, message));
  };

  // The list changed, here or on disk.
  app.applyOverview = (overview, { renamed = null } = {}) => {
    if (!overview) return;
    const first = !app.overview.revision;
    const different = overview.revision !== app.overview.revision;
    app.overview = overview;
    app.root.classList.toggle("rs-read-only", overview.read_only);
    if (!different && !first) return;
    app.list.draw();
    if (!renamed) followDisk();
  };

  async function followDisk() {
    const state = app.editor.state();
    if (!state) {
      if (!app.selected) return;
      if (app.selected.startsWith("file:")) showBroken(app.selected);
      return;
    }
    app.editor.drawChip();
    const row = app.row(state.name);
    const { saver } = app.editor;
    if (saver.busy() || saver.conflicting()) return;
    if (row && row.fingerprint === state.opened) {
      app.editor.reviewSoon(0);
      return;
    }
    if (app.editor.dirty()) {
      saver.now();
      return;
    }
    if (!row) {
      gone(state.name);
      return;
    }
    const answer = await app.call("open_concept", { name: state.name });
    const present = app.editor.state();
    if (!answer.ok || !present || present.name !== state.name || app.editor.dirty()) return;
    if (answer.concept.fingerprint !== present.opened) app.editor.follow(answer.concept);
  }

  function gone(name) {
    const broken = app.overview.problems.find(
      (problem) => problem.file.toLowerCase() === `${name}.txt`.toLowerCase(),
    );
    if (broken) app.select(`file:${broken.file}`);
    else app.close(name);
  }

  function showBroken(key) {
    const file = key.slice(5);
    const name = file.replace(/\.txt$/i, "");
    const problem = app.overview.problems.find((other) => other.file === file);
    if (!problem) {
      if (app.row(name)) app.select(name);
      else app.close(name);
      return;
    }
    app.editor.showBlank(
      el("p", { class: "rs-strong" }, `${file} cannot be used`),
      el("p", {}, problem.message),
      el(
        "p",
        { class: "rs-small" },
        `The file is in ${app.overview.folder}; nothing in it was changed. When it is mended, it appears here by itself.`,
      ),
      el(
        "div",
        { class: "rs-notice-actions" },
        button({
          symbol: "history",
          label: "Earlier versions",
          kind: "soft",
          onclick: () => app.dialogs.history(name),
        }),
        button({
          symbol: "trash",
          label: "Move to the trash",
          kind: "soft",
          "data-writes": true,
          onclick: () => app.dialogs.remove(key),
        }),
      ),
    );
  }

  function welcome() {
    if (app.overview.error) {
      app.editor.showBlank(
        el("p", { class: "rs-strong", role: "alert" }, "The descriptions cannot be read"),
        el("p", {}, app.overview.error),
      );
      return;
    }
    const writes = { "data-writes": true };
    app.editor.showBlank(
      el("p", { class: "rs-strong" }, "Write the first concept"),
      el(
        "p",
        {},
        "A concept is something to read out of the model, such as calm. Describe it in the first person, two or three sentences at a time; eight descriptions are a good start. Then train.",
      ),
      el(
        "div",
        { class: "rs-notice-actions" },
        button({
          symbol: "add",
          label: "New concept",
          kind: "primary",
          onclick: () => app.dialogs.create(),
          ...writes,
        }),
        button({
          symbol: "import",
          label: "Import a set",
          kind: "soft",
          onclick: () => app.exchange.importSet(),
          ...writes,
        }),
      ),
    );
  }

  app.list = makeList(app);
  app.editor = makeEditor(app);
  app.dialogs = makeDialogs(app);
  app.exchange = makeExchange(app);
  app.root.append(app.list.root, app.editor.root);
  app.root.addEventListener("keydown", (event) => {
    const command = event.ctrlKey || event.metaKey;
    if (command && event.key.toLowerCase() === "s") event.preventDefault();
  });
  // The Advice tab asks to open a concept at one of its descriptions.
  document.addEventListener("rs-open", async (event) => {
    const { concept, ...wish } = event.detail;
    const shown = app.editor.state();
    if (shown && shown.name === concept) app.root.classList.add("rs-editing");
    else await app.select(concept, { open: true });
    const now = app.editor.state();
    if (now && now.name === concept) app.editor.act(wish);
  });
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "hidden" && app.editor.dirty()) app.editor.saver.now();
  });

  // Ask what changed, here or by another program; a hidden page asks when it is looked at again.
  const POLL = 1500;

  async function poll() {
    if (!document.hidden && app.root.offsetParent !== null) {
      const answer = await app.call("read_overview", { revision: app.overview.revision });
      app.root.classList.toggle("rs-offline", Boolean(answer.offline));
      if (answer.ok) app.applyOverview(answer.overview);
    }
    if (app.root.isConnected) setTimeout(poll, POLL);
  }

  const header = document.getElementById("header");
  if (header) {
    new ResizeObserver(() =>
      app.root.style.setProperty("--rs-sticky-top", `${app.covered() + 14}px`),
    ).observe(header);
  }

  async function start() {
    const answer = await app.call("read_overview", { revision: "" });
    if (!answer.ok) {
      app.tell(answer.message);
      setTimeout(start, POLL);
      return;
    }
    app.applyOverview(answer.overview);
    const last = remembered(`readout-ui:last:${app.overview.folder}`);
    const row = app.row(last) || app.overview.rows[0];
    if (row) await app.select(row.name);
    else welcome();
    setTimeout(poll, POLL);
  }

  start();
}
