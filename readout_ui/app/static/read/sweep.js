// A sweep: how the concepts and the perplexity move with the strength, and every answer.

import { el, tableHead } from "../lib/dom.js";
import { number } from "../lib/scale.js";
import { small } from "./chat_parts.js";
import { followJob, waitingWords } from "./job.js";

const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [424, 168, 34, 34, 14, 24];
const SVG = "http://www.w3.org/2000/svg";
const LINES = 3;

export class Sweep {
  // `act`: run() when the button is pressed, changed() when the factors are.
  constructor(chat, act) {
    Object.assign(this, { chat, running: false });
    this.factors = el("input", { id: "steer-factors", "aria-label": "Factors of the sweep" });
    this.factors.addEventListener("change", act.changed);
    const go = small("Sweep strengths", act.run, { class: "btn", id: "steer-sweep" });
    const stop = () => chat.ask("sweep_stop", { chat: chat.kept.id });
    this.stop = small("Stop", stop, { class: "btn", hidden: true });
    this.found = el("div", { class: "rs-swept" });
    this.parts = [
      el("h3", {}, "Sweep of the recipe"),
      el("div", { class: "rs-go" }, this.factors, go, this.stop),
      this.found,
    ];
  }

  async ask(userTurn) {
    const { chat } = this;
    const { id } = chat.kept;
    const { recipe, factors } = chat.settings;
    const asked = { chat: id, ...chat.asking(userTurn.id), recipe, factors };
    this.running = true;
    this.stop.hidden = false;
    const answer = await chat.ask("sweep_ask", asked);
    this.found.replaceChildren(
      answer.ok ? waitingWords() : el("p", { class: "rc-message" }, answer.message),
    );
    if (answer.ok)
      await followJob(
        () => chat.ask("sweep_poll", { chat: id, layer: chat.room.layer ?? 0 }),
        (news) => this.hear(news),
      );
    this.running = false;
    this.stop.hidden = true;
  }

  hear(news) {
    if (news.result) drawSweep(this.found, news.result);
    else this.found.replaceChildren(el("p", { class: "rd-sub", role: "status" }, sweepWords(news)));
  }
}

function sweepWords({ ok, message, state, before, stage = "", done = 0, total = 0, error = "" }) {
  if (!ok) return message;
  if (state === "waiting") return waitingWords(before);
  if (state === "running") return total ? `${stage}: ${done} of ${total} answers` : stage;
  return error || "Stopped; the model is as it was.";
}

function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, String(value));
  node.append(...children);
  return node;
}

// `found`: what `sweep_poll` gives, at one layer.
function drawSweep(element, found) {
  const { points, steered, concepts, usable, reach, rule } = found;
  const lines = steered.slice(0, LINES).map((name) => {
    const at = concepts.indexOf(name);
    return {
      name,
      values: points.map((point) => point.during[at]),
      alone: points.map((point) => point.alone[at]),
    };
  });
  const titles = ["factor", ...lines.map((line) => line.name), "perplexity"];
  const rows = points.flatMap((point, row) => {
    const fine = usable !== null && point.factor >= usable[0] && point.factor <= usable[1];
    const cells = lines.map((line) =>
      el(
        "td",
        { title: `its words alone: ${number(line.alone[row] ?? Number.NaN)}` },
        number(line.values[row] ?? Number.NaN),
      ),
    );
    return [
      el(
        "tr",
        { class: fine ? "rs-usable" : "rs-broken" },
        el("th", { scope: "row" }, `×${number(point.factor, 2)}`),
        cells,
        el("td", {}, perplexity(point.perplexity)),
      ),
      el(
        "tr",
        { class: "rs-said" },
        el("td", { colspan: titles.length }, point.text.trim() || "nothing"),
      ),
    ];
  });
  element.replaceChildren(
    el("p", { class: "rd-sub" }, found.words, el("br"), `Usable factors: ${reach}. ${rule}`),
    chart(found, lines),
    el("table", {}, tableHead(titles), el("tbody", {}, rows)),
  );
}

function chart({ points, usable, limit, layer }, lines) {
  const factors = points.map((point) => point.factor);
  const across = scaled(Math.min(...factors), Math.max(...factors), LEFT, WIDTH - RIGHT);
  const every = lines.flatMap((line) => line.values).filter(Number.isFinite);
  const z = scaled(Math.min(0, ...every), Math.max(1, ...every), HEIGHT - BOTTOM, TOP);
  const costs = points.map((point) =>
    point.perplexity === null ? Number.NaN : Math.log(point.perplexity),
  );
  const most = Math.max(...costs.filter(Number.isFinite), limit ? Math.log(limit) : 0, 0.1);
  const cost = scaled(0, most, HEIGHT - BOTTOM, TOP);
  const words = `Sweep at layer ${layer}: ${lines.map((line) => `${line.name} from ${number(line.values[0] ?? Number.NaN)} to ${number(line.values.at(-1) ?? Number.NaN)}`).join(", ")}`;
  const picture = svg("svg", {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
    role: "img",
    "aria-label": words,
    class: "rs-chart",
  });
  if (usable)
    picture.append(
      svg("rect", {
        class: "rs-fluent",
        x: across(usable[0]),
        y: TOP,
        width: Math.max(1, across(usable[1]) - across(usable[0])),
        height: HEIGHT - TOP - BOTTOM,
      }),
    );
  picture.append(
    svg("path", { class: "rs-axis", d: `M${LEFT} ${HEIGHT - BOTTOM}H${WIDTH - RIGHT}` }),
  );
  for (const factor of factors)
    picture.append(
      label(`×${number(factor, factor % 1 ? 1 : 0)}`, across(factor), HEIGHT - 8, "middle"),
    );
  for (const end of [z.low, z.high])
    picture.append(label(number(end, 1), LEFT - 4, z(end) + 4, "end"));
  picture.append(label("perplexity", WIDTH - 2, TOP - 3, "end", "rs-costs"));
  picture.append(svg("path", { class: "rs-cost", d: path(costs, factors, across, cost) }));
  lines.forEach((line, at) => {
    picture.append(
      svg("path", { class: `rs-line-${at}`, d: path(line.values, factors, across, z) }),
    );
    picture.append(label(`${line.name}, z`, LEFT + 4 + at * 120, TOP - 3, "start", `rs-key-${at}`));
  });
  return picture;
}

function scaled(low, high, from, to) {
  const place = (value) => from + ((value - low) / (high - low || 1)) * (to - from);
  return Object.assign(place, { low, high });
}

function path(values, factors, across, along) {
  const seen = values.map((value, at) => [across(factors[at]), along(value)]);
  const drawn = seen.filter(([, y]) => Number.isFinite(y));
  return drawn.map(([x, y], at) => `${at ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
}

function label(words, x, y, anchor, kind = "") {
  return svg("text", { x, y, "text-anchor": anchor, class: kind }, words);
}

function perplexity(value) {
  if (value === null) return "–";
  return value >= 10_000 ? "over 10,000" : value.toFixed(value < 100 ? 1 : 0);
}
