// Watches the start of the page, from its head, before any other script. Gradio's own one fails there
// at times (sveltejs/svelte#18610) and leaves a page that never comes, or one that looks right and
// shows nothing new: then it is loaded once more. Where that does not bring it either, one sentence
// says what to do.

(() => {
  const LOADED_ANEW = "readout-loaded-anew";
  const PATIENCE_MS = 5000; // how long a start in which a script failed again may still succeed
  const AFTERMATH_MS = 2000; // how long after the start a failure is one of it
  const SENTENCE = "The page did not start. Reload it; if it still does not, start the app again.";
  const LOOK =
    "position:fixed;inset:1rem 1rem auto;z-index:9999;max-width:34rem;margin:0 auto;padding:1rem;" +
    "font:16px/1.4 system-ui,sans-serif;color:#1f2937;background:#fff;border:2px solid #b91c1c;" +
    "border-radius:8px";

  let startedAt = 0;
  let failedAt = 0;
  let told = null;

  // The script that runs last names the room that is open.
  function hasStarted() {
    const rooms = document.getElementById("rooms");
    return Boolean(document.body?.dataset.room && rooms?.getClientRects().length);
  }

  // Once, or never where the browser remembers nothing: no page is loaded again and again.
  function loadAnew() {
    try {
      if (sessionStorage.getItem(LOADED_ANEW)) return false;
      sessionStorage.setItem(LOADED_ANEW, "yes");
    } catch {
      return false;
    }
    location.reload();
    return true;
  }

  function forget() {
    try {
      sessionStorage.removeItem(LOADED_ANEW);
    } catch {
      // nothing was remembered
    }
  }

  function tell() {
    told = document.createElement("p");
    told.id = "not-started";
    told.setAttribute("role", "alert");
    told.textContent = SENTENCE;
    told.style.cssText = LOOK;
    document.body.append(told);
  }

  // Scripts of the page itself, not those that a browser's extensions put beside them.
  function noteFailure({ filename, target, reason }) {
    const where = filename || target?.src || target?.href || reason?.stack || "";
    if (failedAt || !String(where).includes(location.origin)) return;
    failedAt = Date.now();
    if (loadAnew()) end();
  }

  function end() {
    clearInterval(looking);
    removeEventListener("error", noteFailure, true);
    removeEventListener("unhandledrejection", noteFailure);
    told?.remove();
  }

  function look() {
    const now = Date.now();
    if (hasStarted()) {
      startedAt ||= now;
      if (now - startedAt < AFTERMATH_MS) return;
      if (!failedAt) forget();
      end();
    } else if (failedAt && !told && now - failedAt > PATIENCE_MS) tell();
  }

  const looking = setInterval(look, 250);
  addEventListener("error", noteFailure, true);
  addEventListener("unhandledrejection", noteFailure);
})();
