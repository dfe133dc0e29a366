// Small pieces of page. Text only ever enters as text nodes or attributes, never as markup.

export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? "" : String(value));
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

const ICONS = {
  add: "M8 3v10M3 8h10",
  back: "M10 3 5 8l5 5",
  close: "M4 4l8 8M12 4l-8 8",
  copy: "M6 6h7v7H6zM10 6V3H3v7h3",
  down: "M8 3v10M4 9l4 4 4-4",
  export: "M8 10V2M5 5l3-3 3 3M3 10v3h10v-3",
  history: "M3 8a5 5 0 1 0 1.6-3.7M3 2.5v3h3M8 5.5V8l2 1.5",
  import: "M8 2v8M5 7l3 3 3-3M3 10v3h10v-3",
  redo: "M11 3l3 3-3 3M14 6H6.5a3.5 3.5 0 0 0 0 7H9",
  rename: "M3 13l.7-3L10.5 3.2l2.3 2.3L6 12.3zM9 4.8l2.2 2.2",
  search: "M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9M10.3 10.3l3.2 3.2",
  trash: "M3 4.5h10M6.5 4.5v-2h3v2M4.5 4.5l.6 9h5.8l.6-9",
  undo: "M5 3 2 6l3 3M2 6h7.5a3.5 3.5 0 0 1 0 7H7",
  up: "M8 13V3M4 7l4-4 4 4",
};

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("class", "rs-icon");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

// A button; `symbol` is an icon's name, `label` its words. Icon-only buttons keep the label as name.
export function button({ symbol, label, kind = "quiet", iconOnly = false, title, ...rest }) {
  const words = iconOnly ? [] : [el("span", {}, label)];
  return el(
    "button",
    {
      type: "button",
      class: `rs-button rs-${kind}${iconOnly ? " rs-icon-only" : ""}`,
      "aria-label": iconOnly ? label : null,
      title: title || (iconOnly ? label : null),
      ...rest,
    },
    symbol ? icon(symbol) : null,
    words,
  );
}

// "1 pair", "19,900 pairs".
export function plural(n, one, many = `${one}s`) {
  return `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
}

export function tableHead(titles) {
  const cells = titles.map((title) => el("th", { scope: "col" }, title));
  return el("thead", {}, el("tr", {}, cells));
}

// "today 14:03", "Tue 3 Mar, 09:12": short, local, never relative, so that it stays true.
export function moment(iso) {
  const when = new Date(iso);
  const time = when.toLocaleTimeString([], {
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
  });
  if (when.toDateString() === new Date().toDateString()) return `today ${time}`;
  const day = when.toLocaleDateString([], {
    weekday: "short",
    day: "numeric",
    month: "short",
    year: "numeric",
  });
  return `${day}, ${time}`;
}

// Where a sheet that belongs to no room stands: the page's styles apply there.
export function page() {
  return document.querySelector(".gradio-container .contain") ?? document.body;
}

// A modal sheet: title, body, close button; Escape closes it and focus goes back where it was.
export function openSheet(host, title, body, { wide = false } = {}) {
  const before = document.activeElement;
  const heading = el("h3", {}, title);
  const sheet = el("dialog", { class: `rs-sheet${wide ? " rs-wide" : ""}`, "aria-label": title });
  const close = () => sheet.close();
  sheet.append(
    el(
      "div",
      { class: "rs-sheet-head" },
      heading,
      button({ symbol: "close", label: "Close", iconOnly: true, onclick: close }),
    ),
    el("div", { class: "rs-sheet-body" }, body),
  );
  sheet.addEventListener("close", () => {
    sheet.remove();
    if (before?.isConnected) before.focus();
  });
  sheet.addEventListener("click", (event) => {
    if (event.target === sheet) close();
  });
  // The page's own shortcuts stay out of the sheet.
  sheet.addEventListener("keydown", (event) => event.stopPropagation());
  host.append(sheet);
  sheet.showModal();
  return { sheet, close, heading };
}

// A line in which a dialog says what went wrong.
export function messageLine() {
  return el("p", { class: "rs-message", role: "alert", hidden: true });
}

export function say(line, message) {
  line.textContent = message || "";
  line.hidden = !message;
}

export function remembered(key) {
  try {
    return window.localStorage.getItem(key);
  } catch {
    return null; // storage is switched off: the page works without it
  }
}

export function remember(key, text) {
  try {
    if (text === null) window.localStorage.removeItem(key);
    else window.localStorage.setItem(key, text);
    return true;
  } catch {
    return false;
  }
}
