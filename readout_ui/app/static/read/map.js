// Every token under every concept: names stay left, tokens above; moved by wheel, drag and scrollbar.

import { el } from "../lib/dom.js";
import { rove, stopAt } from "../lib/roving.js";
import { ends, number, share, Z_SCALE } from "../lib/scale.js";
import { named, scoreOf } from "./reading.js";

export const ROW = 20;
export const HEAD = 62; // pixels of the slanted tokens
const BAND = 4; // of the line that says who speaks
const [NARROW, WIDE] = [14, 28]; // of a token
const LETTERS = 11; // of a token that are shown
const STILL = 4; // pixels that a click may slip
const NAME = ".rd-row-name";
const FONT = "11px system-ui, sans-serif";

// Draws rows x tokens of a reading into an element, or anew what is there.
//
// look: layer, kind, rows (positions of concepts) or `layers` (rows are layers, `concept` fixed),
// concept (chosen name), columns (positions of tokens), scaleOf(row) -> scale.
export function paintMap(element, reading, look, act = null) {
  const map = element.readoutMap || new TokenMap(element, act);
  element.readoutMap = map;
  map.show(reading, look);
  return map;
}

export class TokenMap {
  constructor(element, act) {
    Object.assign(this, { element, act, start: 0, cell: 0, whole: false });
    element.classList.add("rd-map");
    this.tokens = el("canvas", { class: "rd-map-tokens", "aria-hidden": "true" });
    this.bar = el(
      "div",
      { class: "rd-map-scroll", tabindex: 0, role: "group", "aria-label": "Move the map sideways" },
      el("i"),
    );
    this.top = el("div", { class: "rd-map-top" }, this.tokens, this.bar);
    this.names = el("div", {
      class: "rd-map-names",
      role: "group",
      "aria-label": "Rows of the map",
    });
    this.canvas = el("canvas", { class: "rd-map-cells", role: "img" });
    this.column = el("i", { class: "rd-map-column", hidden: true });
    this.tip = el("div", { class: "rd-tip", role: "tooltip", hidden: true });
    const cells = el("div", { class: "rd-map-box" }, this.canvas, this.column);
    element.append(this.top, el("div", { class: "rd-map-body" }, this.names, cells), this.tip);
    this.listen();
  }

  show(reading, look) {
    if (this.reading !== reading) this.start = 0;
    Object.assign(this, { reading, look });
    const { tokens } = reading;
    this.columns = look.columns || [...tokens.keys()];
    this.rows = look.layers || look.rows || [...reading.concepts.keys()];
    this.labels = look.layers
      ? look.layers.map((layer) => `layer ${layer}`)
      : this.rows.map((concept) => reading.concepts[concept]);
    this.fillNames();
    this.measure();
    this.paint();
  }

  // [layer, concept] of a row.
  placeOf(row) {
    const { look, reading } = this;
    return look.layers
      ? [this.rows[row], reading.concepts.indexOf(look.concept)]
      : [look.layer, this.rows[row]];
  }

  scoreAt(row, column) {
    const [layer, concept] = this.placeOf(row);
    return scoreOf(this.reading, this.look.kind || "z", layer, this.columns[column], concept);
  }

  scaleAt(row) {
    return this.look.scaleOf?.(...this.placeOf(row)) || this.look.scale || Z_SCALE;
  }

  fillNames() {
    const { names, labels, look } = this;
    while (names.children.length > labels.length) names.lastChild.remove();
    labels.forEach((label, row) => {
      const name =
        names.children[row] ||
        names.appendChild(el("button", { type: "button", class: "rd-row-name", tabindex: -1 }));
      if (name.textContent !== label) name.textContent = label;
      name.title = label;
      name.dataset.row = row;
      const chosen = look.layers ? this.rows[row] === look.layer : label === look.concept;
      name.setAttribute("aria-pressed", String(chosen));
    });
    if (!names.querySelector(`${NAME}[tabindex="0"]`)) stopAt(names, NAME, names.firstChild);
  }

  measure() {
    const wide = this.element.clientWidth;
    this.left = this.names.offsetWidth || 0;
    this.width = Math.max(0, wide - this.left);
    if (!this.width || !this.columns?.length) return;
    const even = this.width / this.columns.length;
    this.cell = this.whole ? even : Math.max(NARROW, Math.min(WIDE, even));
    this.bar.hidden = this.cell * this.columns.length <= this.width + 1;
    this.bar.style.marginLeft = `${this.left}px`;
    this.bar.firstChild.style.width = `${this.cell * this.columns.length}px`;
    this.canvas.setAttribute(
      "aria-label",
      `${this.rows.length} rows, ${this.columns.length} tokens: the same scores as in the text and the bars`,
    );
    this.move(this.start);
  }

  get last() {
    return Math.max(0, this.columns.length - this.width / this.cell);
  }

  move(start) {
    this.start = Math.max(0, Math.min(this.last, start));
    const left = Math.round(this.start * this.cell);
    if (!this.bar.hidden && Math.abs(this.bar.scrollLeft - left) > 1) this.bar.scrollLeft = left;
  }

  paint() {
    if (!this.width || !this.reading) return;
    this.first = Math.floor(this.start);
    this.stop = Math.min(this.columns.length, Math.ceil(this.start + this.width / this.cell));
    this.paintTokens();
    this.paintCells();
    this.point(this.pointed ?? null);
  }

  paintCells() {
    const { first, stop, cell } = this;
    const [nRows, nColumns] = [this.rows.length, Math.max(1, stop - first)];
    const pen = freshPen(this.canvas, this.width, nRows * ROW);
    const picture = document.createElement("canvas");
    Object.assign(picture, { width: nColumns, height: Math.max(1, nRows) });
    const image = new ImageData(nColumns, Math.max(1, nRows));
    const { above, below } = ends(this.element);
    for (let row = 0, at = 0; row < nRows; row += 1) {
      const scale = this.scaleAt(row);
      for (let column = first; column < first + nColumns; column += 1, at += 4) {
        const part = share(this.scoreAt(row, column), scale);
        image.data.set(part < 0 ? below : above, at);
        image.data[at + 3] = Math.abs(part) * 255;
      }
    }
    picture.getContext("2d").putImageData(image, 0, 0);
    pen.imageSmoothingEnabled = cell < 1;
    const x = (first - this.start) * cell;
    pen.drawImage(picture, 0, 0, nColumns, nRows, x, 0, nColumns * cell, nRows * ROW);
    this.paintLines(pen, x, nColumns, nRows);
  }

  // Gaps between cells, and a dashed line where another one begins to speak.
  paintLines(pen, x, nColumns, nRows) {
    const { cell, first } = this;
    const style = getComputedStyle(this.element);
    pen.fillStyle = style.getPropertyValue("--page");
    if (cell >= 10) {
      for (let column = 0; column <= nColumns; column += 1) {
        pen.fillRect(x + column * cell - 0.5, 0, 1, nRows * ROW);
      }
      for (let row = 0; row <= nRows; row += 1) pen.fillRect(0, row * ROW - 0.5, this.width, 1);
    }
    pen.strokeStyle = style.getPropertyValue("--dim");
    pen.setLineDash([3, 3]);
    for (let column = Math.max(1, first); column < first + nColumns; column += 1) {
      const [before, now] = [column - 1, column].map(
        (each) => this.reading.roles[this.columns[each]],
      );
      if (before === now || [before, now].includes("template")) continue;
      const line = Math.round(x + (column - first) * cell) + 0.5;
      pen.beginPath();
      pen.moveTo(line, 0);
      pen.lineTo(line, nRows * ROW);
      pen.stroke();
    }
    pen.setLineDash([]);
  }

  paintTokens() {
    const { cell, first, stop } = this;
    const pen = freshPen(this.tokens, this.left + this.width, HEAD + BAND);
    const style = getComputedStyle(this.element);
    const colours = {
      user: style.getPropertyValue("--user"),
      assistant: style.getPropertyValue("--model"),
      system: style.getPropertyValue("--dim"),
      template: style.getPropertyValue("--line"),
    };
    pen.font = FONT;
    const every = cell >= 12 ? 1 : Math.ceil(60 / cell);
    for (let column = first; column < stop; column += 1) {
      const token = this.columns[column];
      const x = this.left + (column - this.start) * cell;
      pen.fillStyle = colours[this.reading.roles[token]] || colours.system;
      if (x >= this.left - 0.5) pen.fillRect(x, HEAD, cell + 0.5, BAND - 1);
      if (x < this.left - cell / 2) continue;
      pen.fillStyle = style.getPropertyValue(this.reading.scored[token] ? "--ink" : "--dim");
      if (every > 1 && column % every) continue;
      const words =
        every > 1
          ? String(column + 1)
          : short(named(this.reading.tokens[token]), cell < 20 ? LETTERS - 2 : LETTERS);
      pen.save();
      pen.translate(x + cell / 2 + (cell < 20 ? 4 : 0), HEAD - 6);
      pen.rotate(cell < 20 && every === 1 ? -Math.PI / 2 : -Math.PI / 4.5);
      pen.fillText(words, 0, 0);
      pen.restore();
    }
  }

  // Outlines the column of a token; null for none.
  point(token) {
    this.pointed = token;
    const column = token === null ? -1 : this.columns.indexOf(token);
    const x = (column - this.start) * this.cell;
    this.column.hidden = column < 0 || x < -this.cell / 2 || x > this.width;
    if (this.column.hidden) return;
    this.column.style.transform = `translateX(${x}px)`;
    this.column.style.width = `${this.cell}px`;
  }

  cellAt(event) {
    const box = this.canvas.getBoundingClientRect();
    const column = Math.floor(this.start + (event.clientX - box.left) / this.cell);
    const row = Math.floor((event.clientY - box.top) / ROW);
    const inside =
      column >= 0 && column < this.columns.length && row >= 0 && row < this.rows.length;
    return inside ? [row, column] : null;
  }

  hover(event) {
    const cell = this.columns && this.cellAt(event);
    this.tip.hidden = !cell;
    if (!cell) return this.act?.point(null);
    const [row, column] = cell;
    const token = this.columns[column];
    const kind = this.look.kind || "z";
    this.tip.textContent = `${this.labels[row]} · “${named(this.reading.tokens[token])}” · ${kind} ${number(this.scoreAt(row, column), kind === "z" ? 2 : 3)}`;
    const box = this.element.getBoundingClientRect();
    const x = Math.min(event.clientX - box.left + 14, box.width - this.tip.offsetWidth - 4);
    this.tip.style.transform = `translate(${Math.max(0, x)}px, ${event.clientY - box.top + 18}px)`;
    return this.act?.point(token);
  }

  listen() {
    const { canvas, bar } = this;
    let begin = null;
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button === 0) begin = { x: event.clientX, start: this.start };
    });
    canvas.addEventListener("pointermove", (event) => {
      if (begin && event.buttons && Math.abs(event.clientX - begin.x) > STILL) {
        this.slide(begin.start - (event.clientX - begin.x) / this.cell);
      } else this.hover(event);
    });
    canvas.addEventListener("pointerup", (event) => {
      const cell = begin && Math.abs(event.clientX - begin.x) <= STILL && this.cellAt(event);
      begin = null;
      if (cell)
        this.act?.open(this.columns[cell[1]], this.look.layers ? null : this.labels[cell[0]]);
    });
    canvas.addEventListener("pointerleave", () => {
      begin = null;
      this.tip.hidden = true;
      this.act?.point(null);
    });
    canvas.addEventListener(
      "wheel",
      (event) => {
        const across = event.shiftKey && !event.deltaX ? event.deltaY : event.deltaX;
        if (bar.hidden || Math.abs(across) <= (event.shiftKey ? 0 : Math.abs(event.deltaY))) return;
        event.preventDefault();
        this.slide(this.start + across / this.cell);
      },
      { passive: false },
    );
    bar.addEventListener("scroll", () => {
      if (Math.abs(bar.scrollLeft - Math.round(this.start * this.cell)) > 1)
        this.slide(bar.scrollLeft / this.cell);
    });
    this.names.addEventListener("click", (event) => {
      const name = event.target.closest(NAME);
      if (name)
        this.act?.row(
          this.rows[Number(name.dataset.row)],
          this.look.layers !== undefined && this.look.layers !== null,
        );
    });
    rove(this.names, NAME);
    this.follow();
  }

  slide(start) {
    this.move(start);
    this.paintSoon();
  }

  paintSoon() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.paint();
    });
  }

  // The size of the page and its theme.
  follow() {
    new ResizeObserver(() => {
      if (!this.reading) return;
      this.measure();
      this.paintSoon();
    }).observe(this.element);
    const observer = new MutationObserver(() => this.paintSoon());
    for (const place of [document.body, document.documentElement]) {
      observer.observe(place, { attributes: true, attributeFilter: ["class"] });
    }
  }
}

// A canvas at the screen's own resolution, cleared, measured in CSS pixels.
function freshPen(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.max(1, Math.round(width * ratio));
  canvas.height = Math.max(1, Math.round(height * ratio));
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  return pen;
}

export const short = (token, most = LETTERS) =>
  token.length <= most ? token : `${token.slice(0, most - 1)}…`;
