// What is behind the gear: layer, unit, order and template tokens.

import { el } from "../lib/dom.js";

const UNITS = { z: "z, from neutral tokens", cosine: "cosine", raw: "raw (along a row only)" };
const ORDERS = {
  mean: "Highest mean first",
  peak: "Highest peak first",
  alphabet: "A to Z",
  similarity: "Similar together",
};

export class Gear {
  // `look`: what is chosen now; `changed(name, value)`.
  constructor(look, changed) {
    this.layer = el("input", { type: "range", id: "rd-layer", min: 0, max: 1, step: 1 });
    this.shown = el("output", { for: "rd-layer" });
    this.unit = select("rd-unit", UNITS, look.kind);
    this.order = select("rd-order", ORDERS, look.order);
    this.template = el("input", { type: "checkbox", id: "rd-template" });
    this.template.checked = look.template;
    this.best = el("p", { class: "rd-sub" });
    this.element = el(
      "div",
      { class: "rd-pop", role: "dialog", "aria-label": "How to read", hidden: true },
      field("rd-layer", "Layer", el("span", { class: "rd-layer" }, this.layer, this.shown)),
      this.best,
      field("rd-unit", "Unit", this.unit),
      field("rd-order", "Order", this.order),
      el(
        "label",
        { class: "rd-field" },
        el("span", {}, "Template"),
        el("span", {}, this.template, " show its tokens"),
      ),
    );
    this.layer.addEventListener("input", () =>
      changed("layer", this.layers[Number(this.layer.value)]),
    );
    this.unit.addEventListener("change", () => changed("kind", this.unit.value));
    this.order.addEventListener("change", () => changed("order", this.order.value));
    this.template.addEventListener("change", () => changed("template", this.template.checked));
  }

  // The layers of a reading, and the one shown.
  show(layers, layer, best) {
    this.layers = layers;
    this.layer.max = Math.max(1, layers.length - 1);
    this.layer.disabled = layers.length < 2;
    this.layer.value = layers.indexOf(layer);
    this.layer.setAttribute("aria-valuetext", `layer ${layer}`);
    this.shown.textContent = layer;
    this.best.textContent = `best layer of this run: ${best}`;
  }
}

function select(id, options, value) {
  const list = el(
    "select",
    { id },
    Object.entries(options).map(([key, words]) => el("option", { value: key }, words)),
  );
  list.value = value;
  return list;
}

function field(id, label, control) {
  return el("div", { class: "rd-field" }, el("label", { for: id }, label), control);
}

// Opens and closes a popover by its button; a click elsewhere or Escape closes it.
export function popover(opener, element) {
  const show = (open) => {
    element.hidden = !open;
    opener.setAttribute("aria-expanded", String(open));
    if (open) element.querySelector("input:not(:disabled), select, button")?.focus();
  };
  opener.setAttribute("aria-expanded", "false");
  opener.addEventListener("click", () => show(element.hidden));
  document.addEventListener("pointerdown", (event) => {
    if (!element.hidden && !element.contains(event.target) && !opener.contains(event.target))
      show(false);
  });
  element.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    show(false);
    opener.focus();
  });
  return { close: () => show(false) };
}
