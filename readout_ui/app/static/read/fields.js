// Fields of the room Read: lists to choose from, sliders of layers, and what stands beside them.

import { el } from "../lib/dom.js";

// `choices`: [value, words] in order.
export function options(choices) {
  return choices.map(([value, words]) => el("option", { value }, words));
}

// `choices`: words by value.
export function choice(choices, attributes) {
  return el("select", attributes, options(Object.entries(choices)));
}

// Names to choose from; a list that offers them already stays as it is.
export function offer(list, names) {
  const all = names.join("\n");
  if (list.dataset.names === all) return;
  list.dataset.names = all;
  list.replaceChildren(...names.map((name) => el("option", {}, name)));
}

// `shown`: what stands beside the label, where that is more than the control.
export function field(label, control, { shown = control, hint = null, kind = "rd-field" } = {}) {
  return el("div", { class: kind, title: hint }, el("label", { for: control.id }, label), shown);
}

// A slider stands at one of the layers that a reading has.
export function showLayer(slider, output, layers, layer) {
  slider.max = Math.max(1, layers.length - 1);
  slider.disabled = layers.length < 2;
  slider.value = layers.indexOf(layer);
  slider.setAttribute("aria-valuetext", `layer ${layer}`);
  output.textContent = layer;
}
