// Directions as points of a plane, each with its name where there is room for it.

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT, EDGE] = [960, 520, 60];
const COLOURS = ["#d95f02", "#1f77c8", "#009688", "#aa78b4", "#a58a1a", "#c2410c", "#5b7083"];
const ALONE = "#888888";
const [LETTER, LINE] = [6.4, 13]; // size of a letter, in pixels

function svg(tag, attributes, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// Scales numbers to a range of pixels.
function fit(values, from, to) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const span = Math.max(high - low, 1e-9);
  return values.map((value) => from + ((value - low) / span) * (to - from));
}

const overlap = (a, b) => a.x0 < b.x1 && b.x0 < a.x1 && a.y0 < b.y1 && b.y0 < a.y1;

// Where a name of this width may stand beside its point: right, left, above, below.
function places(x, y, width) {
  const box = (x0, y0, anchor, at) => ({ x0, x1: x0 + width, y0, y1: y0 + LINE, anchor, at });
  return [
    box(x + 8, y - LINE / 2, "start", x + 8),
    box(x - 8 - width, y - LINE / 2, "end", x - 8),
    box(x - width / 2, y - 8 - LINE, "middle", x),
    box(x - width / 2, y + 8, "middle", x),
  ];
}

export function drawMap({ names, xy, cluster, titles }) {
  const x = fit(
    xy.map((point) => point[0]),
    EDGE,
    WIDTH - EDGE,
  );
  const y = fit(
    xy.map((point) => point[1]),
    HEIGHT - 40,
    24,
  );
  const taken = names.map((_, i) => ({ x0: x[i] - 5, x1: x[i] + 5, y0: y[i] - 5, y1: y[i] + 5 }));
  const points = names.map((name, i) => {
    const alone = cluster[i] < 0;
    const colour = alone ? ALONE : COLOURS[cluster[i] % COLOURS.length];
    const look = alone ? { fill: "none", stroke: colour, "stroke-width": 2 } : { fill: colour };
    const where = alone ? "on its own" : `cluster ${cluster[i] + 1}`;
    const point = svg("circle", { cx: x[i], cy: y[i], r: 5, ...look });
    const group = svg("g", {}, svg("title", {}, `${name}, ${where}`), point);
    const free = places(x[i], y[i], name.length * LETTER).find(
      (box) =>
        box.x0 > 0 && box.x1 < WIDTH && !taken.some((other, at) => at !== i && overlap(box, other)),
    );
    if (free) {
      taken.push(free);
      const place = { x: free.at, y: free.y1 - 3, "text-anchor": free.anchor };
      group.append(svg("text", place, name));
    }
    return group;
  });
  const axes = [
    svg("text", { x: WIDTH / 2, y: HEIGHT - 6, "text-anchor": "middle", class: "axis" }, titles[0]),
    svg(
      "text",
      {
        x: 14,
        y: HEIGHT / 2,
        "text-anchor": "middle",
        class: "axis",
        transform: `rotate(-90 14 ${HEIGHT / 2})`,
      },
      titles[1],
    ),
  ];
  const about = `Map of ${names.length} directions; the table above and the pairs say the same`;
  return svg(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": about, class: "concept-map" },
    ...axes,
    ...points,
  );
}
