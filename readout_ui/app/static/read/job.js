// A job of the server that the page asks about until it has ended.

const POLL_MS = 250;

export const underWay = (state) => state === "waiting" || state === "running";

export function pause(ms) {
  return new Promise((resume) => {
    setTimeout(resume, ms);
  });
}

// `tell(answer, state)` hears every answer to `ask()`; one that fails ends it.
export async function followJob(ask, tell) {
  let state = "waiting";
  while (underWay(state)) {
    const answer = await ask();
    state = answer.ok ? answer.state : "failed";
    tell(answer, state);
    if (underWay(state)) await pause(POLL_MS);
  }
}

export function waitingWords(before = []) {
  return before.length ? `Waiting behind ${before.join(", ")}` : "Waiting for the device";
}
