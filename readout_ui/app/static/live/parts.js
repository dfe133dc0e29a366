// What the Live page is made of, and how its parts stand.

import { el } from "../lib/dom.js";
import { growingBox, Transcript } from "./chat.js";
import { Readings } from "./readings.js";
import { buildSettings } from "./settings.js";

// The page's parts by name; they call the page back.
export function buildParts(page) {
  const { chat, look } = page;
  const transcript = new Transcript(chat, look, page);
  const readings = new Readings(look, page, chat.mean);
  const settings = buildSettings(chat, look, (what) => page.changed(what));
  const line = el("p", { class: "lv-message", role: "alert", hidden: true });
  const status = el("p", { class: "lv-status", role: "status" });
  const attributes = {
    id: "live-composer",
    class: "lv-input",
    "aria-label": "Message",
    placeholder: "Write to the model. Enter sends, Shift+Enter begins a line, Esc stops.",
    typed: (text) => {
      chat.draft = text;
      page.keep();
    },
  };
  const composer = growingBox(attributes, () => page.send());
  composer.value = chat.draft;
  const undo = "Bring back the turns before the last change";
  const begin = "Begin anew; Undo brings this chat back";
  const buttons = {
    send: tool("live-send", "Send", "Enter", () => page.send(), "lv-primary"),
    stop: tool("live-stop", "Stop", "Esc", () => page.stop(), "lv-primary"),
    undo: tool("live-undo", "Undo", undo, () => page.undo()),
    begin: tool("live-new", "New chat", begin, () => page.begin()),
  };
  return { transcript, readings, settings, line, status, composer, buttons };
}

// The chat with its settings, buttons and messages.
export function arrange(page) {
  const { send, stop, undo, begin } = page.buttons;
  const space = el("span", { class: "lv-space" });
  const tools = el("div", { class: "lv-tools" }, begin, undo, space, stop, send);
  return el(
    "div",
    { class: "lv-main" },
    page.settings.bar,
    page.readings.legend,
    page.transcript.list,
    page.line,
    page.status,
    el("div", { class: "lv-compose" }, page.composer, tools),
    page.settings.more,
  );
}

function tool(id, label, title, onclick, kind = "") {
  return el("button", { type: "button", id, class: `lv-button ${kind}`, title, onclick }, label);
}
