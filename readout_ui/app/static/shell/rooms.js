// Shows the room and the part of it that the address names. A room's parts are on the page from the
// first visit on: the server lays both out as tabs, and those of the rooms themselves are not seen.

import { addressOf, current, go, onRoute, slug } from "../lib/route.js";

const MOST_FRAMES = 300; // how long a place may take to be as high again as it was
const PART_FRAMES = 3600; // how long a part may take to come onto the page

function tabsOf(id) {
  const strip = document.querySelector(`#${id} > .tab-wrapper`);
  return strip ? [...strip.querySelectorAll("[role=tab], .overflow-dropdown button")] : [];
}

const chosen = (tab) => tab.getAttribute("aria-selected") === "true" || tab.matches(".selected");

// Names of a strip's tabs, in order, those behind the three dots too.
function namesOf(id) {
  const all = document.querySelectorAll(`#${id} > .tab-wrapper > [aria-hidden] button`);
  return [...all].map((button) => slug(button.textContent));
}

function openTab(id, name) {
  const wanted = tabsOf(id).find((tab) => slug(tab.textContent) === name);
  if (wanted && !chosen(wanted)) wanted.click();
}

// Concepts have the parts of Write to themselves: its tabs stand in the details.
const tabNamed = ({ room, part, query }) => (room === "write" ? query.tab : part);

function addressOfTab(room, name, first) {
  if (name === first) return addressOf({ room });
  return addressOf(room === "write" ? { room, query: { tab: name } } : { room, part: name });
}

let shown = null; // the newest route: what an older one still waits for is not opened any more

function whenThere(id, route, then, frames = PART_FRAMES) {
  if (route !== shown) return;
  if (tabsOf(id).length) then();
  else if (frames) requestAnimationFrame(() => whenThere(id, route, then, frames - 1));
}

// How far each place was scrolled when it was left: another one opens at its top, a known one where
// it was.
const left = new Map();
let place = "";
let touched = false; // since the place was opened

function scroll({ room, part }) {
  const here = addressOf({ room, part });
  if (here === place) return;
  left.set(place, window.scrollY);
  place = here;
  touched = false;
  const top = left.get(here) ?? 0;
  window.scrollTo(0, top);
  if (top) keep(top, here);
}

// The place may still be on its way onto the page, and too short; a person's own move ends it.
function keep(top, here, frames = MOST_FRAMES) {
  if (here !== place || touched || !frames) return;
  window.scrollTo(0, top);
  requestAnimationFrame(() => keep(top, here, frames - 1));
}

function touch() {
  touched = true;
}

function show(route) {
  if (!route.room) return;
  shown = route;
  scroll(route);
  document.body.dataset.room = route.room;
  for (const link of document.querySelectorAll(".rooms a")) {
    if (link.hash === `#/${route.room}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const { label } = document.querySelector(".rooms a[aria-current]")?.dataset ?? {};
  if (label) document.title = `${label} · Readout Studio`;
  whenThere("rooms", route, () => {
    openTab("rooms", route.room);
    whenThere(`${route.room}-parts`, route, () => openPart(route));
  });
}

function openPart(route) {
  const id = `${route.room}-parts`;
  const names = namesOf(id);
  const name = tabNamed(route);
  openTab(id, names.includes(name) ? name : names[0]);
  requestAnimationFrame(() => window.dispatchEvent(new Event("resize")));
}

// Gradio's <base> would make of a link to a room another page where the address has a query.
function followLink(event) {
  const link = event.target.closest('a[href^="#/"]');
  const elsewhere = event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0;
  if (!link || elsewhere || event.defaultPrevented) return;
  event.preventDefault();
  if ("skip" in link.dataset) skip();
  else go(link.getAttribute("href"));
}

// The keyboard goes on in the room that is open.
function skip() {
  const room = document.getElementById(`room-${document.body.dataset.room}`);
  if (!room) return;
  room.setAttribute("tabindex", "-1");
  room.focus();
}

const STEPS = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity };

// Arrow keys on any strip of tabs, as the pattern for tabs has it.
function stepTabs(event) {
  const tab = event.target.closest?.("[role=tab]");
  const step = STEPS[event.key];
  if (!tab || !step || event.ctrlKey || event.altKey || event.metaKey) return;
  const all = [...tab.closest("[role=tablist]").querySelectorAll("[role=tab]:not([disabled])")];
  const at = all.indexOf(tab) + step;
  const next = Number.isFinite(at) ? all.at(at % all.length) : all.at(at < 0 ? 0 : -1);
  event.preventDefault();
  next.focus();
  next.click();
  followTab({ target: next, isTrusted: true });
}

// Gradio gives every radio button a name of its own, and a new one at each choice, so that arrow keys
// find no next one and Tab stops at each: before a key does its work, those of a group get one name.
function groupRadios({ target }) {
  if (target.type !== "radio") return;
  const group = target.closest("fieldset")?.querySelectorAll("input[type=radio]") ?? [];
  for (const radio of group) radio.name = target.name;
}

// A person's click on a tab is a step that Back takes back.
function followTab(event) {
  const tab = event.target.closest("[role=tab], .overflow-dropdown button");
  const strip = tab?.closest(".tabs");
  const { room } = current();
  if (!event.isTrusted || strip?.id !== `${room}-parts`) return;
  go(addressOfTab(room, slug(tab.textContent), namesOf(strip.id)[0]));
}

// `home` is the room of an address that names none; a tab that was clicked before this script came
// stays.
export function startRooms(home) {
  document.addEventListener("click", followLink);
  document.addEventListener("click", followTab);
  document.addEventListener("keydown", stepTabs);
  document.addEventListener("keydown", groupRadios, true);
  for (const move of ["wheel", "touchmove", "pointerdown", "keydown"])
    document.addEventListener(move, touch, { passive: true });
  onRoute(show);
  if (current().room) return;
  const tab = tabsOf(`${home}-parts`).find(chosen);
  const names = namesOf(`${home}-parts`);
  go(addressOfTab(home, tab ? slug(tab.textContent) : names[0], names[0]), { replace: true });
}
