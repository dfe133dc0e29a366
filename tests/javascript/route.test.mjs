// Addresses of rooms and parts: taken apart, put together, followed.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import {
  addressOf,
  current,
  go,
  onRoute,
  parse,
  slug,
} from "../../readout_ui/app/static/lib/route.js";

class Window extends EventTarget {
  constructor() {
    super();
    this.steps = [""];
    this.history = {
      replaceState: (_state, _title, to) =>
        this.steps.splice(-1, 1, to.replace("/?__theme=dark", "")),
    };
    const page = this;
    this.location = {
      pathname: "/",
      search: "?__theme=dark",
      get hash() {
        return page.steps.at(-1);
      },
      set hash(address) {
        page.steps.push(address);
        page.dispatchEvent(new Event("hashchange"));
      },
    };
  }
}

beforeEach(() => {
  globalThis.window = new Window();
  globalThis.HashChangeEvent = Event;
});

test("an address names a room, a part and details", () => {
  const at = { room: "judge", part: "cross-talk", query: { layer: "16" } };
  assert.deepEqual(parse("#/judge/cross-talk?layer=16"), at);
  assert.deepEqual(parse("#/ship"), { room: "ship", part: "", query: {} });
  assert.deepEqual(parse("#/write/in%20love"), { room: "write", part: "in love", query: {} });
});

test("what names no room is no address", () => {
  for (const other of ["", "#", "#/", "#/attic", "#rooms", "#/readme"])
    assert.equal(parse(other).room, "", other);
  assert.equal(parse("#/write/100%").part, "100%");
});

test("an address put together is taken apart again", () => {
  for (const at of [
    { room: "write", part: "a/b?c&d #é", query: {} },
    { room: "judge", part: "cross-talk", query: { pair: "proud~confident", layer: "16" } },
    { room: "read", part: "", query: { text: "a=b&c" } },
  ])
    assert.deepEqual(parse(addressOf(at)), at);
  assert.equal(addressOf({ room: "write" }), "#/write");
  assert.equal(slug(" Cross-talk "), "cross-talk");
});

test("who follows is told where the page is, now and later, until he stops", () => {
  const seen = [];
  go("#/read");
  const stop = onRoute(({ room, part }) => seen.push(`${room} ${part}`));
  go("#/write/calm");
  stop();
  go("#/ship");
  assert.deepEqual(seen, ["read ", "write calm"]);
  assert.equal(current().room, "ship");
});

test("an address that replaces another leaves no step for Back", () => {
  const seen = [];
  onRoute(({ room }) => seen.push(room));
  go("#/read", { replace: true });
  assert.deepEqual(window.steps, ["#/read"]);
  go("#/judge");
  assert.deepEqual(window.steps, ["#/read", "#/judge"]);
  assert.deepEqual(seen, ["read", "judge"]);
});
