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

// `actions`: typed, move, copy, remove, keys; each is told the box's id.
export function makeBox(box, actions, readOnly) {
  const area = el("textarea", {
    class: "rs-text",
    rows: "2",
    spellcheck: "true",
    readonly: readOnly,
    id: `rs-box-${box.id}`,
    placeholder: "First person, two or three sentences: what it is like from inside.",
    oninput: (event) => actions.typed(box.id, event),
    onkeydown: (event) => actions.keys(box.id, event),
  });
  area.value = box.text;
  const number = el("span", { class: "rs-number", "aria-hidden": "true" });
  const tokens = el("span", { class: "rs-tokens" });
  const findings = el("ul", { class: "rs-findings" });
  const note = el("p", { class: "rs-note", hidden: true });
  const up = button({
    symbol: "up",
    label: "Move up (Alt+↑)",
    iconOnly: true,
    onclick: () => actions.move(box.id, -1),
  });
  const down = button({
    symbol: "down",
    label: "Move down (Alt+↓)",
    iconOnly: true,
    onclick: () => actions.move(box.id, 1),
  });
  const copy = button({
    symbol: "copy",
    label: "Duplicate (Alt+Shift+↓)",
    iconOnly: true,
    onclick: () => actions.copy(box.id),
  });
  const remove = button({
    symbol: "trash",
    label: "Remove",
    iconOnly: true,
    onclick: () => actions.remove(box.id),
  });
  const tools = readOnly ? null : toolbar("This description", [up, down, copy, remove]);
  const root = el(
    "li",
    { class: "rs-box", "data-box": box.id },
    el("div", { class: "rs-box-top" }, number, tokens, tools),
    area,
    note,
    findings,
  );

  function place(index, count) {
    number.textContent = String(index + 1);
    area.setAttribute("aria-label", `Description ${index + 1} of ${count}`);
    if (up.disabled !== (index === 0)) up.disabled = index === 0;
    if (down.disabled !== (index === count - 1)) down.disabled = index === count - 1;
    if (tools && !tools.querySelector("button[tabindex='0']:not(:disabled)")) {
      [up, down, copy, remove].forEach((tool) => {
        tool.tabIndex = -1;
      });
      (up.disabled ? copy : up).tabIndex = 0;
    }
  }

  function setText(text) {
    if (area.value === text) return;
    area.value = text;
    fitHeight(area);
  }

  // `line`: what the text did to the vectors; null while that is being worked out.
  function setReview(found, count, line) {
    if (line !== null && line !== undefined) note.textContent = line;
    note.hidden = !note.textContent;
    tokens.textContent = count === null || count === undefined ? "" : plural(count, "token");
    findings.replaceChildren(...found.map(findingLine));
    root.classList.toggle(
      "rs-has-findings",
      found.some((finding) => finding.severity !== "hint"),
    );
  }

  return { id: box.id, root, area, place, setText, setReview, fit: () => fitHeight(area) };
}
