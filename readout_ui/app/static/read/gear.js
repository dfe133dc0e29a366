// What is behind the gear: layer, unit, order and template tokens.

import { el } from "../lib/dom.js";
import { choice, field, showLayer } from "./fields.js";

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
    this.unit = choice(UNITS, { id: "rd-unit" });
    this.unit.value = look.kind;
    this.order = choice(ORDERS, { id: "rd-order" });
    this.order.value = look.order;
    this.template = el("input", { type: "checkbox", id: "rd-template" });
    this.template.checked = look.template;
    this.best = el("p", { class: "rd-sub" });
    this.element = el(
      "div",
      { class: "rd-pop", role: "dialog", "aria-label": "How to read", hidden: true },
      field("Layer", this.layer, {
        shown: el("span", { class: "rd-layer" }, this.layer, this.shown),
      }),
      this.best,
      field("Unit", this.unit),
      field("Order", this.order),
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
    showLayer(this.layer, this.shown, layers, layer);
    this.best.textContent = `best layer of this run: ${best}`;
  }
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
