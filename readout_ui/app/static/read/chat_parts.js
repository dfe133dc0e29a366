// What the chat shows: the line to write in, what stands at each turn's head, the list of chats.

import { button, el, moment, plural } from "../lib/dom.js";

export const ENDINGS = {
  end: "ended by itself",
  length: "cut at the longest answer",
  stopped: "stopped",
};

// A text area in which Enter sends, Shift+Enter begins a line and the text sets the height.
export function growingBox(attributes, { typed, send }) {
  const box = el("textarea", { rows: 1, ...attributes });
  box.fit = () => {
    box.style.height = "auto";
    box.style.height = `${Math.min(260, box.scrollHeight + 2)}px`;
  };
  box.addEventListener("input", () => {
    box.fit();
    typed(box.value);
  });
  box.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    send(box.value);
  });
  return box;
}

export const small = (label, onclick, more = {}) =>
  el("button", { type: "button", class: "rc-small", onclick, ...more }, label);

// The line below the text, and what is said of the answer under way.
export function buildReply(chat) {
  const box = growingBox(
    {
      id: "chat-box",
      "aria-label": "Go on with the chat",
      placeholder: "Write on; the model answers",
    },
    { typed: (text) => chat.typed(text), send: () => chat.send() },
  );
  const send = el(
    "button",
    { type: "button", id: "chat-send", class: "btn", onclick: () => chat.send() },
    "Send",
  );
  const stop = el(
    "button",
    {
      type: "button",
      id: "chat-stop",
      class: "btn",
      title: "Esc",
      hidden: true,
      onclick: () => chat.answers.stop(),
    },
    "Stop",
  );
  const pending = el("div", { class: "rc-pending", hidden: true });
  const line = el("p", { class: "rc-message", role: "alert", hidden: true });
  const status = el("p", { class: "rc-status", role: "status" });
  const list = el("div", {
    class: "rd-pop rc-chats",
    role: "dialog",
    "aria-label": "Chats of this browser",
    hidden: true,
  });
  const opener = small("Chats", null, { id: "chat-list", "aria-haspopup": "dialog" });
  const save = small("JSON", () => chat.download(), {
    id: "chat-save",
    title: "Download this chat with all its branches",
  });
  const fresh = small("New chat", () => chat.fresh(), { id: "chat-new" });
  const element = el(
    "div",
    { class: "rc-chat" },
    pending,
    el("div", { class: "rc-reply" }, box, send, stop),
    line,
    el(
      "div",
      { class: "rc-foot" },
      status,
      el("span", { class: "rc-tools" }, fresh, save, opener, list),
    ),
  );
  return { element, box, send, stop, pending, line, status, list, opener, save, fresh };
}

// What stands at the right end of a turn's head: its branch, and what can be done with it.
export function headOf(turn, { branch, busy }, act) {
  const many = branch.of > 1;
  const step = (by, label, sign) =>
    small(sign, () => act.step(turn, by), {
      class: "rc-small rc-step",
      "aria-label": label,
      disabled: by < 0 ? branch.at === 1 : branch.at === branch.of,
    });
  const arrows = many && [
    step(-1, "Branch before", "‹"),
    el(
      "span",
      { class: "rc-branch" },
      el("span", { class: "rc-word" }, "branch "),
      `${branch.at} of ${branch.of}`,
    ),
    step(1, "Next branch", "›"),
  ];
  const star = small(turn.star ? "★" : "☆", () => act.star(turn), {
    class: "rc-small rc-star",
    "aria-label": "Star this branch",
    "aria-pressed": String(Boolean(turn.star)),
    title: turn.star ? "Starred: kept when the oldest chats make room" : "Star this branch",
  });
  const recipe = turn.recipe
    ? el("code", { class: "rc-recipe", title: "What steered this answer" }, turn.recipe)
    : null;
  const again =
    turn.role === "assistant"
      ? small("Again", () => act.again(turn), {
          disabled: busy,
          title: "Another answer, as a branch beside this one",
        })
      : null;
  return [
    recipe,
    ...(arrows || []),
    small("Edit", () => act.edit(turn), {
      disabled: busy,
      title: "Another text here, as a branch beside this one",
    }),
    again,
    many
      ? small("Compare", () => act.compare(turn), { title: "This branch beside another one" })
      : null,
    small("Note", () => act.note(turn), { "aria-expanded": String(Boolean(turn.note)) }),
    star,
  ].filter(Boolean);
}

// The box in which a turn's text is changed.
export function editorOf(turn, text, act) {
  const words = turn.role === "user" ? "Answer anew" : "Keep";
  const box = growingBox(
    { class: "rc-edit-box", "aria-label": "Another text for this turn" },
    { typed: act.typed, send: act.save },
  );
  box.value = text;
  box.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    act.leave();
  });
  queueMicrotask(() => box.isConnected && box.fit());
  const tools = el(
    "div",
    { class: "rc-edit-tools" },
    small(words, () => act.save(box.value), { class: "btn" }),
    small("Cancel", act.leave, { class: "btn quiet" }),
  );
  return el("div", { class: "rc-edit" }, box, tools);
}

export function noteOf(turn, typed) {
  const box = el("input", {
    class: "rc-note",
    "aria-label": "Note on this branch",
    placeholder: "Note on this branch",
  });
  box.value = turn.note || "";
  box.addEventListener("input", () => typed(box.value));
  return box;
}

// Rows of the list of chats.
export function chatRows(chats, here, act) {
  if (!chats.length)
    return [
      el("p", { class: "rd-sub" }, "Chats are kept in this browser, from the first answer on."),
    ];
  return chats.map(({ id, title, n, starred, changed }) =>
    el(
      "div",
      { class: "rc-row" },
      el(
        "button",
        {
          type: "button",
          class: "rc-open",
          "aria-current": id === here ? "true" : null,
          onclick: () => act.open(id),
        },
        el("b", {}, `${starred ? "★ " : ""}${title}`),
        el("span", { class: "rd-sub" }, `${plural(n, "turn")} · ${moment(changed)}`),
      ),
      button({
        symbol: "trash",
        label: `Delete the chat “${title}”`,
        iconOnly: true,
        onclick: () => act.drop(id),
      }),
    ),
  );
}

// What is said of the answer under way, or of the last one.
export function statusWords({ state, before = [], made = 0, ending = null, note = "" }) {
  if (state === "waiting") {
    return before.length
      ? `${plural(before.length, "job")} before this one: ${before.join(", ")}`
      : "Waiting for the device";
  }
  if (state === "running")
    return made ? `Answering · ${plural(made, "token")}` : "Reading the chat";
  if (!ending) return note;
  const { n_tokens: count, seconds, finish } = ending;
  const pace = `${plural(count, "token")} in ${seconds.toFixed(1)} s, ${ENDINGS[finish]}`;
  return [pace, ending.note].filter(Boolean).join(". ");
}
