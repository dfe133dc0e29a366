// Pairs of concepts: their list, and both texts side by side with the words that both have.

import { ask } from "../lib/ask.js";
import { el, openSheet, page } from "../lib/dom.js";
import { addressOf, current, go, onRoute } from "../lib/route.js";
import { decimals, number } from "../lib/scale.js";

export const PAIR = ["concept", "other", "cosine", "margin_95", "held_out_auroc", "verdict"];
const KINDS = { confused: "bad" };
const AT_ONCE = 80; // rows that are drawn before a list is scrolled

function told([, , , , auroc, verdict]) {
  return auroc === null ? verdict : `${verdict}, ${decimals(auroc)}`;
}

// The address of a pair in a part of Judge, with the rest of the part's own address.
export function addressOfPair(a, b, part, query = {}) {
  return addressOf({ room: "judge", part, query: { ...query, pair: `${a}~${b}` } });
}

// A cosine as a bar to the right or left of its middle.
function bar(cosine) {
  const kind = `pbar h${cosine < 0 ? " below" : ""}`;
  return el("span", { class: kind, style: `--part: ${Math.abs(cosine)}` });
}

function pairRow(pair, address) {
  const [a, b, cosine, margin, , verdict] = pair;
  const between = el("span", { class: "dim" }, cosine > 0 ? "–" : "vs");
  return el(
    "tr",
    {},
    el("td", {}, el("a", { href: address(a, b) }, `${a} `, between, ` ${b}`)),
    el("td", { class: "num" }, bar(cosine), number(cosine)),
    el("td", { class: "num dim h" }, `±${margin.toFixed(2)}`),
    el("td", {}, el("span", { class: `v ${KINDS[verdict] ?? "plain"}` }, told(pair))),
  );
}

function pairRows(pairs, address) {
  return pairs.map((pair) => pairRow(pair, address));
}

// A table of all pairs; rows far down come when the list is scrolled near them.
export function pairTable(pairs, address) {
  const title = (words, kind = "") => el("th", { scope: "col", class: kind || null }, words);
  const heads = [title("Pair"), title("Cosine", "num"), title("95 %", "num h")];
  const body = el("tbody", {}, pairRows(pairs.slice(0, AT_ONCE), address));
  const table = el(
    "table",
    { class: "t1 pairs" },
    el("thead", {}, el("tr", {}, heads, title("Held-out texts"))),
    body,
  );
  if (pairs.length > AT_ONCE) growAtEnd(body, pairs, address);
  return table;
}

function growAtEnd(body, pairs, address) {
  const watcher = new IntersectionObserver(([{ isIntersecting }]) => {
    if (!isIntersecting) return;
    watcher.disconnect();
    const shown = body.rows.length;
    body.append(...pairRows(pairs.slice(shown, shown + 4 * AT_ONCE), address));
    if (body.rows.length < pairs.length) watcher.observe(body.lastElementChild);
  });
  watcher.observe(body.lastElementChild);
}

// Opens the sheet of the pair that the address of one part names, and goes back where it closes.
export class PairSheet {
  // `about` gives the pair's row, where it is known; `opened` is told both names, or none.
  constructor(server, part, about, opened) {
    Object.assign(this, { server, part, about, opened, before: null });
    onRoute((route) => this.follow(route));
  }

  follow({ room, part, query }) {
    if (room !== "judge" || part !== this.part) {
      this.sheet?.close();
      return;
    }
    const pair = query.pair?.split("~");
    if (pair?.length !== 2) {
      this.before = window.location.hash;
      this.sheet?.close();
    } else if (!this.sheet) this.open(...pair);
  }

  async open(a, b) {
    const body = el("div", {}, "…");
    const { sheet } = openSheet(page(), `${a} – ${b}`, body, { wide: true });
    sheet.classList.add("judge-pair");
    this.sheet = sheet;
    sheet.addEventListener("close", () => this.closed());
    this.opened(a, b);
    const answer = await ask(this.server, "pair_texts", { a, b });
    if (answer.ok) body.replaceChildren(...this.drawn(a, b, answer));
    else body.replaceChildren(el("p", { role: "alert" }, answer.message));
  }

  closed() {
    this.sheet = null;
    this.opened();
    const { room, part, query } = current();
    if (room !== "judge" || part !== this.part || !query.pair) return;
    const { pair: _, ...rest } = query;
    go(this.before ?? addressOf({ room, part, query: rest }), { replace: true });
  }

  drawn(a, b, { sides, shared }) {
    const known = this.about(a, b);
    const cosine = known ? `Cosine ${number(known[2])} ± ${known[3].toFixed(2)}; ` : "";
    const words = shared.length ? `Marked: words both have and few others (${shared.length}).` : "";
    const beside = `#/write/${encodeURIComponent(a)}?beside=${encodeURIComponent(b)}`;
    return [
      el("p", { class: "dim" }, known ? `${cosine}${told(known)}. ` : "", words),
      el("div", { class: "two" }, sides.map(side)),
      el("p", {}, el("a", { class: "btn", href: beside }, "Edit both in Write")),
    ];
  }
}

// A row of a list of pairs, whichever of the two comes first.
export function rowOf(pairs, a, b) {
  return pairs.find(([x, y]) => (x === a && y === b) || (x === b && y === a));
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
      texts.map((parts, i) => el("li", {}, parts.map(part), " ", editLink(name, i + 1))),
    ),
  );
}

// Every second part of a text is shared.
function part(words, i) {
  return i % 2 ? el("mark", {}, words) : words;
}

function editLink(name, at) {
  const address = `#/write/${encodeURIComponent(name)}?text=${at}`;
  return el("a", { class: "small", href: address, "aria-label": `Edit text ${at}` }, "Edit");
}
