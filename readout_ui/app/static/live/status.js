// What the Live page says about the answer that is being made.

import { plural } from "../lib/dom.js";

const ENDINGS = { end: "ended by itself", length: "cut at the longest answer", stopped: "stopped" };

export function statusWords(stream, asked) {
  if (!stream) return asked ? "" : "Nothing said yet. Everything stays on this machine.";
  const { state, before, made, ending } = stream;
  if (state === "waiting") {
    if (!before.length) return "Waiting for the device";
    return `${plural(before.length, "job")} before this one: ${before.join(", ")}`;
  }
  if (state === "running") {
    return made ? `Answering · ${plural(made, "token")}` : "Reading the chat";
  }
  if (!ending) return "";
  const { n_tokens: count, seconds, finish, note } = ending;
  const pace = `${plural(count, "token")} in ${seconds.toFixed(1)} s`;
  return [`${pace}, ${ENDINGS[finish]}`, note].filter(Boolean).join(". ");
}
