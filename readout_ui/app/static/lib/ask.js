// What a function of the app answers, also where the app does not.

const OFFLINE = {
  ok: false,
  offline: true,
  message: "The app does not answer. It may have been stopped or be restarting.",
};

// Gradio answers undefined, or throws, when the server did not.
export async function ask(server, name, request = {}) {
  const answer = await Promise.resolve(server[name](request)).catch(() => undefined);
  return answer || OFFLINE;
}
