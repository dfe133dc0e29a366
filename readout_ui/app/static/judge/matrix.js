// A matrix on a canvas: packed numbers in, a few milliseconds for 200 x 200 cells.

import { el } from "../lib/dom.js";
import { ends, number, rgb } from "../lib/scale.js";

const LABELS = 98; // room for names, in pixels
const LEGIBLE = 11; // smallest cell that a name stands beside
const SMALLEST = 4;

// Cosines as the server packs them: ten-thousandths, row by row above the diagonal.
export function unpack(packed) {
  const letters = atob(packed);
  const bytes = new Uint8Array(letters.length);
  for (let at = 0; at < letters.length; at += 1) bytes[at] = letters.charCodeAt(at); // a million
  return new Int16Array(bytes.buffer);
}

// The `index`th matrix of packed ones as a square of numbers, row by row.
export function square(packed, n, index = 0) {
  const values = new Float32Array(n * n);
  let at = (index * n * (n - 1)) / 2;
  for (let row = 0; row < n; row += 1) {
    values[row * n + row] = 1;
    for (let column = row + 1; column < n; column += 1) {
      values[row * n + column] = values[column * n + row] = packed[at++] / 10000;
    }
  }
  return values;
}

// The cells of pairs of names, on both sides of the diagonal.
export function cellsOf(pairs, names) {
  const index = new Map(names.map((name, i) => [name, i]));
  return pairs.flatMap(([a, b]) => {
    const [row, column] = [index.get(a), index.get(b)];
    return [
      [row, column],
      [column, row],
    ];
  });
}

// The largest value beside the diagonal, to whose colour the others are scaled.
export function reachOf(values, n) {
  let reach = 0.05;
  for (let row = 0; row < n; row += 1)
    for (let column = 0; column < n; column += 1)
      if (row !== column) reach = Math.max(reach, Math.abs(values[row * n + column]));
  return reach;
}

// One pixel for every cell, [red, green, blue] mixed from the scale's middle and ends.
function pixels({ names, values, diagonal }, canvas) {
  const n = names.length;
  const style = getComputedStyle(canvas);
  const named = (name) => rgb(style.getPropertyValue(name));
  const [mid, own, { above, below }] = [named("--mid"), named("--chance"), ends(canvas)];
  const reach = reachOf(values, n);
  const image = new ImageData(n, n);
  for (let at = 0; at < n * n; at += 1) {
    const part = Math.max(-1, Math.min(1, values[at] / reach));
    const end = part < 0 ? below : above;
    const plain = !diagonal && at % (n + 1) === 0;
    for (let i = 0; i < 3; i += 1)
      image.data[4 * at + i] = plain ? own[i] : mid[i] + (end[i] - mid[i]) * Math.abs(part);
    image.data[4 * at + 3] = 255;
  }
  const small = Object.assign(document.createElement("canvas"), { width: n, height: n });
  small.getContext("2d").putImageData(image, 0, 0);
  return small;
}

// Draws the matrix; gives back what lies under a point of the canvas: [row, column] or null.
export function drawMatrix(canvas, matrix, chosen = []) {
  const { names, marked } = matrix;
  const n = names.length;
  const room = canvas.parentElement.clientWidth || 640;
  const cell = Math.max(SMALLEST, Math.min(24, Math.floor((room - LABELS) / n)));
  const labels = cell >= LEGIBLE ? LABELS : 0;
  const side = labels + cell * n;
  const density = window.devicePixelRatio || 1;
  canvas.width = canvas.height = Math.round(side * density);
  canvas.style.width = canvas.style.height = `${side}px`;
  const pen = canvas.getContext("2d");
  pen.scale(density, density);
  pen.imageSmoothingEnabled = false;
  pen.drawImage(pixels(matrix, canvas), labels, labels, cell * n, cell * n);
  const style = getComputedStyle(canvas);
  pen.globalAlpha = cell > 7 ? 1 : 0.55; // the colour of a small cell is to be seen as well
  outline(pen, marked, cell, labels, style.getPropertyValue("--ink"), cell > 7 ? 1.5 : 0.75);
  pen.globalAlpha = 1;
  if (chosen.length === 2) {
    const both = [chosen, [chosen[1], chosen[0]]];
    outline(pen, both, cell, labels, style.getPropertyValue("--teal"), 2.5);
  }
  if (labels) writeNames(pen, names, cell, labels, style, chosen);
  return (x, y) => {
    const [row, column] = [y, x].map((place) => Math.floor((place - labels) / cell));
    const inside = row >= 0 && column >= 0 && row < n && column < n && row !== column;
    return inside ? [row, column] : null;
  };
}

function outline(pen, cells, cell, labels, colour, width) {
  pen.strokeStyle = colour;
  pen.lineWidth = width;
  const inset = width / 2;
  pen.beginPath();
  for (const [row, column] of cells) {
    const [x, y] = [labels + column * cell + inset, labels + row * cell + inset];
    pen.rect(x, y, cell - width, cell - width);
  }
  pen.stroke();
}

function writeNames(pen, names, cell, labels, style, chosen) {
  pen.font = "11px system-ui, sans-serif";
  pen.textBaseline = "middle";
  names.forEach((name, i) => {
    pen.fillStyle = style.getPropertyValue(chosen.includes(i) ? "--teal" : "--ink");
    const middle = labels + (i + 0.5) * cell;
    pen.textAlign = "right";
    pen.fillText(name, labels - 5, middle, labels - 6);
    pen.save();
    pen.translate(middle, labels - 5);
    pen.rotate(-Math.PI / 2);
    pen.textAlign = "left";
    pen.fillText(name, 0, 0, labels - 6);
    pen.restore();
  });
}

// A section with a canvas, its scale and a line below that tells of the cell under the pointer.
export class MatrixView {
  // `picked` is told both names of a cell that is clicked.
  constructor(section, picked = null) {
    this.section = section;
    this.canvas = section.querySelector("canvas");
    this.scale = section.querySelector(".scale");
    this.told = section.querySelector(".told");
    this.picked = picked;
    this.chosen = [];
    this.canvas.addEventListener("pointermove", (event) => this.point(event));
    this.canvas.addEventListener("click", (event) => this.pick(event));
    window.addEventListener("resize", () => this.paint());
    new MutationObserver(() => this.paint()).observe(document.body, { attributeFilter: ["class"] });
  }

  show(matrix) {
    this.matrix = matrix;
    this.paint();
  }

  // Makes the cells of two concepts stand out; of none, where a name is unknown.
  choose(...names) {
    this.chosen = names.map((name) => this.matrix?.names.indexOf(name) ?? -1);
    if (this.chosen.includes(-1)) this.chosen = [];
    this.paint();
  }

  paint() {
    const { canvas, matrix } = this;
    if (!matrix || !canvas.isConnected || canvas.parentElement.clientWidth === 0) return;
    this.under = drawMatrix(canvas, matrix, this.chosen);
    const reach = reachOf(matrix.values, matrix.names.length).toFixed(2).replace(/^0/, "");
    this.scale.replaceChildren(`−${reach}`, el("i"), `+${reach}`);
  }

  cell(event) {
    return this.under?.(event.offsetX, event.offsetY);
  }

  point(event) {
    const found = this.cell(event);
    this.canvas.style.cursor = found && this.picked ? "pointer" : "";
    if (!found) return;
    const { names, values } = this.matrix;
    const [row, column] = found;
    const value = number(values[row * names.length + column]);
    this.told.textContent = `${names[row]}, ${names[column]}: ${value}`;
  }

  pick(event) {
    const found = this.cell(event);
    if (found) this.picked?.(...found.map((i) => this.matrix.names[i]));
  }
}
