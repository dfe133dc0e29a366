// What a function of the app answers, also where the app does not, and files on their way to it.

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

const MOST_BYTES = 20e6;

// A chosen file as the server takes it: `sent`, or why it does not go.
export async function fileToSend(file) {
  if (file.size > MOST_BYTES) return { ok: false, message: "This file is larger than 20 MB." };
  const bytes = new Uint8Array(await file.arrayBuffer());
  let text = "";
  for (let i = 0; i < bytes.length; i += 32768)
    text += String.fromCharCode(...bytes.subarray(i, i + 32768));
  return { ok: true, sent: { file_name: file.name, content: btoa(text) } };
}
