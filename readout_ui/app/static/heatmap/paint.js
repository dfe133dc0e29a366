// Pictures of a score map: one pixel per cell once, then stretched to whatever is in sight.

export const VEILED = 0.3; // how strong the colours of columns are that do not count
export const BAND = 16;
const BLOCK = 256; // columns by which the picture of a growing map grows
const LETTER = 7.2; // width of one in MONO at 12 pixels
export const MONO = "ui-monospace, Menlo, Consolas, monospace";

function blank(rows, columns) {
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, columns);
  canvas.height = Math.max(1, rows);
  return canvas;
}

// One pixel per cell of the columns `from` to `to`; shares are from -1 to 1.
function paintPixels(canvas, map, rows, from, to, shareOf) {
  if (to <= from || !rows) return;
  const image = new ImageData(to - from, rows);
  for (let row = 0, at = 0; row < rows; row += 1) {
    for (let column = from; column < to; column += 1, at += 4) {
      const share = shareOf(row, column);
      const [red, green, blue] = share >= 0 ? map.above : map.below;
      image.data[at] = red;
      image.data[at + 1] = green;
      image.data[at + 2] = blue;
      image.data[at + 3] = Math.abs(share) * 255; // NaN becomes 0
    }
  }
  canvas.getContext("2d").putImageData(image, from, 0);
}

// All cells of a map; tokens that came since the last time are added at the right.
export class CellPicture {
  constructor(map) {
    this.map = map;
    this.columns = 0;
    this.canvas = blank(map.rows.length, map.tokens.length);
    this.extend();
  }

  get rows() {
    return this.map.rows.length;
  }

  extend() {
    const { map, rows } = this;
    const n = map.tokens.length;
    if (n > this.canvas.width) {
      this.canvas = blank(rows, Math.ceil(n / BLOCK) * BLOCK);
      this.columns = 0;
    }
    const shareOf = (row, column) =>
      map.share(map.score(0, row, column)) * (map.scored[column] ? 1 : VEILED);
    paintPixels(this.canvas, map, rows, this.columns, n, shareOf);
    this.columns = n;
  }
}

// The whole text, pooled by the server.
export function overviewPicture(map) {
  const [rows, columns] = map.overview;
  const canvas = blank(rows, columns);
  const shareOf = (row, column) => (map.pooled[row * columns + column] - 128) / 127;
  paintPixels(canvas, map, rows, 0, columns, shareOf);
  return { canvas, rows, columns };
}

// A canvas at the screen's own resolution, cleared, measured in CSS pixels.
function freshPen(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  const [w, h] = [Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio))];
  if (canvas.width !== w || canvas.height !== h) {
    canvas.width = w;
    canvas.height = h;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  return pen;
}

export function paintOverview(canvas, picture, view, map, ink) {
  const [width, height] = [view.width + view.left, canvas.clientHeight];
  const pen = freshPen(canvas, width, height);
  pen.imageSmoothingEnabled = false;
  const { canvas: cells, columns, rows } = picture;
  pen.drawImage(cells, 0, 0, columns, rows, 0, 0, width, height);
  const [start, , total] = map.window;
  const from = ((start + view.start) / total) * width;
  const wide = Math.max(3, (view.width / view.cell / total) * width);
  pen.fillStyle = ink;
  pen.globalAlpha = 0.12;
  pen.fillRect(0, 0, from, height);
  pen.fillRect(from + wide, 0, width - from - wide, height);
  pen.globalAlpha = 1;
  pen.strokeStyle = ink;
  pen.lineWidth = 2;
  pen.strokeRect(from + 1, 1, Math.min(wide, width - from) - 2, height - 2);
}

export function paintCells(canvas, picture, view) {
  const pen = freshPen(canvas, view.width, view.height);
  pen.imageSmoothingEnabled = view.cell < 1;
  const columns = Math.min(picture.columns - view.start, view.width / view.cell);
  const rows = Math.min(picture.rows - view.top / view.row, view.height / view.row);
  pen.drawImage(
    picture.canvas,
    view.start,
    view.top / view.row,
    columns,
    rows,
    0,
    0,
    columns * view.cell,
    rows * view.row,
  );
}

// Where the answer begins and which column is chosen, in maps that tell.
export function paintMarks(canvas, view, map, ink) {
  const pen = canvas.getContext("2d");
  const place = (column) => (column - view.start) * view.cell;
  pen.strokeStyle = ink;
  pen.lineWidth = 1;
  if (map.answer < map.tokens.length) {
    pen.setLineDash([4, 3]);
    pen.beginPath();
    pen.moveTo(place(map.answer), 0);
    pen.lineTo(place(map.answer), view.height);
    pen.stroke();
    pen.setLineDash([]);
  }
  if (Number.isInteger(map.selected)) {
    pen.strokeRect(place(map.selected) + 0.5, 0.5, view.cell - 1, view.height - 1);
  }
}

// Tokens upright where they fit, else where in the text each stretch lies; who speaks below.
export function paintHead(canvas, view, map, ink) {
  const pen = freshPen(canvas, view.width, view.head);
  const floor = view.head - BAND;
  const last = Math.min(map.tokens.length, Math.ceil(view.start + view.width / view.cell));
  const every = view.cell >= 12 ? 1 : niceStep(70 / view.cell);
  pen.font = `12px ${MONO}`;
  for (let column = Math.floor(view.start); column < last; column += 1) {
    const x = (column - view.start) * view.cell;
    pen.fillStyle = map.roleColours[map.roles[column]];
    pen.fillRect(x, floor, view.cell + 0.5, BAND - 2);
    pen.fillStyle = ink;
    if (every === 1) {
      pen.save();
      pen.translate(x + view.cell / 2 + 4, floor - 6);
      pen.rotate(-Math.PI / 2);
      pen.fillText(short(map.tokens[column]), 0, 0);
      pen.restore();
      if (view.cell >= 14) {
        pen.font = `10px ${MONO}`;
        pen.fillText(map.roleLetters[map.roles[column]], x + view.cell / 2 - 3, floor + 11);
        pen.font = `12px ${MONO}`;
      }
    } else if ((map.window[0] + column) % every === 0) {
      pen.fillRect(x, floor - 6, 1, 5);
      pen.fillText(String(map.window[0] + column), x + 3, floor - 8);
    }
  }
}

function niceStep(least) {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, least)));
  return [1, 2, 5, 10].map((n) => n * power).find((n) => n >= least);
}

// Pixels of the longest of these labels, each cut as it is drawn.
export function textWidth(labels) {
  const longest = labels.reduce((most, label) => Math.max(most, short(label).length), 1);
  return Math.round(longest * LETTER);
}

export const short = (label) => (label.length <= 18 ? label : `${label.slice(0, 17)}…`);

export const counted = (number) => number.toLocaleString("en");

export function placeWords(map, first, last) {
  const [start, , total] = map.window;
  const from = start + first + map.first;
  return `tokens ${counted(from)}–${counted(from + last - first - 1)} of ${counted(total)}`;
}
