// What is compared: two runs or models on a text, two texts, or two branches of the chat.

import { el } from "../lib/dom.js";
import { choice, field, options } from "./fields.js";

export const WAYS = {
  runs: "Two runs",
  models: "Two models",
  texts: "Two texts",
  branches: "Two branches",
};
const MODES = {
  assistant: "the model says it",
  user: "the user says it",
  raw: "raw, no template",
  chat: "a chat",
};
const ABOUT_MODELS =
  "B’s model is loaded beside the one in use for this one reading and unloaded after it. It is refused, with both sizes, when there is no room for it.";

export class CompareForm {
  // `act.runChosen()`: another run was chosen.
  constructor(chat, act) {
    Object.assign(this, { chat, way: "runs", branches: [null, null] });
    this.texts = ["A", "B"].map((letter, at) =>
      el("textarea", { id: `compare-text-${at}`, rows: 3, placeholder: `The text of ${letter}` }),
    );
    this.mode = choice(MODES, { id: "compare-mode" });
    this.runs = [0, 1].map((at) => el("select", { id: `compare-run-${at}` }));
    for (const run of this.runs) run.addEventListener("change", act.runChosen);
    this.location = el("input", {
      id: "compare-location",
      placeholder: "Hub id or folder; empty for what the run says",
      title: ABOUT_MODELS,
    });
    this.leaves = [0, 1].map((at) => el("select", { id: `compare-branch-${at}` }));
    const named = (label, control) => field(label, control, { kind: "rc-field" });
    this.fields = {
      text0: named("Text A", this.texts[0]),
      text1: named("Text B", this.texts[1]),
      leaf0: named("Branch A", this.leaves[0]),
      leaf1: named("Branch B", this.leaves[1]),
      mode: named("Read as", this.mode),
      run0: named("Run A", this.runs[0]),
      run1: named("Run B", this.runs[1]),
      location: named("Model of B", this.location),
    };
    this.element = el("div", { class: "rc-fields" }, Object.values(this.fields));
  }

  get ofBranches() {
    return this.way === "branches";
  }

  // Branches are compared as two texts.
  get wayAsked() {
    return this.ofBranches ? "texts" : this.way;
  }

  show(way) {
    this.way = way;
    this.prefill();
    const shown = {
      text0: way !== "branches",
      text1: way === "texts",
      mode: way !== "branches",
      run0: true,
      run1: way === "runs" || way === "models",
      location: way === "models",
      leaf0: way === "branches",
      leaf1: way === "branches",
    };
    for (const [name, box] of Object.entries(this.fields)) box.hidden = !shown[name];
    this.fields.run0.querySelector("label").textContent = shown.run1 ? "Run A" : "Run";
    this.fields.text0.querySelector("label").textContent = shown.text1 ? "Text A" : "Text";
  }

  prefill() {
    const { text, mode } = this.chat.room.composer.typed;
    if (this.texts[0].value || !text) return;
    this.texts[0].value = text;
    this.mode.value = mode in MODES ? mode : "assistant";
  }

  // Gives what the server says: the runs that go together, and a notice.
  async fillRuns() {
    const answer = await this.chat.ask("compare_runs", {
      way: this.wayAsked,
      chosen: this.runs.map((run) => run.value || null),
    });
    if (!answer.ok) return answer;
    [answer.first, answer.second].forEach((choices, at) => {
      this.runs[at].replaceChildren(...options(choices.map(([label, id]) => [id, label])));
      this.runs[at].value = answer.values[at] ?? "";
    });
    return answer;
  }

  // Says whether there are two branches.
  fillLeaves() {
    const { tree } = this.chat;
    const leaves = tree.leaves.map((turn) => [turn.id, labelOf(tree, turn)]);
    this.leaves.forEach((list, at) => {
      list.replaceChildren(...options(leaves));
      const wanted = this.branches[at] ?? leaves[Math.min(at, leaves.length - 1)]?.[0];
      if (wanted) list.value = wanted;
    });
    return leaves.length > 1;
  }

  // Two turns of the chat, each with what follows it as it was shown last.
  chooseBranches(ids) {
    const { tree } = this.chat;
    this.branches = ids.map((id) => tree.pathFrom(id).at(-1)?.id ?? id);
  }

  get request() {
    if (this.ofBranches)
      this.branches = this.leaves.map((list, at) => list.value || this.branches[at]);
    const [first, second] = this.ofBranches
      ? this.branches.map((id) => this.chat.asText(id))
      : this.texts.map(({ value }) => ({ text: value, mode: this.mode.value, turns: null }));
    return {
      chat: this.chat.kept.id,
      way: this.wayAsked,
      first,
      second,
      runs: this.runs.map((run) => run.value),
      location: this.location.value,
    };
  }
}

function labelOf(tree, turn) {
  const words = turn.text.trim().replace(/\s+/g, " ");
  const { at, of } = tree.branch(turn.id);
  const short = words.length > 40 ? `${words.slice(0, 39)}…` : words;
  return `${turn.star ? "★ " : ""}${of > 1 ? `branch ${at} of ${of}: ` : ""}${short}${turn.recipe ? " (steered)" : ""}`;
}
