// What both pages share: ask the service, and make elements without ever reading text as HTML.

const state = { token: "" };

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

export async function ask(path, options = {}) {
  const headers = { ...options.headers };
  if (state.token) headers.authorization = `Bearer ${state.token}`;
  const response = await fetch(path, { ...options, headers });
  const body = await response.json().catch(() => ({}));
  return { status: response.status, body };
}

// Runs `start` once a token lets it, asking for one where the service wants it.
export async function begin(start) {
  const form = document.getElementById("token");
  const { status } = await ask("version");
  if (status !== 401) {
    form.hidden = true;
    await start();
    return;
  }
  form.hidden = false;
  form.onsubmit = (event) => {
    event.preventDefault();
    state.token = document.getElementById("bearer").value;
    begin(start);
  };
}
