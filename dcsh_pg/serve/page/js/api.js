// The interface of the server; /openapi.json describes it.

/** @import {Archive, Histogram, Hits, State, Surface} from "./types.js" */
import { body, end } from "./state.js";

const PATIENCE = 180_000; // milliseconds until a server that reads an archive is given up

/** An answer that is an error: what is wrong, and what to do. */
export class Refused extends Error {
  /** @param {string} message @param {string} [hint] */
  constructor(message, hint) {
    super(message);
    this.hint = hint;
  }
}

/** @param {string} archive */
export function home(archive) {
  return new URL(`api/archives/${encodeURIComponent(archive)}`, document.baseURI).href;
}

/** @returns {Promise<{name: string, chips: number}[]>} */
export const archives = async () => (await ask(new URL("api/archives", document.baseURI).href)).json();

/** @param {string} name @returns {Promise<Archive>} */
export const archive = async (name) => (await ask(home(name))).json();

/** @param {State} state @param {AbortSignal} signal @returns {Promise<Hits>} */
export const search = async (state, signal) => (await post(state, end(state), {}, signal)).json();

/** @param {State} state @param {AbortSignal} signal @returns {Promise<Histogram>} */
export const histogram = async (state, signal) => (await post(state, "histogram", {}, signal)).json();

/** @param {State} state @param {object} grid @param {AbortSignal} signal @returns {Promise<Surface>} */
export const surface = async (state, grid, signal) => (await post(state, "surface", grid, signal)).json();

/** @param {State} state @param {string} format */
export const download = async (state, format) => (await post(state, `export/${format}`)).blob();

/** @param {State} state @returns {Promise<{sql: string, command: string}>} */
export const text = async (state) => (await post(state, "text")).json();

/** @param {string} archive @param {File} file @returns {Promise<{code: string, scale: number | null}>} */
export async function picture(archive, file) {
  const form = new FormData();
  form.append("file", file);
  return (await ask(`${home(archive)}/pictures`, { method: "POST", body: form })).json();
}

/** @param {string} archive @param {string} text @returns {Promise<{code: string}>} */
export async function words(archive, text) {
  const headers = { "content-type": "application/json" };
  return (await ask(`${home(archive)}/words`, { method: "POST", headers, body: JSON.stringify({ text }) })).json();
}

/** The chip at a place, or null. @param {string} archive @param {number} lon @param {number} lat @returns {Promise<number | null>} */
export async function chipAt(archive, lon, lat) {
  const answer = await once(`${home(archive)}/at?lon=${lon}&lat=${lat}`);
  return answer.status === 404 ? null : (await accepted(answer)).json().then(({ id }) => id);
}

/** @param {State} state @param {string} end @param {object} [extra] @param {AbortSignal} [signal] */
function post(state, end, extra = {}, signal) {
  return ask(`${home(state.archive)}/${end}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ ...body(state), ...extra }),
    signal,
  });
}

/** @param {string} url @param {RequestInit} [options] */
async function ask(url, options) {
  const began = Date.now();
  let answer = await once(url, options);
  // A large archive is read before all its chips are compared for the first time.
  while (answer.status === 503 && Number(answer.headers.get("retry-after")) === 1 && Date.now() - began < PATIENCE) {
    await new Promise((done) => setTimeout(done, 1000));
    answer = await once(url, options);
  }
  return accepted(answer);
}

/** @param {Response} answer */
async function accepted(answer) {
  if (answer.ok) return answer;
  const { error, hint } = await answer.json().catch(() => ({}));
  throw new Refused(error ?? `the server answers ${answer.status}`, hint);
}

/** @param {string} url @param {RequestInit} [options] */
async function once(url, options) {
  try {
    return await fetch(url, options);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Refused("the server does not answer", "check that dcsh-pg serve still runs, then try again");
  }
}
