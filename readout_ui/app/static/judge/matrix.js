// A matrix of cosines on a canvas: packed numbers in, a few milliseconds for 200 x 200 cells.

const LABELS = 98; // room for names, in pixels
const LEGIBLE = 11; // smallest cell that a name stands beside
const SMALLEST = 4;

// {order, cosines} of a report as a square of numbers, row by row.
export function unpack({ order, cosines }) {
  const bytes = Uint8Array.from(atob(cosines), (letter) => letter.charCodeAt(0));
  const above = new Int16Array(bytes.buffer);
  const n = order.length;
  const values = new Float32Array(n * n);
  let at = 0;
  for (let row = 0; row < n; row += 1) {
    values[row * n + row] = 1;
    for (let column = row + 1; column < n; column += 1) {
      values[row * n + column] = values[column * n + row] = above[at++] / 10000;
    }
  }
  return values;
}

function channels(colour) {
  const probe = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  probe.fillStyle = colour;
  probe.fillRect(0, 0, 1, 1);
  return probe.getImageData(0, 0, 1, 1).data;
}

function mixer(style) {
  const named = (name) => channels(style.getPropertyValue(name));
  const [mid, pos, neg] = ["--mid", "--pos", "--neg"].map(named);
  return (share) => {
    const end = share < 0 ? neg : pos;
    const part = Math.min(1, Math.abs(share));
    const mixed = [0, 1, 2].map((i) => Math.round(mid[i] + (end[i] - mid[i]) * part));
    return `rgb(${mixed})`;
  };
}

// The largest cosine beside the diagonal, to whose colour the others are scaled.
export function reachOf(values, n) {
  let reach = 0.05;
  for (let row = 0; row < n; row += 1)
    for (let column = 0; column < row; column += 1)
      reach = Math.max(reach, Math.abs(values[row * n + column]));
  return reach;
}

// Draws the matrix; gives back what lies under a point of the canvas: [row, column] or null.
export function drawMatrix(canvas, { names, values, marked }, chosen = []) {
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
  const style = getComputedStyle(canvas);
  const colour = mixer(style);
  const reach = reachOf(values, n);
  for (let row = 0; row < n; row += 1)
    for (let column = 0; column < n; column += 1) {
      const own = row === column;
      pen.fillStyle = own
        ? style.getPropertyValue("--chance")
        : colour(values[row * n + column] / reach);
      pen.fillRect(labels + column * cell, labels + row * cell, cell, cell);
    }
  outline(pen, marked, cell, labels, style.getPropertyValue("--ink"), cell > 7 ? 1.5 : 0.75);
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
  for (const [row, column] of cells) {
    const [x, y] = [labels + column * cell + inset, labels + row * cell + inset];
    pen.strokeRect(x, y, cell - width, cell - width);
  }
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
