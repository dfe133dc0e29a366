// The transcript: one block per speaker, tokens coloured, turns that can be edited and answered anew.

import { el } from "../lib/dom.js";
import { colourOf, isScored, speechParts } from "./scores.js";
import { sameTurns } from "./store.js";

const SPEAKERS = { system: "System", user: "You", assistant: "Model" };

// Text area in which Enter sends, Shift+Enter begins a line and text sets the height.
export function growingBox(attributes, send) {
  const fit = () => {
    box.style.height = "auto";
    box.style.height = `${Math.min(260, box.scrollHeight + 2)}px`;
  };
  const box = el("textarea", {
    rows: 1,
    ...attributes,
    oninput: () => {
      fit();
      attributes.typed?.(box.value);
    },
    onkeydown: (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      send(box.value);
    },
  });
  box.fit = fit;
  return box;
}

export function buildTranscript(chat, look, act) {
  const list = el("div", {
    class: "lv-turns",
    tabindex: "0",
    role: "log",
    "aria-label": "Chat",
    "aria-live": "off",
  });
  let spans = [];
  let live = null;

  list.addEventListener("click", (event) => {
    const token = event.target.closest("[data-i]");
    if (token) act.select(Number(token.dataset.i));
  });
  list.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || event.target !== list) return;
    event.preventDefault();
    act.step(step);
  });
  list.addEventListener("mouseover", (event) => {
    const token = event.target.closest("[data-i]");
    if (token) token.title = act.describe(Number(token.dataset.i));
  });

  function tokenSpan(speech, index) {
    const piece =
      chat.template || isScored(speech, index) || speech.roles[index] !== "template"
        ? speech.pieces[index]
        : "";
    const span = el("span", { class: "lv-token", "data-i": index }, piece);
    spans[index] = span;
    return span;
  }

  function body(speech, positions, text) {
    if (!positions) return el("div", { class: "lv-text" }, text);
    return el(
      "div",
      { class: "lv-text" },
      positions.map((index) => tokenSpan(speech, index)),
    );
  }

  function editor(turn, at) {
    const save = (text) => act.save(at, text);
    const box = growingBox(
      {
        class: "lv-input lv-edit",
        "aria-label": `Edit turn ${at + 1}`,
        typed: (text) => {
          chat.editing.text = text;
          act.keep();
        },
      },
      save,
    );
    box.value = chat.editing.text;
    box.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      act.leave();
    });
    const words = turn.role === "user" ? "Answer anew" : "Save";
    queueMicrotask(() => {
      if (box.isConnected) box.fit();
    });
    return [
      box,
      el(
        "div",
        { class: "lv-actions lv-shown" },
        el(
          "button",
          {
            type: "button",
            class: "lv-small lv-strong",
            onclick: () => save(box.value),
          },
          words,
        ),
        el("button", { type: "button", class: "lv-small", onclick: () => act.leave() }, "Cancel"),
      ),
    ];
  }

  function actions(turn, at) {
    const one = (label, title, onclick) =>
      el("button", { type: "button", class: "lv-small", title, onclick }, label);
    const again = turn.role === "assistant" || at === chat.turns.length - 1;
    return el(
      "div",
      { class: "lv-actions" },
      one("Edit", "Change this turn and go on from it", () => act.edit(at)),
      again
        ? one("Regenerate", "Answer anew with the next seed; Undo brings this back", () =>
            act.regenerate(turn.role === "assistant" ? at : at + 1),
          )
        : null,
      one("Copy", "Copy the text", () => navigator.clipboard?.writeText(turn.text)),
    );
  }

  function block(role, content, tools = null) {
    return el(
      "article",
      { class: `lv-turn lv-${role}` },
      el("header", {}, el("b", {}, SPEAKERS[role]), tools),
      content,
    );
  }

  function templateRun(speech, run) {
    return el(
      "div",
      { class: "lv-template", title: "Template tokens" },
      run.positions.map((index) => tokenSpan(speech, index)),
    );
  }

  function turnBlock(turn, at, speech, parts, busy) {
    if (chat.editing?.at === at) return block(turn.role, editor(turn, at));
    const answered = speech?.ending && at === speech.base.length;
    const known =
      speech && sameTurns(chat.turns, speech.base, Math.min(at + 1, speech.base.length));
    let positions = null;
    if (known && at < speech.base.length && parts.spoken) positions = parts.spoken[at].positions;
    if (known && answered && turn.text === speech.ending.text) positions = parts.answer;
    return block(turn.role, body(speech, positions, turn.text), busy ? null : actions(turn, at));
  }

  function systemBlock(speech, parts) {
    const run = speech && parts.runs.find((one) => one.role === "system");
    if (run) return block("system", body(speech, run.positions, ""));
    return chat.system.trim() ? block("system", body(null, null, chat.system)) : null;
  }

  return {
    list,
    spans: () => spans,
    // Everything anew: turns came, went or are being edited.
    draw(speech, busy) {
      const end = list.scrollHeight - list.scrollTop - list.clientHeight < 90;
      const top = list.scrollTop;
      spans = [];
      live = null;
      const parts = speech ? speechParts(speech) : null;
      const blocks = chat.turns.map((turn, at) => turnBlock(turn, at, speech, parts, busy));
      let shown = [systemBlock(speech, parts), ...blocks];
      const whole =
        speech &&
        parts.spoken &&
        chat.template &&
        sameTurns(speech.base, chat.turns, speech.base.length);
      if (whole) {
        const rest = [...shown];
        shown = parts.runs.map((run) => {
          if (run.role === "template") return templateRun(speech, run);
          return run.role === "system" ? rest.splice(0, 1, null)[0] : rest.splice(1, 1)[0];
        });
        shown.unshift(rest.shift());
        shown.push(...rest);
      }
      if (busy) {
        live = el("span", {});
        const caret = el("span", { class: "lv-caret", "aria-hidden": "true" });
        shown.push(block("assistant", el("div", { class: "lv-text" }, live, caret)));
        if (speech) this.grow(speech);
      }
      list.replaceChildren(...shown.filter(Boolean));
      list.scrollTop = end ? list.scrollHeight : top;
    },
    // New tokens of the answer under way.
    grow(speech) {
      if (!live || !speech.source) return;
      for (let index = speech.source.n_prompt; index < speech.rows.length; index += 1) {
        if (speech.roles[index] === "assistant" && !spans[index]) {
          live.append(tokenSpan(speech, index));
        }
      }
    },
    // From token `first` on; the ones before have their colours.
    colour(speech, column, first) {
      spans.slice(first).forEach((span, place) => {
        const index = first + place;
        const scored = column >= 0 && isScored(speech, index) && index < speech.rows.length;
        const score = scored ? speech.rows[index][column] : 0;
        span.style.background = scored ? colourOf(score, speech.reach, look) : "";
      });
    },
    mark(selected) {
      list.querySelector(".lv-selected")?.classList.remove("lv-selected");
      if (selected !== null) spans[selected]?.classList.add("lv-selected");
    },
  };
}
