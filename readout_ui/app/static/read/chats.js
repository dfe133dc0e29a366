// What this browser keeps of its chats, over reloads: every chat under a name of its own.

import { readTree, Tree } from "./tree.js";

const CHAT = "readout-chat:";
const HERE = "readout-chat"; // of this tab
const SETTINGS = "readout-chat-settings";

// `from`: which turn names it, because a text that is read follows the same question always.
export function newChat(system = "", from = 0) {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const id = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return { id, tree: new Tree(), system, from, draft: "", asked: null, changed: "" };
}

// The chat that this tab shows; a new one where there is none.
export function loadChat() {
  return readChat(read(sessionStorage, HERE)) ?? newChat();
}

export function readChat(id) {
  const kept = id ? read(localStorage, CHAT + id) : null;
  if (!kept) return null;
  try {
    const found = JSON.parse(kept);
    return { ...newChat(), ...found, tree: readTree(found.tree) };
  } catch {
    return null; // written by another version, or cut
  }
}

// Keep a chat, and that this tab shows it; the oldest ones without a star make room.
export function keepChat(chat) {
  chat.changed = new Date().toISOString();
  write(sessionStorage, HERE, chat.id);
  const text = JSON.stringify(chat);
  while (!write(localStorage, CHAT + chat.id, text)) {
    const oldest = listChats().findLast((one) => !one.starred && one.id !== chat.id);
    if (!oldest) return false;
    dropChat(oldest.id);
  }
  return true;
}

// This tab shows something else, which is not kept yet.
export function leaveChat() {
  write(sessionStorage, HERE, "");
}

export function dropChat(id) {
  try {
    localStorage.removeItem(CHAT + id);
  } catch {
    // Storage is switched off: there is nothing to drop.
  }
}

// Every chat that is kept, newest first.
export function listChats() {
  const names = [];
  try {
    for (let at = 0; at < localStorage.length; at += 1) names.push(localStorage.key(at));
  } catch {
    return [];
  }
  const chats = names.filter((name) => name?.startsWith(CHAT));
  const found = chats.map((name) => readChat(name.slice(CHAT.length))).filter(Boolean);
  return found
    .map(({ id, tree, from, changed }) => ({
      id,
      changed,
      title: tree.title(from),
      n: Object.keys(tree.turns).length - 1,
      starred: Object.values(tree.turns).some((turn) => turn.star),
    }))
    .sort((one, other) => (one.changed < other.changed ? 1 : -1));
}

// How tokens are chosen, for all chats of this browser.
export function loadSettings(usual) {
  let kept = {};
  try {
    kept = JSON.parse(read(localStorage, SETTINGS) || "{}");
  } catch {
    kept = {};
  }
  const { sampling, ...rest } = kept;
  return {
    system: "",
    thinking: null,
    recipe: "",
    steering: false,
    factors: "0..2:5",
    ...rest,
    sampling: { ...usual, ...sampling },
  };
}

export function keepSettings(settings) {
  write(localStorage, SETTINGS, JSON.stringify(settings));
}

function read(storage, name) {
  try {
    return storage.getItem(name);
  } catch {
    return null; // storage is switched off: the page works without it
  }
}

function write(storage, name, text) {
  try {
    storage.setItem(name, text);
    return true;
  } catch (error) {
    return error.name !== "QuotaExceededError"; // switched off: nothing would make room
  }
}
