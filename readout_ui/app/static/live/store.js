// What a page keeps of its chat: in this browser tab only, over reloads.

const LIVE_KEY = "readout-live-chat";
const UNDO_STEPS = 30;

function newChatId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function freshChat(sampling) {
  return {
    chat: newChatId(),
    turns: [],
    system: "",
    draft: "",
    sampling: { ...sampling },
    asked: null,
    past: [],
    concept: "",
    layer: null,
    kind: "z",
    mean: false,
    template: false,
    thinking: null,
  };
}

export function loadChat(sampling) {
  const fresh = freshChat(sampling);
  try {
    const kept = JSON.parse(sessionStorage.getItem(LIVE_KEY) || "{}");
    return { ...fresh, ...kept, sampling: { ...fresh.sampling, ...kept.sampling } };
  } catch {
    return fresh;
  }
}

export function keepChat(chat) {
  try {
    sessionStorage.setItem(LIVE_KEY, JSON.stringify(chat));
  } catch {
    // Full or switched off: the chat stays on the page, a reload would lose it.
  }
}

// Turns before a change that drops some, so that nothing written is lost.
export function rememberTurns(chat) {
  chat.past = [...chat.past, chat.turns.map((turn) => ({ ...turn }))].slice(-UNDO_STEPS);
}

export function sameTurns(some, others, count) {
  return some
    .slice(0, count)
    .every(
      (turn, at) => others[at] && turn.role === others[at].role && turn.text === others[at].text,
    );
}
