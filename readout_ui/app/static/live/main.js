// Puts the Live page together. In scope from Gradio: element, server.

import { el, plural, say } from "../lib/dom.js";
import { ABOUT_ROWS, buildBars, TOP_ROWS } from "./bars.js";
import { buildTranscript, growingBox } from "./chat.js";
import { buildMap } from "./map.js";
import { answerPositions, colourOf, emptySpeech, fitReach, meanRow, takeNews } from "./scores.js";
import { buildSettings, setOptions } from "./settings.js";
import { keepChat, loadChat, rememberTurns } from "./store.js";

export function start({ element, trigger, server }) {
  const POLL_MS = 120;
  // A token's own scores jump far more than their mean.
  const STEADY_NOW = 0.25;
  const STEADY_MEAN = 0.06;
  const root = element.querySelector(".rs-live");
  const look = JSON.parse(root.dataset.look);
  const chat = loadChat(look.sampling);
  let speech = null;
  let selected = null;
  let ready = false;
  let fault = "";
  let painted = { key: "", n: 0 };

  // Gradio answers undefined, or throws, when the server did not.
  const ask = async (name, request) => {
    const answer = await Promise.resolve(server[name](request)).catch(() => undefined);
    return (
      answer || {
        ok: false,
        offline: true,
        message: "The app does not answer. It may be restarting.",
      }
    );
  };
  const keep = () => keepChat(chat);
  const busy = () => speech !== null && ["waiting", "running"].includes(speech.state);
  const column = () => (speech?.source ? speech.source.concepts.indexOf(chat.concept) : -1);

  const act = {
    keep,
    pick: (name) => {
      chat.concept = name;
      keep();
      paint();
    },
    select(index, concept = null) {
      if (concept) chat.concept = concept;
      selected = selected === index && !concept ? null : index;
      keep();
      paint();
    },
    step(by) {
      const at = (selected ?? speech?.rows.length ?? 0) + by;
      if (speech && at >= 0 && at < speech.rows.length) {
        selected = at;
        paint();
      }
    },
    describe(index) {
      const score =
        column() < 0 ? "" : `\n${chat.concept} ${speech.rows[index][column()].toFixed(2)}`;
      return `${speech.tokens[index]} · token ${index} · ${speech.roles[index]}${score}`;
    },
    edit(at) {
      chat.editing = { at, text: chat.turns[at].text };
      keep();
      draw();
      focusEdit();
    },
    leave() {
      chat.editing = null;
      keep();
      draw();
      composer.focus();
    },
    save(at, text) {
      if (!text.trim()) {
        say(line, "A turn cannot be empty.");
        return;
      }
      const { role } = chat.turns[at];
      rememberTurns(chat);
      chat.editing = null;
      chat.turns = [...chat.turns.slice(0, at), { role, text }];
      if (role === "user") answerTurns();
      else {
        keep();
        draw();
        composer.focus();
      }
    },
    regenerate(at) {
      if (chat.turns.length > at) rememberTurns(chat);
      chat.turns = chat.turns.slice(0, at);
      chat.sampling.seed = (Number(chat.sampling.seed) || 0) + 1;
      settings.showSeed();
      answerTurns();
    },
  };

  const transcript = buildTranscript(chat, look, act);
  const settings = buildSettings(chat, look, (what) => {
    keep();
    if (what === "layer" || what === "kind") reread();
    else if (what === "concept") paint();
    else if (what === "template" || what === "system") draw();
  });
  const line = el("p", { class: "lv-message", role: "alert", hidden: true });
  const status = el("p", { class: "lv-status", role: "status" });
  const composer = growingBox(
    {
      id: "live-composer",
      class: "lv-input",
      "aria-label": "Message",
      placeholder: "Write to the model. Enter sends, Shift+Enter begins a line, Esc stops.",
      typed: (text) => {
        chat.draft = text;
        keep();
      },
    },
    () => send(),
  );
  composer.value = chat.draft;
  const tool = (id, label, title, onclick, kind = "") =>
    el("button", { type: "button", id, class: `lv-button ${kind}`, title, onclick }, label);
  const sendButton = tool("live-send", "Send", "Enter", () => send(), "lv-primary");
  const stopButton = tool("live-stop", "Stop", "Esc", () => stop(), "lv-primary");
  const undoButton = tool("live-undo", "Undo", "Bring back the turns before the last change", () =>
    undo(),
  );
  const newButton = tool("live-new", "New chat", "Begin anew; Undo brings this chat back", () => {
    rememberTurns(chat);
    chat.turns = [];
    chat.asked = null;
    chat.editing = null;
    speech = null;
    selected = null;
    say(line, "");
    keep();
    draw();
    composer.focus();
  });
  const about = buildBars("About to answer", ABOUT_ROWS, look, act.pick);
  const bars = buildBars("Top concepts", TOP_ROWS, look, act.pick);
  const barsTitle = el("h3", { class: "lv-title" });
  const barsDetail = el("p", { class: "lv-detail" });
  const map = buildMap(look, act);
  const meanBox = el("input", {
    type: "checkbox",
    id: "live-mean",
    onchange: () => {
      chat.mean = meanBox.checked;
      keep();
      paint();
    },
  });
  meanBox.checked = chat.mean;
  const readings = el(
    "aside",
    { class: "lv-side", hidden: true },
    el(
      "section",
      { class: "lv-card", id: "live-about" },
      el("h3", { class: "lv-title" }, "About to answer"),
      el("p", { class: "lv-detail" }, "At the prompt's last token, before the first word"),
      about.list,
    ),
    el(
      "section",
      { class: "lv-card", id: "live-bars" },
      el(
        "div",
        { class: "lv-head" },
        barsTitle,
        el("label", { class: "lv-check" }, meanBox, el("span", {}, "Running mean")),
      ),
      barsDetail,
      bars.list,
    ),
  );
  const legend = el("div", { class: "lv-legend", hidden: true });
  const mapTitle = el("p", { class: "lv-map-title" });

  root.replaceChildren(
    el(
      "div",
      { class: "lv-main" },
      settings.bar,
      legend,
      transcript.list,
      line,
      status,
      el(
        "div",
        { class: "lv-compose" },
        composer,
        el(
          "div",
          { class: "lv-tools" },
          newButton,
          undoButton,
          el("span", { class: "lv-space" }),
          stopButton,
          sendButton,
        ),
      ),
      settings.more,
    ),
    readings,
    el("section", { class: "lv-wide" }, mapTitle, map.box, map.tip),
  );
  map.clear();

  function focusEdit() {
    const box = root.querySelector(".lv-edit");
    box?.focus();
    box?.setSelectionRange(box.value.length, box.value.length);
  }

  function follow() {
    const { list } = transcript;
    if (list.scrollHeight - list.scrollTop - list.clientHeight < 90) {
      list.scrollTop = list.scrollHeight;
    }
  }

  function draw() {
    transcript.draw(speech?.source ? speech : null, busy());
    list_state();
    paint(true);
  }

  function list_state() {
    stopButton.hidden = !busy();
    sendButton.hidden = busy();
    sendButton.disabled = !ready;
    undoButton.hidden = chat.past.length === 0 || busy();
    newButton.hidden = chat.turns.length === 0 || busy();
    transcript.list.hidden = chat.turns.length === 0 && !busy() && !chat.system.trim();
    status.textContent = statusWords();
  }

  function statusWords() {
    if (fault) return fault;
    if (!speech) {
      return chat.turns.length ? "" : "Nothing said yet. Everything stays on this machine.";
    }
    if (speech.state === "waiting") {
      const { before } = speech;
      if (!before.length) return "Waiting for the device";
      return `${plural(before.length, "job")} before this one: ${before.join(", ")}`;
    }
    const { made } = speech;
    if (speech.state === "running") {
      return made ? `Answering · ${plural(made, "token")}` : "Reading the chat";
    }
    if (!speech.ending) return "";
    const { n_tokens: count, seconds, finish, note } = speech.ending;
    const ways = {
      end: "ended by itself",
      length: "cut at the longest answer",
      stopped: "stopped",
    };
    const pace = `${plural(count, "token")} in ${seconds.toFixed(1)} s`;
    return [`${pace}, ${ways[finish]}`, note].filter(Boolean).join(". ");
  }

  // Colours, bars and heatmap from what is here; `afresh` where colours changed for every token.
  function paint(afresh = false) {
    const there = speech?.source && speech.rows.length > 0;
    readings.hidden = !there;
    legend.hidden = !there;
    root.classList.toggle("lv-read", Boolean(there));
    if (!there) {
      map.clear();
      return;
    }
    const { source } = speech;
    if (!source.concepts.includes(chat.concept)) chat.concept = loudest();
    if (selected !== null && selected >= speech.rows.length) selected = null;
    setOptions(
      settings.concept,
      source.concepts.map((name) => [name, name]),
      chat.concept,
    );
    setOptions(
      settings.layer,
      source.layers.map((layer) => [`${layer}${layer === source.best ? " (best)" : ""}`, layer]),
      shownLayer(),
    );
    const reach = fitReach(speech, look.quantile);
    const rescaled = reach !== speech.reach;
    speech.reach = reach;
    const key = `${chat.concept} ${reach}`;
    transcript.colour(speech, column(), afresh || key !== painted.key ? 0 : painted.n);
    painted = { key, n: speech.rows.length };
    transcript.mark(selected);
    map.draw(speech, afresh || rescaled, chat.concept, selected);
    paintBars();
    paintLegend();
  }

  function shownLayer() {
    return speech.source.layers.includes(chat.layer) ? chat.layer : speech.source.best;
  }

  function loudest() {
    const row = speech.rows[Math.min(speech.source.n_prompt, speech.rows.length) - 1];
    return speech.source.concepts[row.indexOf(Math.max(...row))];
  }

  function paintBars() {
    const { source, rows, reach } = speech;
    if (rows.length >= source.n_prompt) {
      about.draw(source.concepts, rows[source.n_prompt - 1], reach, chat.concept, 0);
    }
    const last = selected ?? rows.length - 1;
    const answered = answerPositions(speech, last);
    const over = chat.mean && answered.length > 0;
    const steady = busy() && selected === null ? (over ? STEADY_MEAN : STEADY_NOW) : 0;
    const at = selected ?? answered[answered.length - 1] ?? last;
    bars.draw(
      source.concepts,
      over ? meanRow(speech, answered) : rows[at],
      reach,
      chat.concept,
      steady,
    );
    barsTitle.textContent = over
      ? "Mean of the answer"
      : selected === null
        ? "Now"
        : "Selected token";
    const place = `“${speech.tokens[at]}” · token ${at} · ${speech.roles[at]}`;
    barsDetail.textContent = over ? `Over ${plural(answered.length, "token")}` : place;
  }

  function paintLegend() {
    const { reach } = speech;
    const stops = [-1, -0.5, 0, 0.5, 1]
      .map((share) => colourOf(share * reach, reach, look))
      .join(",");
    legend.replaceChildren(
      el("b", {}, chat.concept),
      ` · layer ${shownLayer()} · `,
      el(
        "span",
        { class: "lv-scale" },
        `−${reach.toFixed(2)} `,
        el("i", { class: "lv-ramp", style: `background:linear-gradient(90deg,${stops})` }),
        ` ${reach.toFixed(2)}`,
      ),
      ` ${look.units[chat.kind]}`,
    );
    mapTitle.textContent = `Every token and concept · layer ${shownLayer()} · ${chat.kind} from −${reach.toFixed(
      2,
    )} to ${reach.toFixed(2)}`;
  }

  function send() {
    const text = composer.value.trim();
    if (busy() || !ready) return;
    const last = chat.turns[chat.turns.length - 1];
    if (!text && last?.role !== "user") return;
    if (text) {
      chat.turns.push({ role: "user", text });
      composer.value = "";
      composer.fit();
      chat.draft = "";
    }
    answerTurns();
  }

  async function answerTurns() {
    say(line, "");
    selected = null;
    chat.editing = null;
    speech = emptySpeech(
      0,
      chat.turns.map((turn) => ({ ...turn })),
    );
    const mine = speech;
    keep();
    draw();
    transcript.list.scrollTop = transcript.list.scrollHeight;
    const { chat: id, turns, system, sampling } = chat;
    const answer = await ask("live_ask", { chat: id, turns, system, sampling });
    if (speech !== mine) return;
    if (!answer.ok) {
      speech = null;
      say(line, answer.message);
      draw();
      return;
    }
    speech.number = answer.number;
    chat.asked = { number: answer.number, base: speech.base, taken: false };
    keep();
    poll(mine);
  }

  async function poll(mine) {
    while (speech === mine && element.isConnected) {
      await tick(mine);
      if (speech !== mine || !busy()) return;
      await new Promise((resume) => {
        setTimeout(resume, POLL_MS);
      });
    }
  }

  async function tick(mine, afresh = false) {
    const shown = `${chat.layer} ${chat.kind}`;
    const have = afresh ? 0 : mine.rows.length;
    const answer = await ask("live_poll", {
      chat: chat.chat,
      have,
      layer: chat.layer,
      kind: chat.kind,
    });
    if (speech !== mine || shown !== `${chat.layer} ${chat.kind}`) return;
    fault = answer.ok ? "" : answer.message;
    if (!answer.ok) {
      list_state();
      return;
    }
    if (answer.number !== mine.number) {
      lost();
      return;
    }
    const began = mine.rows.length === 0;
    Object.assign(mine, {
      state: answer.state,
      before: answer.before,
      made: answer.made,
      error: answer.error,
    });
    if (answer.source) mine.source = answer.source;
    const came = mine.source !== null && takeNews(mine, answer.news);
    if (answer.ending) mine.ending = answer.ending;
    if (!busy()) {
      finished(mine);
      return;
    }
    if (began && came) draw();
    else if (came) {
      transcript.grow(mine);
      paint(afresh);
    }
    list_state();
    follow();
  }

  // The app was restarted, or another page of the same chat asked.
  function lost() {
    if (!chat.asked?.taken) {
      say(line, "The app was restarted and lost this answer. Press Regenerate.");
    }
    speech = null;
    chat.asked = null;
    keep();
    draw();
  }

  function finished(mine) {
    if (mine.error) say(line, mine.error);
    if (mine.ending && !chat.asked?.taken) {
      if (mine.ending.text.trim()) {
        chat.turns = [...mine.base, { role: "assistant", text: mine.ending.text }];
      } else {
        say(line, "The model ended its answer without a word. Press Regenerate for the next seed.");
      }
      if (chat.asked) chat.asked.taken = true;
      keep();
    }
    draw();
    follow();
  }

  // Layer or unit changed: the same tokens with other scores.
  function reread() {
    if (!speech?.source) return;
    const mine = speech;
    speech.reach = 1e-9;
    if (busy()) {
      speech = { ...mine, rows: [] };
      poll(speech);
      return;
    }
    tick(mine, true);
  }

  function stop() {
    if (busy()) ask("live_stop", { chat: chat.chat });
  }

  function undo() {
    const turns = chat.past.pop();
    if (!turns) return;
    chat.turns = turns;
    chat.editing = null;
    keep();
    draw();
  }

  async function checkReady() {
    const answer = await ask("live_look", {});
    ready = Boolean(answer.ok && answer.ready);
    fault = ready ? "" : answer.ok ? answer.missing : answer.message;
    if (!ready && element.isConnected) setTimeout(checkReady, 2000);
    list_state();
  }

  // After a reload: the answer goes on, or is still there.
  function resume() {
    if (!chat.asked) return;
    speech = emptySpeech(chat.asked.number, chat.asked.base);
    poll(speech);
  }

  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || event.defaultPrevented || root.offsetParent === null) return;
    if (busy()) stop();
    else if (selected !== null) {
      selected = null;
      paint();
    }
  });

  draw();
  composer.fit();
  resume();
  checkReady();
}
