// The report in Judge: its matrix, the list of all pairs, two concepts side by side, files.

import { cell } from "../lib/csv.js";
import { el, openSheet } from "../lib/dom.js";
import { saveText } from "../lib/download.js";
import { current, go, onRoute } from "../lib/route.js";
import { decimals, number } from "../lib/scale.js";
import { drawMatrix, reachOf, unpack } from "./matrix.js";

const PAIR = ["concept", "other", "cosine", "margin_95", "held_out_auroc", "verdict"];

export function start({ element, server }) {
  const page = new ReportPage(element, server);
  page.take();
  const changes = { childList: true, subtree: true, attributeFilter: ["data-report"] };
  new MutationObserver(() => page.take()).observe(element, changes);
  window.addEventListener("resize", () => page.paint());
  new MutationObserver(() => page.paint()).observe(document.body, { attributeFilter: ["class"] });
  onRoute(() => page.openPairOfAddress());
}

class ReportPage {
  constructor(element, server) {
    Object.assign(this, { element, server, root: null, data: null, chosen: [] });
    element.addEventListener("click", (event) => this.click(event));
  }

  // The server drew a new report; nothing where the page's own changes are all there is.
  take() {
    const root = this.element.querySelector(".report");
    const canvas = root?.querySelector("canvas") ?? null;
    const told = root?.dataset.report ?? "";
    // Gradio may keep the node of an older report and change what is in it.
    const known = root === this.root && canvas === this.canvas && told === this.told;
    if (!root || known) return;
    Object.assign(this, { root, canvas, told });
    this.data = told ? JSON.parse(told) : null;
    if (!this.canvas || !this.data) return;
    const names = this.data.order;
    const index = new Map(names.map((name, i) => [name, i]));
    const marked = this.data.pairs.flatMap(([a, b]) => {
      const [row, column] = [index.get(a), index.get(b)];
      return [
        [row, column],
        [column, row],
      ];
    });
    this.matrix = { names, values: unpack(this.data), marked };
    this.canvas.addEventListener("pointermove", (event) => this.point(event));
    this.canvas.addEventListener("click", (event) => this.pick(event));
    this.paint();
    this.openPairOfAddress();
  }

  paint() {
    if (!this.canvas?.isConnected || this.canvas.parentElement.clientWidth === 0) return;
    this.under = drawMatrix(this.canvas, this.matrix, this.chosen);
    const reach = reachOf(this.matrix.values, this.matrix.names.length).toFixed(2).slice(1);
    this.root.querySelector(".scale").replaceChildren(`−${reach}`, el("i"), `+${reach}`);
  }

  cell(event) {
    return this.under?.(event.offsetX, event.offsetY);
  }

  point(event) {
    const found = this.cell(event);
    this.canvas.style.cursor = found ? "pointer" : "";
    if (!found) return;
    const { names, values } = this.matrix;
    const [row, column] = found;
    const value = values[row * names.length + column];
    this.root.querySelector(".told").textContent =
      `${names[row]}, ${names[column]}: ${number(value)}`;
  }

  pick(event) {
    const found = this.cell(event);
    if (!found) return;
    const [a, b] = found.map((i) => this.matrix.names[i]);
    go(`#/judge/cross-talk?pair=${encodeURIComponent(a)}~${encodeURIComponent(b)}`);
  }

  click(event) {
    const jump = event.target.closest("[data-jump]")?.dataset.jump;
    if (jump) {
      event.preventDefault();
      this.root.querySelector(`#${jump}`).scrollIntoView({ block: "start" });
    }
    const wanted = event.target.closest("[data-do]")?.dataset.do;
    const done = {
      again: () => this.judgeAgain(event.target),
      all: () => this.showAllPairs(event.target),
      concepts: () => this.showAllConcepts(event.target),
      "csv-concepts": () => saveText(csvOfTable(this.root.querySelector(".concepts")), ...CSV),
      "csv-pairs": () => saveText(csv([PAIR, ...this.data.pairs]), ...CSV),
      save: () => this.save(),
    }[wanted];
    done?.();
  }

  async judgeAgain(button) {
    button.disabled = true;
    const answer = await this.server.judge_again({});
    if (answer?.ok) return;
    button.disabled = false;
    button.after(el("p", { role: "alert" }, answer?.message ?? "The app does not answer."));
  }

  showAllPairs(button) {
    const body = this.root.querySelector(".pairs tbody");
    body.replaceChildren(...this.data.pairs.map(pairRow));
    button.remove();
  }

  showAllConcepts(button) {
    for (const row of this.root.querySelectorAll(".concepts tr[hidden]")) row.hidden = false;
    button.remove();
  }

  async save() {
    const picture = this.canvas?.toDataURL("image/png") ?? "";
    const answer = await this.server.save_report({ picture });
    if (answer?.ok) saveText(answer.html, "report.html", "text/html");
  }

  openPairOfAddress() {
    const { room, query } = current();
    const pair = room === "judge" ? query.pair?.split("~") : null;
    const open = document.querySelector("dialog.judge-pair");
    if (pair?.length === 2 && !open) this.showPair(...pair);
    else if (!pair) open?.close();
  }

  async showPair(a, b) {
    const body = el("div", {}, "…");
    const { sheet } = openSheet(document.body, `${a} – ${b}`, body, { wide: true });
    sheet.classList.add("judge-pair");
    sheet.addEventListener("close", () => {
      if (current().query.pair) go("#/judge", { replace: true });
    });
    const names = this.matrix?.names ?? [];
    this.chosen = [names.indexOf(a), names.indexOf(b)].filter((i) => i >= 0);
    this.paint();
    const answer = await this.server.pair_texts({ a, b });
    if (!answer?.ok) {
      body.replaceChildren(
        el("p", { role: "alert" }, answer?.message ?? "The app does not answer."),
      );
      return;
    }
    const known = this.data?.pairs.find(([x, y]) => [x, y].includes(a) && [x, y].includes(b));
    const about = known
      ? `Cosine ${number(known[2])} ± ${known[3].toFixed(2)}; ${told(known)}.`
      : "";
    const beside = `#/write/${encodeURIComponent(a)}?beside=${encodeURIComponent(b)}`;
    body.replaceChildren(
      el("p", { class: "dim" }, about),
      el("div", { class: "two" }, answer.sides.map(side)),
      el("p", {}, el("a", { class: "btn", href: beside }, "Edit both in Write")),
    );
  }
}

const CSV = ["report.csv", "text/csv"];

function told([, , , , auroc, verdict]) {
  return auroc === null ? verdict : `${verdict}, ${decimals(auroc)}`;
}

function side({ name, texts, about }) {
  return el(
    "section",
    {},
    el("h4", {}, el("a", { href: `#/write/${encodeURIComponent(name)}` }, name)),
    el("p", { class: "dim small" }, about),
    el(
      "ol",
      {},
      texts.map((text, i) => el("li", {}, text, " ", editLink(name, i + 1))),
    ),
  );
}

function editLink(name, at) {
  const address = `#/write/${encodeURIComponent(name)}?text=${at}`;
  return el("a", { class: "small", href: address, "aria-label": `Edit text ${at}` }, "Edit");
}

const KINDS = { confused: "bad" };

function pairRow(pair) {
  const [a, b, cosine, margin, , verdict] = pair;
  const address = `#/judge/cross-talk?pair=${encodeURIComponent(a)}~${encodeURIComponent(b)}`;
  const between = el("span", { class: "dim" }, cosine > 0 ? "–" : "vs");
  return el(
    "tr",
    {},
    el("td", {}, el("a", { href: address }, `${a} `, between, ` ${b}`)),
    el("td", { class: "num" }, number(cosine)),
    el("td", { class: "num dim h" }, `±${margin.toFixed(2)}`),
    el("td", {}, el("span", { class: `v ${KINDS[verdict] ?? "plain"}` }, told(pair))),
  );
}

export function csv(rows) {
  return `${rows.map((row) => row.map(cell).join(",")).join("\n")}\n`;
}

export function csvOfTable(table) {
  return csv([...table.rows].map((row) => [...row.cells].map((one) => one.textContent)));
}
