// The report in Judge: its matrix, the list of all pairs, two concepts side by side, files.

import { ask } from "../lib/ask.js";
import { rowsOf, saveCsv, startSaving } from "../lib/csv.js";
import { el } from "../lib/dom.js";
import { saveText } from "../lib/download.js";
import { go } from "../lib/route.js";
import { cellsOf, MatrixView, square, unpack } from "./matrix.js";
import { addressOfPair, PAIR, PairSheet, pairTable, rowOf } from "./pairs.js";

const address = (a, b) => addressOfPair(a, b, "");

export function start({ element, server }) {
  const page = new ReportPage(element, server);
  page.take();
  const changes = { childList: true, subtree: true, attributeFilter: ["data-report", "style"] };
  new MutationObserver(() => page.take()).observe(element, changes);
  startSaving();
}

class ReportPage {
  constructor(element, server) {
    Object.assign(this, { element, server, root: null, data: null });
    element.addEventListener("click", (event) => this.click(event));
    const about = (a, b) => rowOf(this.data?.pairs ?? [], a, b);
    this.sheet = new PairSheet(server, "", about, (a, b) => this.view?.choose(a, b));
  }

  // The server drew a new report; nothing where the page's own changes are all there is.
  take() {
    const root = this.element.querySelector(".report");
    const canvas = root?.querySelector("canvas") ?? null;
    const told = root?.dataset.report ?? "";
    // Gradio may keep the nodes of an older report and change what is in them: an equal one, judged
    // again, also loses what was drawn.
    const drawn = !canvas || canvas.style.width !== "";
    const same = root === this.root && canvas === this.view?.canvas && told === this.told;
    if (!root || (same && drawn)) return;
    Object.assign(this, { root, told, data: told ? JSON.parse(told) : null });
    if (!canvas || !this.data) return;
    const { order: names, cosines, pairs } = this.data;
    if (canvas !== this.view?.canvas)
      this.view = new MatrixView(canvas.closest("section"), (a, b) => go(address(a, b)));
    const values = square(unpack(cosines), names.length);
    this.view.show({ names, values, marked: cellsOf(pairs, names) });
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
      "csv-concepts": () => saveCsv(rowsOf(this.root.querySelector(".concepts")), "concepts"),
      "csv-pairs": () => saveCsv([PAIR, ...this.data.pairs], "pairs"),
      save: () => this.save(event.target),
    }[wanted];
    done?.();
  }

  async judgeAgain(button) {
    button.disabled = true;
    const answer = await ask(this.server, "judge_again");
    if (answer.ok) return;
    button.disabled = false;
    this.tell(button, answer);
  }

  tell(button, answer) {
    button.after(el("p", { role: "alert" }, answer.message));
  }

  showAllPairs(button) {
    this.root.querySelector(".pairs").replaceWith(pairTable(this.data.pairs, address));
    button.remove();
  }

  showAllConcepts(button) {
    for (const row of this.root.querySelectorAll(".concepts tr[hidden]")) row.hidden = false;
    button.remove();
  }

  async save(button) {
    const picture = this.view?.canvas.toDataURL("image/png") ?? "";
    const answer = await ask(this.server, "save_report", { picture });
    if (answer.ok) saveText(answer.html, "report.html", "text/html");
    else this.tell(button, answer);
  }
}
