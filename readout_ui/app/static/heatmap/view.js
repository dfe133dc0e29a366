// One score map on the page: overview, text, cells; drag, wheel, buttons and keys move and zoom it.
// Nothing here asks the server, but for a stretch of the text that was not sent.

import { cssColour, scoreLines } from "./data.js";
import {
  BAND,
  CellPicture,
  counted,
  overviewPicture,
  paintCells,
  paintHead,
  paintMarks,
  paintOverview,
  placeWords,
  textWidth,
} from "./paint.js";
import { make } from "./parts.js";
import { saveMap } from "./save.js";
import { fillStrip } from "./strip.js";

const WIDEST = 48;
const STILL = 3; // pixels that a click may slip

export class MapView {
  constructor(parts, trigger) {
    this.parts = parts;
    this.trigger = trigger;
    this.view = { start: 0, cell: 0, left: 0, width: 0, height: 0, head: 0, row: 18, top: 0 };
    this.begin = null; // where the pointer went down last
    this.listen();
  }

  // `map`: as data.js unpacks one, or one that grows.
  show(map) {
    const { view, parts, map: before } = this;
    this.map = map;
    this.picture = new CellPicture(map);
    this.overview = map.pooled ? overviewPicture(map) : null;
    view.row = map.rows.length <= 24 ? 24 : 18;
    view.labels = textWidth(map.labels) + 18;
    view.head = textWidth(map.tokens) + 14 + BAND;
    this.fillLabels();
    this.fillRamp();
    parts.overview.setAttribute("aria-valuemax", map.window[2]);
    parts.overview.hidden = false;
    parts.strip.hidden = !map.strip;
    const kept = before && before.window[2] === map.window[2];
    if (!kept) Object.assign(view, { start: map.opens, cell: 0 });
    else if (this.wanted !== undefined) {
      view.start = this.wanted - map.window[0] - view.width / view.cell / 2;
    } else view.start += before.window[0] - map.window[0];
    this.wanted = undefined;
    this.measure();
    this.move(view.start, true);
  }

  // Tokens came at the end of a map that grows; a reader who is at the end stays there.
  grow() {
    const { map, view, parts } = this;
    const before = map.tokens.length;
    const whole = this.shown >= before - 0.01;
    const atEnd = view.start + this.shown >= before - 1;
    map.take();
    if (map.tokens.length === before) return;
    this.picture.extend();
    view.head = Math.max(view.head, textWidth(map.tokens.slice(before)) + 14 + BAND);
    parts.overview.setAttribute("aria-valuemax", map.window[2]);
    if (whole) view.cell = 0;
    this.measure();
    this.move(atEnd ? map.tokens.length : view.start, true);
  }

  // What is chosen elsewhere on the page: a row, and a column or null.
  mark(row, column) {
    this.map.selected = column;
    for (const label of this.parts.labels.children) {
      label.classList.toggle("map-chosen", label.dataset.concept === row);
    }
    this.paintSoon();
  }

  fillLabels() {
    const { map, parts, view } = this;
    parts.labels.replaceChildren();
    map.labels.forEach((label, index) => {
      const attributes = map.clickable
        ? {
            type: "button",
            "data-concept": map.rows[index],
            title: `${map.colours ? "Colour the text by" : "Draw the line of"} ${map.rows[index]}`,
          }
        : { title: map.rows[index] };
      const line = make(map.clickable ? "button" : "span", "", parts.labels, attributes);
      line.style.height = line.style.lineHeight = `${view.row}px`;
      line.textContent = label;
    });
  }

  fillRamp() {
    const { map, parts } = this;
    const ends = [map.middle - map.reach, map.middle + map.reach].map((end) =>
      end.toPrecision(2).replace("-", "−"),
    );
    parts.ramp.replaceChildren();
    if (map.strip) {
      make("b", "", parts.ramp).textContent = map.strip;
      parts.ramp.append(" · ");
    }
    if (!map.strip.includes(map.constant)) parts.ramp.append(`${map.constant} · `);
    parts.ramp.append(ends[0]);
    const bar = make("i", "ramp", parts.ramp);
    const stops = Array.from({ length: 9 }, (_, i) => cssColour(map, i / 4 - 1, 1));
    bar.style.background = `linear-gradient(90deg, ${stops.join(", ")})`;
    parts.ramp.append(`${ends[1]} ${map.legend}`);
  }

  measure() {
    const { view, parts, map } = this;
    const wide = parts.host.clientWidth;
    if (!map || !wide) return false;
    view.left = Math.min(view.labels, Math.round(wide * 0.4));
    parts.body.style.setProperty("--left", `${view.left}px`);
    parts.body.style.setProperty("--rows", `${map.rows.length * view.row}px`);
    view.width = wide - view.left - (parts.scroll.offsetWidth - parts.scroll.clientWidth);
    view.height = Math.min(map.rows.length * view.row, parts.scroll.clientHeight);
    // Maps side by side are narrow, so that their cells are smaller.
    const least = parts.group ? 13 : 22;
    if (!view.cell) view.cell = Math.max(least, Math.min(40, view.width / map.tokens.length));
    view.cell = Math.max(this.least(), Math.min(WIDEST, view.cell));
    return true;
  }

  least() {
    return Math.min(22, this.view.width / this.map.tokens.length);
  }

  get shown() {
    return this.view.width / this.view.cell;
  }

  // Every change of place ends here.
  move(start, quiet = false) {
    const { view, map } = this;
    if (!map || !view.cell) return; // on a tab that is not in sight; the ResizeObserver comes back
    const last = Math.max(0, map.tokens.length - this.shown);
    const beyond = start < -0.5 || start > last + 0.5;
    view.start = Math.max(0, Math.min(last, start));
    if (beyond && !quiet) this.ask(map.window[0] + start + this.shown / 2);
    this.paintSoon();
    if (!quiet && this.parts.group) {
      const detail = { from: this, group: this.parts.group, start: view.start, shown: this.shown };
      document.dispatchEvent(new CustomEvent("readout-map-moved", { detail }));
    }
  }

  // A stretch that is not here comes from the server; until then the nearest end is shown.
  ask(middle) {
    const [start, stop, total] = this.map.window;
    const wanted = Math.max(0, Math.min(total - 1, Math.round(middle)));
    if (wanted >= start + this.shown / 2 && wanted < stop - this.shown / 2) return;
    if ((start === 0 && wanted < this.shown) || (stop === total && wanted > total - this.shown)) {
      return;
    }
    if (this.wanted === undefined) this.trigger("select", { middle: wanted });
    this.wanted = wanted;
  }

  zoom(factor, x = this.view.width / 2) {
    const { view } = this;
    const token = view.start + x / view.cell;
    view.cell = Math.max(this.least(), Math.min(WIDEST, view.cell * factor));
    this.move(token - x / view.cell);
  }

  // The place in the whole text that becomes the middle of what is shown.
  goto(middle) {
    const start = middle - this.map.window[0] - this.shown / 2;
    this.move(start);
  }

  act(name) {
    const page = Math.max(1, Math.floor(this.shown) - 1);
    if (name === "back") this.move(this.view.start - page);
    if (name === "on") this.move(this.view.start + page);
    if (name === "in") this.zoom(1.4);
    if (name === "out") this.zoom(1 / 1.4);
    if (name === "all") this.zoom(0);
    if (name === "left") this.move(this.view.start - Math.max(1, page / 8));
    if (name === "right") this.move(this.view.start + Math.max(1, page / 8));
    if (name === "first") this.goto(0);
    if (name === "last") this.goto(this.map.window[2]);
  }

  paintSoon() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.paint();
    });
  }

  paint() {
    const { parts, view, map } = this;
    if (!map || !view.width) return;
    const ink = getComputedStyle(parts.host).color;
    view.top = parts.scroll.scrollTop;
    const all = view.start === 0 && this.shown >= map.tokens.length - 0.01;
    const fits = all && Boolean(parts.group) && view.cell >= 12;
    parts.host.classList.toggle("fits", fits);
    // Hidden where everything is in sight: painted then, it would stay 0 pixels high.
    if (!fits) paintOverview(parts.overview, this.overview || this.picture, view, map, ink);
    paintHead(parts.head, view, map, ink);
    paintCells(parts.cells, this.picture, view);
    paintMarks(parts.cells, view, map, ink);
    const last = Math.min(map.tokens.length, Math.ceil(view.start + this.shown));
    const words = placeWords(map, Math.floor(view.start), last);
    parts.overview.setAttribute("aria-valuenow", map.window[0] + Math.floor(view.start) + 1);
    parts.overview.setAttribute("aria-valuetext", words);
    if (parts.place.textContent !== words) parts.place.textContent = words;
    clearTimeout(this.stripTimer);
    if (map.strip)
      this.stripTimer = setTimeout(
        () => fillStrip(parts.strip, map, Math.floor(view.start), last),
        60,
      );
  }

  cellAt(event) {
    const box = this.parts.cells.getBoundingClientRect();
    const column = Math.floor(this.view.start + (event.clientX - box.left) / this.view.cell);
    const row = Math.floor((event.clientY - box.top + this.view.top) / this.view.row);
    const inside =
      column >= 0 && column < this.map.tokens.length && row >= 0 && row < this.map.rows.length;
    return inside ? [row, column] : null;
  }

  hover(event) {
    const { parts, map } = this;
    const cell = map && this.cellAt(event);
    parts.tip.classList.toggle("on", Boolean(cell));
    if (!cell) return;
    const [row, column] = cell;
    parts.tip.replaceChildren();
    make("b", "", parts.tip).textContent = map.tokens[column];
    const where = `${map.rows[row]} · ${map.constant} · token ${counted(
      map.window[0] + column + map.first,
    )}`;
    for (const line of [where, ...scoreLines(map, row, column)]) {
      make("span", "", parts.tip).textContent = line;
    }
    const box = parts.host.getBoundingClientRect();
    const x = Math.min(event.clientX - box.left + 14, box.width - parts.tip.offsetWidth - 4);
    parts.tip.style.transform = `translate(${Math.max(0, x)}px, ${event.clientY - box.top + 16}px)`;
  }

  listen() {
    const { parts } = this;
    parts.buttons.addEventListener("click", (event) => {
      const pressed = event.target.closest("[data-act]");
      if (pressed && this.map) this.act(pressed.dataset.act);
    });
    parts.labels.addEventListener("click", (event) => {
      const label = event.target.closest("[data-concept]");
      if (label) this.trigger("select", { concept: label.dataset.concept });
    });
    for (const place of [parts.overview, parts.body]) {
      place.addEventListener("keydown", (event) => this.key(event));
    }
    parts.scroll.addEventListener("scroll", () => this.paintSoon());
    parts.cells.addEventListener("pointermove", (event) => this.hover(event));
    parts.cells.addEventListener("pointerleave", () => parts.tip.classList.remove("on"));
    parts.body.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    const pull = (event, begin) =>
      this.move(begin.start - (event.clientX - begin.x) / this.view.cell);
    drag(this, parts.cells, pull);
    drag(this, parts.head, pull);
    drag(this, parts.overview, (event) => this.slide(event), true);
    parts.cells.addEventListener("pointerup", (event) => this.pick(event));
    this.follow();
  }

  // What happens elsewhere on the page: its size, its theme, other maps, a request for a picture.
  follow() {
    const { parts } = this;
    new ResizeObserver(() => {
      if (this.measure()) this.move(this.view.start, true);
    }).observe(parts.host);
    new MutationObserver(() => this.paintSoon()).observe(document.body, {
      attributes: true,
      attributeFilter: ["class"],
    });
    document.addEventListener("readout-map-moved", ({ detail }) => {
      if (detail.from === this || detail.group !== parts.group || !this.map) return;
      this.view.cell = Math.max(this.least(), Math.min(WIDEST, this.view.width / detail.shown));
      this.move(detail.start, true);
    });
    parts.host.addEventListener(
      "readout-map-picture",
      (event) => this.map && saveMap(this.map, this.view, event.detail),
    );
  }

  // A click on a cell of a map whose cells can be chosen; a drag is none.
  pick(event) {
    const { map, begin } = this;
    if (!map?.pickable || !begin || Math.abs(event.clientX - begin.x) > STILL) return;
    const cell = this.cellAt(event);
    if (cell) this.trigger("select", { concept: map.rows[cell[0]], token: cell[1] });
  }

  slide(event) {
    const box = this.parts.overview.getBoundingClientRect();
    this.goto(((event.clientX - box.left) / box.width) * this.map.window[2]);
  }

  key(event) {
    const acts = {
      ArrowLeft: "left",
      ArrowRight: "right",
      PageUp: "back",
      PageDown: "on",
      Home: "first",
      End: "last",
      "+": "in",
      "=": "in",
      "-": "out",
      0: "all",
    };
    const act = acts[event.key];
    if (!act || !this.map || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("button")) return;
    event.preventDefault();
    this.act(act);
  }

  wheel(event) {
    if (!this.map) return;
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      const x = event.clientX - this.parts.cells.getBoundingClientRect().left;
      this.zoom(Math.exp(-event.deltaY / 300), Math.max(0, x));
      return;
    }
    const across = event.shiftKey && !event.deltaX ? event.deltaY : event.deltaX;
    if (Math.abs(across) <= Math.abs(event.shiftKey ? 0 : event.deltaY)) return;
    event.preventDefault();
    this.move(this.view.start + across / this.view.cell);
  }
}

// Pointer down, moved and up on one element of a map; `atOnce`: pressing alone counts as a move.
function drag(view, place, follow, atOnce = false) {
  let begin = null;
  place.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !view.map) return;
    begin = { x: event.clientX, start: view.view.start };
    view.begin = begin;
    place.setPointerCapture(event.pointerId);
    if (atOnce) follow(event, begin);
  });
  place.addEventListener("pointermove", (event) => begin && follow(event, begin));
  for (const end of ["pointerup", "pointercancel"]) {
    place.addEventListener(end, () => {
      begin = null;
    });
  }
}
