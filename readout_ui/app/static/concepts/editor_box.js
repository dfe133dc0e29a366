// One description: a text box that grows with its text, its tools, its token count and findings.

import { button, el, plural } from "../lib/dom.js";

export const GROWS_ITSELF = window.CSS && CSS.supports("field-sizing", "content");

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

export class DescriptionBox {
  // `editor`: is told the box's id when it is typed in, moved, copied or removed.
  constructor({ id, text }, editor, readOnly) {
    this.id = id;
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
    this.findings = el("ul", { class: "rs-findings" });
    this.note = el("p", { class: "rs-note", hidden: true });
    this.tools = [
      ["up", "Move up (Alt+↑)", () => editor.move(id, -1)],
      ["down", "Move down (Alt+↓)", () => editor.move(id, 1)],
      ["copy", "Duplicate (Alt+Shift+↓)", () => editor.copy(id)],
      ["trash", "Remove", () => editor.remove(id)],
    ].map(([symbol, label, onclick]) => button({ symbol, label, iconOnly: true, onclick }));
    this.toolbar = readOnly ? null : toolbar("This description", this.tools);
    this.root = el(
      "li",
      { class: "rs-box", "data-box": id },
      el("div", { class: "rs-box-top" }, this.number, this.tokens, this.toolbar),
      this.area,
      this.note,
      this.findings,
    );
  }

  place(index, count) {
    const [up, down, copy] = this.tools;
    this.number.textContent = String(index + 1);
    this.area.setAttribute("aria-label", `Description ${index + 1} of ${count}`);
    if (up.disabled !== (index === 0)) up.disabled = index === 0;
    if (down.disabled !== (index === count - 1)) down.disabled = index === count - 1;
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

  // `line`: what the text did to the vectors; null while that is being worked out.
  setReview(found, count, line) {
    const known = (value) => value !== null && value !== undefined;
    if (known(line)) this.note.textContent = line;
    this.note.hidden = !this.note.textContent;
    this.tokens.textContent = known(count) ? plural(count, "token") : "";
    this.findings.replaceChildren(...found.map(findingLine));
    const serious = found.some((finding) => finding.severity !== "hint");
    this.root.classList.toggle("rs-has-findings", serious);
  }
}
