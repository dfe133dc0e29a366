// Drawers at the right edge: a button with `data-drawer="id"` opens and closes the element of that
// id. Escape closes it, and the focus goes back to what opened it.

const openers = new WeakMap();

export function openDrawer(id, opener = document.activeElement) {
  const drawer = document.getElementById(id);
  if (!drawer) return;
  for (const other of document.querySelectorAll(".drawer.open")) closeDrawer(other.id);
  openers.set(drawer, opener);
  drawer.classList.add("open");
  tell(id, true);
  drawer.setAttribute("tabindex", "-1");
  drawer.focus({ preventScroll: true });
  window.dispatchEvent(new Event("resize"));
}

export function closeDrawer(id) {
  const drawer = document.getElementById(id);
  if (!drawer?.classList.contains("open")) return;
  const within = drawer.contains(document.activeElement);
  drawer.classList.remove("open");
  tell(id, false);
  const opener = openers.get(drawer);
  if (within && opener?.isConnected) opener.focus();
}

function tell(id, open) {
  for (const button of document.querySelectorAll(`[data-drawer="${id}"][aria-expanded]`))
    button.setAttribute("aria-expanded", String(open));
}

function toggle(event) {
  const button = event.target.closest("[data-drawer]");
  if (!button) return;
  const id = button.dataset.drawer;
  const open = document.getElementById(id)?.classList.contains("open");
  if (open) closeDrawer(id);
  else openDrawer(id, button);
}

function closeOnEscape(event) {
  const open = document.querySelector(".drawer.open");
  // A list that is open in the drawer, or a dialog over it, closes first.
  if (event.key !== "Escape" || event.defaultPrevented || !open) return;
  if (document.querySelector("dialog[open], ul[role=listbox]")) return;
  closeDrawer(open.id);
}

// Once a page.
export function startDrawers() {
  document.addEventListener("click", toggle);
  document.addEventListener("keydown", closeOnEscape);
}
