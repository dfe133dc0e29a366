// One text: a box that grows with it, its numbers, its tools, and what there is to say about it.

import { button, el, plural } from "../lib/dom.js";
import { decimals } from "../lib/scale.js";
import { conceptLink } from "./list_rows.js";

export const GROWS_ITSELF = window.CSS && CSS.supports("field-sizing", "content");

const MEANING = {
  own: "Its score on this concept, left out: standard deviations above the texts of others",
  "pulls to": "The concept that it brings this one closest to, and its score there",
  influence: "How far the direction turns without it: 1 − cosine",
};

export function fitHeight(area) {
  if (GROWS_ITSELF) return;
  area.style.height = "auto";
  area.style.height = `${area.scrollHeight}px`;
}

// A row of buttons that is one stop for the Tab key; left and right move inside.
function toolbar(label, tools) {
  tools.forEach((tool, i) => {
    tool.tabIndex = i ? -1 : 0;
  });
  const step = (event) => {
    const usable = tools.filter((tool) => !tool.disabled);
    const at = usable.indexOf(document.activeElement);
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by || at < 0 || event.altKey) return;
    event.preventDefault();
    const next = usable[(at + by + usable.length) % usable.length];
    for (const tool of tools) tool.tabIndex = tool === next ? 0 : -1;
    next.focus();
  };
  return el(
    "div",
    { class: "rs-box-tools", role: "toolbar", "aria-label": label, onkeydown: step },
    tools,
  );
}

export function findingLine(finding) {
  return el(
    "li",
    { class: `rs-finding rs-${finding.severity}` },
    el(
      "span",
      { class: "rs-finding-mark", "aria-hidden": "true" },
      finding.severity === "hint" ? "·" : "!",
    ),
    el(
      "span",
      {},
      finding.message,
      finding.suggestion ? el("span", { class: "rs-suggestion" }, ` ${finding.suggestion}`) : null,
    ),
  );
}

// A sentence with the name of another concept as a link.
function withLink(sentence, name) {
  const at = name ? sentence.indexOf(name) : -1;
  if (at < 0) return [sentence];
  return [sentence.slice(0, at), conceptLink(name), sentence.slice(at + name.length)];
}

export class DescriptionBox {
  // `editor`: is told the box's id when it is typed in, moved, copied or removed.
  constructor({ id, text }, editor, readOnly) {
    this.id = id;
    this.editor = editor;
    this.area = el("textarea", {
      class: "rs-text",
      rows: "2",
      spellcheck: "true",
      readonly: readOnly,
      id: `rs-box-${id}`,
      placeholder: "First person, two or three sentences: what it is like from inside.",
      oninput: (event) => editor.typed(id, event),
      onkeydown: (event) => editor.boxKeys(id, event),
    });
    this.area.value = text;
    this.number = el("span", { class: "rs-number", "aria-hidden": "true" });
    this.tokens = el("span", { class: "rs-tokens" });
    this.scores = el("div", { class: "rs-nums" });
    this.findings = el("ul", { class: "rs-findings" });
    this.note = el("p", { class: "rs-note", hidden: true });
    this.tools = [
      ["up", "Move up (Alt+↑)", () => editor.move(id, -1)],
      ["down", "Move down (Alt+↓)", () => editor.move(id, 1)],
      ["copy", "Duplicate (Alt+Shift+↓)", () => editor.copy(id)],
      ["trash", "Remove", () => editor.remove(id)],
    ].map(([symbol, label, onclick]) => button({ symbol, label, iconOnly: true, onclick }));
    this.toolbar = readOnly ? null : toolbar("This text", this.tools);
    this.root = el(
      "li",
      { class: "rs-box", "data-box": id },
      this.number,
      el("div", { class: "rs-box-text" }, this.area, this.note, this.findings),
      el("div", { class: "rs-box-side" }, this.scores, this.tokens, this.toolbar),
    );
  }

  // `fixed`: shown in another order than the file's, so that nothing can be moved.
  place(index, count, fixed) {
    const [up, down, copy] = this.tools;
    this.number.textContent = String(index + 1);
    this.area.setAttribute("aria-label", `Description ${index + 1} of ${count}`);
    const [first, last] = [fixed || index === 0, fixed || index === count - 1];
    if (up.disabled !== first) up.disabled = first;
    if (down.disabled !== last) down.disabled = last;
    if (this.toolbar && !this.toolbar.querySelector("button[tabindex='0']:not(:disabled)")) {
      for (const tool of this.tools) tool.tabIndex = -1;
      (up.disabled ? copy : up).tabIndex = 0;
    }
  }

  fit() {
    fitHeight(this.area);
  }

  setText(text) {
    if (this.area.value === text) return;
    this.area.value = text;
    this.fit();
  }

  // `found`: the text's part of the report; null for one that was not judged as it stands.
  setJudged(found) {
    if (found === this.judged) return;
    this.judged = found;
    this.scores.replaceChildren(...(found ? this.buildScores(found) : []));
    if (found?.advice) this.sayAdvice(found);
    else this.note.replaceChildren();
    this.note.hidden = !found?.advice;
  }

  buildScores({ own, pulls_to: other, pull, influence, advice }) {
    const line = (title, ...value) => [
      el("span", { title: MEANING[title] }, title),
      el("span", {}, value),
    ];
    const pulled = el(
      "span",
      { class: advice ? "rs-v rs-v-warn" : "" },
      other ? conceptLink(other) : "",
      ` ${decimals(pull, 2)}`,
    );
    return [
      ...line("own", el("b", {}, decimals(own, 2) || "–")),
      ...(other ? line("pulls to", pulled) : []),
      ...line("influence", decimals(influence, 2) || "–"),
    ];
  }

  sayAdvice({ advice, pulls_to: other }) {
    const { app, state } = this.editor;
    const both = el(
      "button",
      { type: "button", class: "rs-link", onclick: () => app.comparing.open(state.name, other) },
      "Show both",
    );
    this.note.replaceChildren(...withLink(advice, other), " ", other ? both : "");
  }

  // `line`: what the text did to the vectors; null while that is being worked out.
  setReview(found, count, line) {
    const known = (value) => value !== null && value !== undefined;
    if (known(line) && !this.judged) {
      this.note.textContent = line;
      this.note.hidden = !line;
    }
    this.tokens.textContent = known(count) ? plural(count, "token") : "";
    this.findings.replaceChildren(...found.map(findingLine));
    const serious = found.some((finding) => finding.severity !== "hint");
    this.root.classList.toggle("rs-has-findings", serious);
  }
}
