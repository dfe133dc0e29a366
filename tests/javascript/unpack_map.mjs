// Reads a packed map from stdin and prints, as JSON, what the page would show of it.

import { readFileSync } from "node:fs";
import { unpackMap } from "../../readout_ui/app/static/heatmap/data.js";

const map = unpackMap(readFileSync(0, "utf8"));
const rows = map.rows.length + (map.strip ? 1 : 0);
const scores = map.units.map((_unit, index) =>
  Array.from({ length: rows }, (_row, row) =>
    map.tokens.map((_token, column) => map.score(index, row, column)),
  ),
);
const { pooled, ...header } = map;
const units = header.units.map(({ name, kind }) => ({ name, kind }));
// NaN becomes null.
process.stdout.write(JSON.stringify({ ...header, units, scores, pooled: [...pooled] }));
