// What stands beside the chat while it is read: bars, legend and heatmap.

import { el, plural } from "../lib/dom.js";
import { ABOUT_ROWS, buildBars, TOP_ROWS } from "./bars.js";
import { LiveMap } from "./growing_map.js";
import { answerPositions, colourOf, meanRow } from "./scores.js";

// A token's own scores jump far more than their mean.
const STEADY_NOW = 0.25;
const STEADY_MEAN = 0.06;

export class Readings {
  // `act`: pick a concept, select a token, take the mean or not.
  constructor(look, act, mean) {
    this.look = look;
    this.about = buildBars("About to answer", ABOUT_ROWS, look, act.pick);
    this.bars = buildBars("Top concepts", TOP_ROWS, look, act.pick);
    this.title = el("h3", { class: "lv-title" });
    this.detail = el("p", { class: "lv-detail" });
    this.legend = el("div", { class: "lv-legend", hidden: true });
    this.mapTitle = el("p", { class: "lv-map-title" });
    this.map = new LiveMap(look, act);
    const box = el("input", {
      type: "checkbox",
      id: "live-mean",
      onchange: () => act.takeMean(box.checked),
    });
    box.checked = mean;
    this.side = this.buildSide(box);
    this.wide = el("section", { class: "lv-wide" }, this.mapTitle, this.map.box);
    this.clear();
  }

  buildSide(meanBox) {
    const about = el(
      "section",
      { class: "lv-card", id: "live-about" },
      el("h3", { class: "lv-title" }, "About to answer"),
      el("p", { class: "lv-detail" }, "At the prompt's last token, before the first word"),
      this.about.list,
    );
    const mean = el("label", { class: "lv-check" }, meanBox, el("span", {}, "Running mean"));
    const bars = el(
      "section",
      { class: "lv-card", id: "live-bars" },
      el("div", { class: "lv-head" }, this.title, mean),
      this.detail,
      this.bars.list,
    );
    return el("aside", { class: "lv-side", hidden: true }, about, bars);
  }

  clear() {
    this.side.hidden = true;
    this.legend.hidden = true;
    this.map.clear();
  }

  // `shown`: concept, layer, kind, mean, selected token or null, busy, afresh.
  draw(stream, shown) {
    this.side.hidden = false;
    this.legend.hidden = false;
    this.map.draw(stream, { ...shown, chosen: shown.concept });
    this.drawAbout(stream, shown.concept);
    this.drawBars(stream, shown);
    this.drawLegend(stream.reach, shown);
  }

  drawAbout({ source, rows, reach }, concept) {
    if (rows.length < source.n_prompt) return;
    this.about.draw(source.concepts, rows[source.n_prompt - 1], reach, concept, 0);
  }

  drawBars(stream, { concept, mean, selected, busy }) {
    const { source, rows, reach } = stream;
    const last = selected ?? rows.length - 1;
    const answered = answerPositions(stream, last);
    const over = mean && answered.length > 0;
    const steady = over ? STEADY_MEAN : STEADY_NOW;
    const at = selected ?? answered.at(-1) ?? last;
    const values = over ? meanRow(stream, answered) : rows[at];
    const moves = busy && selected === null ? steady : 0;
    this.bars.draw(source.concepts, values, reach, concept, moves);
    const one = selected === null ? "Now" : "Selected token";
    this.title.textContent = over ? "Mean of the answer" : one;
    const place = `“${stream.tokens[at]}” · token ${at} · ${stream.roles[at]}`;
    this.detail.textContent = over ? `Over ${plural(answered.length, "token")}` : place;
  }

  drawLegend(reach, { concept, layer, kind }) {
    const ramp = [-1, -0.5, 0, 0.5, 1].map((share) => colourOf(share * reach, reach, this.look));
    const end = reach.toFixed(2);
    const style = `background:linear-gradient(90deg,${ramp.join(",")})`;
    this.legend.replaceChildren(
      el("b", {}, concept),
      ` · layer ${layer} · `,
      el(
        "span",
        { class: "lv-scale" },
        `−${end} `,
        el("i", { class: "lv-ramp", style }),
        ` ${end}`,
      ),
      ` ${this.look.units[kind]}`,
    );
    this.mapTitle.textContent = `Every token and concept · layer ${layer} · ${kind} from −${end} to ${end}`;
  }
}
