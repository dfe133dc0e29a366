// Where the page is: "#/write/anxious", "#/judge/cross-talk?layer=16". An address names a room, a
// part of it and details; links are plain `<a href="#/write/anxious">`.

export const ROOMS = ["write", "read", "judge", "ship"];

// {room, part, query} of an address; the room is "" where there is none of that name.
export function parse(address) {
  const [path, details = ""] = address.replace(/^#?\/?/, "").split(/\?(.*)/s);
  const [room, ...rest] = path.split("/");
  if (!ROOMS.includes(room)) return { room: "", part: "", query: {} };
  const query = Object.fromEntries(new URLSearchParams(details));
  return { room, part: decoded(rest.join("/")), query };
}

// The address of a room, a part of it and details: what `parse` takes apart.
export function addressOf({ room, part = "", query = {} }) {
  const details = new URLSearchParams(query).toString();
  const path = part ? `${room}/${encodeURIComponent(part)}` : room;
  return `#/${path}${details && `?${details}`}`;
}

// The words of a label as a part of an address: "Cross-talk" is "cross-talk".
export function slug(label) {
  return label.trim().toLowerCase().replace(/\s+/g, "-");
}

// Where the page is now.
export function current() {
  return parse(window.location.hash);
}

// Opens an address; `replace` leaves no step for Back.
export function go(address, { replace = false } = {}) {
  if (!replace) {
    window.location.hash = address;
    return;
  }
  // Gradio's <base> would take the page's own query away.
  const { pathname, search } = window.location;
  window.history.replaceState(null, "", `${pathname}${search}${address}`);
  window.dispatchEvent(new HashChangeEvent("hashchange"));
}

// Calls back with where the page is, now and whenever that changes; gives back how to stop.
export function onRoute(callback) {
  const tell = () => callback(current());
  window.addEventListener("hashchange", tell);
  if (current().room) tell();
  return () => window.removeEventListener("hashchange", tell);
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // a stray percent sign that a person typed
  }
}
