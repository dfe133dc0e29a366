// One side of a comparison; texts that the other side lacks are marked.

import { el } from "../lib/dom.js";

export function sideBySide(title, texts, others, only = "only here") {
  const lines = texts.map((text) => {
    const shared = others.includes(text);
    const mark = shared ? null : el("span", { class: "rs-only" }, only);
    return el("li", { class: shared ? "" : "rs-differs" }, mark, text);
  });
  return el(
    "div",
    { class: "rs-side" },
    el("h4", {}, title),
    el("ol", {}, lines),
    texts.length ? null : el("p", { class: "rs-small" }, "No descriptions."),
  );
}
