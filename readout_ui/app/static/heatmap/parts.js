// The elements of a score map, empty.

export function make(tag, className, parent, attributes = {}) {
  const node = document.createElement(tag);
  node.className = className;
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  parent.append(node);
  return node;
}

export function buildParts(host, group) {
  const bar = make("div", "map-bar", host);
  const place = make("span", "map-place", bar, { "aria-live": "polite" });
  const buttons = make("span", "map-buttons", bar);
  for (const [act, sign, title] of [
    ["back", "‹", "One page back (Page Up)"],
    ["on", "›", "One page on (Page Down)"],
    ["out", "−", "Zoom out (−)"],
    ["in", "+", "Zoom in (+)"],
    ["all", "Whole text", "Whole text (0)"],
  ]) {
    make("button", "", buttons, {
      type: "button",
      "data-act": act,
      title,
      "aria-label": title,
    }).textContent = sign;
  }
  const overview = make("canvas", "map-overview", host, {
    role: "slider",
    tabindex: "0",
    "aria-label": "Place in the text",
    "aria-valuemin": "1",
  });
  const strip = make("div", "token-strip map-strip", host);
  const ramp = make("div", "strip-legend", host);
  const body = make("div", "map-body", host, {
    role: "group",
    tabindex: "0",
    "aria-label": "Heatmap: arrow keys, Page Up and Page Down move, plus and minus zoom",
  });
  const head = make("canvas", "map-head", body);
  const scroll = make("div", "map-scroll", body);
  const labels = make("div", "row-labels map-labels", scroll);
  const cells = make("canvas", "map-cells", scroll);
  const tip = make("div", "map-tip", host, { role: "tooltip" });
  return {
    host,
    group,
    bar,
    place,
    buttons,
    overview,
    strip,
    ramp,
    body,
    head,
    scroll,
    labels,
    cells,
    tip,
  };
}
