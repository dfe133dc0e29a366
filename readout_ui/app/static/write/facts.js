// What the report says about the concept that is open: scores, neighbours, tokens, findings.

import { el } from "../lib/dom.js";
import { decimals } from "../lib/scale.js";
import { named } from "../read/reading.js";
import { conceptLink, interval } from "./list_rows.js";
import { TONES } from "./scoreboard.js";

const BASELINES = { words: "bag of words", embedding: "sentence embedding", random: "random" };

function section(title, ...content) {
  return el("div", {}, el("h3", {}, title), content);
}

function score(judged) {
  const { auroc, low, high, verdict, n_held_out: n } = judged;
  const tone = TONES[verdict] || "none";
  if (auroc === null) {
    const words = `No held-out text judges it (${judged.held_out}).`;
    return section("Held-out AUROC", el("div", { class: "rs-small" }, words));
  }
  const range = low === null ? "" : `[${decimals(low, 2)}, ${decimals(high, 2)}]`;
  const others = Object.entries(BASELINES)
    .filter(([key]) => judged[key] !== null && judged[key] !== undefined)
    .map(([key, words]) => `${words} ${decimals(judged[key], 2)}`.replaceAll(" ", "\u00a0"));
  return section(
    "Held-out AUROC",
    el(
      "div",
      { class: "rs-big" },
      `${decimals(auroc)} `,
      el("small", { class: "rs-dim" }, range),
      interval(judged),
      el("span", { class: `rs-v rs-v-${tone}` }, verdict),
    ),
    el("div", { class: "rs-small" }, others.join(" · ")),
    el("div", { class: "rs-small" }, `${n} held-out texts, layer ${judged.layer}`),
  );
}

function nearest({ nearest: near }) {
  if (!near.length) return null;
  const lines = near.flatMap(([name, cosine]) => [
    el("span", {}, conceptLink(name)),
    el("span", { class: "rs-num rs-dim" }, decimals(cosine, 2)),
  ]);
  return section("Nearest", el("div", { class: "rs-near" }, lines));
}

function words({ raises, lowers, lens_layer: layer }) {
  if (!raises.length && !lowers.length) return null;
  const tokens = (list) =>
    el("div", { class: "rs-words" }, list.map((token) => named(token.trim())).join(", "));
  return el(
    "div",
    {},
    el("h3", {}, layer === null ? "Raises" : `Raises, at layer ${layer}`),
    tokens(raises),
    el("h3", {}, "Lowers"),
    tokens(lowers),
  );
}

// The line below the name whose place is reserved: what is up with the numbers.
function stateWords(app, judged, row) {
  if (row && !row.ticked) return ["", "Left out of the next training."];
  if (row?.against)
    return ["", `${row.against} points away from these texts, not from all other concepts.`];
  if (row?.neutral) return ["", "Neutral texts set the zero of scores; they are no concept."];
  if (!judged)
    return [
      "",
      app.judging || (app.scores ? "Not judged yet: train to judge it." : "Not judged yet."),
    ];
  if (row?.state === "edited")
    return ["", "Edited since the last training: the numbers are those from before."];
  return ["ok", judged.moved || `Judged on ${judged.held_out}.`];
}

export class Facts {
  constructor(app) {
    this.app = app;
    this.line = el("p", { class: "rs-state-line", role: "status" });
    this.grid = el("div", { class: "rs-fact-grid" });
    this.findings = el("ul", { class: "rs-advice-list" });
    this.root = el("div", { class: "rs-facts-place" }, this.line, this.grid, this.findings);
    this.judged = null;
  }

  // `judged`: what the report says, null where it says nothing.
  show(judged, row) {
    this.judged = judged;
    this.drawLine(row);
    const parts = judged ? [score(judged), nearest(judged), words(judged)] : [];
    this.grid.replaceChildren(...parts.filter(Boolean));
    this.grid.hidden = !judged;
    const said = judged ? [...judged.findings, ...this.confused(judged)] : [];
    this.findings.replaceChildren(...said.map((part) => el("li", {}, part)));
  }

  drawLine(row) {
    const [kind, sentence] = stateWords(this.app, this.judged, row);
    this.line.classList.toggle("rs-ok", kind === "ok");
    if (this.line.textContent !== sentence) this.line.textContent = sentence;
  }

  // Pairs that held-out texts do not tell apart.
  confused(judged) {
    return judged.pairs
      .filter((pair) => pair.verdict === "confused")
      .map((pair) => {
        const other = pair.a === judged.name ? pair.b : pair.a;
        const both = el(
          "button",
          {
            type: "button",
            class: "rs-link",
            onclick: () => this.app.comparing.open(judged.name, other),
          },
          "Show both",
        );
        const told =
          pair.auroc === null ? "" : ` (AUROC between the two ${decimals(pair.auroc, 2)})`;
        return el("span", {}, "Confused with ", conceptLink(other), `${told}. `, both);
      });
  }
}
