// How the model answers: system prompt, thinking and chance, behind the room's gear.

import { el } from "../lib/dom.js";
import { choice, field } from "./fields.js";

const FIELDS = [
  ["temperature", "Temperature", "0 always takes the likeliest token", { min: 0, max: 10 }],
  ["top_p", "Top p", "Share of the probability that counts; 1 takes all", { min: 0, max: 1 }],
  ["top_k", "Top k", "Only this many tokens; 0 takes all", { min: 0 }],
  [
    "repetition_penalty",
    "Repetition penalty",
    "Above 1 avoids what was there",
    { min: 0.1, max: 10 },
  ],
  ["max_new_tokens", "Longest answer", "Tokens", { min: 1 }],
  ["seed", "Seed", "The same seed says the same; Again takes the next", { min: 0 }],
];
const THINKING = { null: "as the model likes", true: "on", false: "off" };

// `settings`: see chats.js; `changed()` after every change. Gives the fields and how to refresh them.
export function buildSampling(settings, changed) {
  const { sampling } = settings;
  const inputs = FIELDS.map(([name, label, hint, limits]) => {
    const input = el("input", { type: "number", id: `chat-${name}`, step: "any", ...limits });
    input.addEventListener("input", () => {
      sampling[name] = input.value === "" ? null : Number(input.value);
      changed();
    });
    return { name, input, field: field(label, input, { hint }) };
  });
  const system = el("textarea", {
    id: "chat-system",
    rows: 2,
    placeholder: "None. For example: You are a careful listener.",
  });
  system.value = settings.system;
  system.addEventListener("input", () => {
    settings.system = system.value;
    changed();
  });
  const thinking = choice(THINKING, { id: "chat-thinking" });
  thinking.value = String(settings.thinking);
  thinking.addEventListener("change", () => {
    settings.thinking = JSON.parse(thinking.value);
    changed();
  });
  const show = () => {
    for (const { name, input } of inputs) input.value = sampling[name] ?? "";
  };
  show();
  const element = el(
    "details",
    { class: "rc-sampling" },
    el("summary", {}, "How the model answers"),
    field("System prompt", system),
    field("Thinking", thinking, {
      hint: "Whether the model reasons first, if its template can be told",
    }),
    inputs.map((one) => one.field),
  );
  return { element, show };
}
