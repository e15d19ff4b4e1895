// Asking the project's API: JSON there and back, and refusals as sentences.
import { _ } from "./language.js";

const root = document.documentElement;
export const base = document.querySelector("meta[name='panoptic-base']").content;
export const api = `${base}/api`;
export const isReadOnly = root.dataset.readOnly === "true";

export class Refusal extends Error {
  constructor(error, status) {
    super(error.text);
    this.id = error.id;
    this.field = error.field || ""; // of the body, or of its configuration
    this.values = error.values || {};
    this.status = status;
  }
}

async function answered(asking) {
  let answer;
  try {
    answer = await asking;
  } catch {
    throw new Refusal({ id: "no-server", text: _("The server does not answer: is “panoptic-assets ui” still running?") }, 0);
  }
  const said = answer.status === 204 ? null : await answer.json().catch(() => null);
  if (!answer.ok) {
    throw new Refusal(said?.error ? { ...said.error, field: said.field } : { id: "no-answer", text: _("The server gave no answer that can be read (status {status}).", { status: answer.status }) }, answer.status);
  }
  return said;
}

// What is told at an address below the API; the values of a list each become a parameter.
export function read(path, asked = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(asked)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== undefined && one !== null && one !== "") query.append(name, one);
    }
  }
  const text = query.toString();
  return answered(fetch(`${api}/${path}${text ? `?${text}` : ""}`, { headers: { Accept: "application/json" } }));
}

export function post(path, body, headers = {}) {
  const address = path.startsWith("/") ? path : `${api}/${path}`;
  return answered(
    fetch(address, {
      method: "POST",
      headers: { "Content-Type": "application/json", Accept: "application/json", ...headers },
      body: JSON.stringify(body),
    }),
  );
}

export const thumbnail = (id) => `${api}/thumbnails/${id}.webp`;
export const preview = (id, size) => `${api}/previews/${id}.webp?size=${size}`;
