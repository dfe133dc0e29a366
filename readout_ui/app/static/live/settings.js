// Settings of the chat: what is coloured, how tokens are chosen, the system prompt.

import { el } from "../lib/dom.js";

const SAMPLING_FIELDS = [
  [
    "temperature",
    "Temperature",
    "0 always takes the likeliest token",
    {
      min: 0,
      max: 10,
      step: 0.1,
    },
  ],
  [
    "top_p",
    "Top p",
    "Share of the probability that counts; 1 takes all",
    {
      min: 0,
      max: 1,
      step: 0.05,
    },
  ],
  ["top_k", "Top k", "Only this many tokens; 0 takes all", { min: 0, step: 1 }],
  [
    "repetition_penalty",
    "Repetition penalty",
    "Above 1 avoids what was there before",
    {
      min: 0.1,
      max: 10,
      step: 0.05,
    },
  ],
  ["max_new_tokens", "Longest answer", "Tokens", { min: 1, step: 1 }],
  ["seed", "Seed", "The same seed says the same; Regenerate takes the next", { min: 0, step: 1 }],
];

const THINKING = [
  ["as the model likes", "null"],
  ["on", "true"],
  ["off", "false"],
];

function labelled(label, control, hint = "") {
  return el("label", { class: "lv-field", title: hint || null }, el("span", {}, label), control);
}

function choice(id, options, value, onchange) {
  const select = el("select", { id, class: "lv-input", onchange: () => onchange(select.value) });
  setOptions(select, options, value);
  return select;
}

// An unchanged list is left alone, so that it stays open while tokens come.
export function setOptions(select, options, value) {
  const key = JSON.stringify(options);
  if (select.dataset.key === key) {
    select.value = value;
    return;
  }
  select.dataset.key = key;
  select.replaceChildren(...options.map(([text, name]) => el("option", { value: name }, text)));
  select.value = value;
}

export function buildSettings(chat, look, changed) {
  const numbers = {};
  const fields = SAMPLING_FIELDS.map(([name, label, hint, limits]) => {
    const input = el("input", {
      type: "number",
      class: "lv-input",
      id: `live-${name}`,
      value: chat.sampling[name],
      ...limits,
      step: "any",
      oninput: () => {
        chat.sampling[name] = input.value === "" ? null : Number(input.value);
        changed("sampling");
      },
    });
    numbers[name] = input;
    return labelled(label, input, hint);
  });
  const system = el("textarea", {
    id: "live-system",
    class: "lv-input",
    rows: 2,
    placeholder: "None. For example: You are a careful listener.",
    oninput: () => {
      chat.system = system.value;
      changed("system");
    },
  });
  system.value = chat.system;
  const concept = choice("live-concept", [], "", (value) => {
    chat.concept = value;
    changed("concept");
  });
  const layer = choice("live-layer", [], "", (value) => {
    chat.layer = Number(value);
    changed("layer");
  });
  const units = Object.keys(look.units).map((kind) => [kind, kind]);
  const kind = choice("live-kind", units, chat.kind, (value) => {
    chat.kind = value;
    changed("kind");
  });
  kind.title = Object.values(look.units).join("\n");
  const template = el("input", {
    type: "checkbox",
    id: "live-template",
    onchange: () => {
      chat.template = template.checked;
      changed("template");
    },
  });
  template.checked = chat.template;
  const thinking = choice("live-thinking", THINKING, String(chat.thinking), (value) => {
    chat.thinking = JSON.parse(value);
    changed("thinking");
  });
  return {
    bar: el(
      "div",
      { class: "lv-bar" },
      labelled("Colour by", concept),
      labelled("Layer", layer),
      labelled("Unit", kind),
      el("label", { class: "lv-check" }, template, el("span", {}, "Template tokens")),
    ),
    more: el(
      "details",
      { class: "lv-more" },
      el("summary", {}, "System prompt and sampling"),
      labelled("System prompt", system),
      labelled(
        "Thinking",
        thinking,
        "Whether the model reasons first, if its template can be told",
      ),
      el("div", { class: "lv-numbers" }, fields),
    ),
    concept,
    layer,
    showSeed() {
      numbers.seed.value = chat.sampling.seed;
    },
  };
}
