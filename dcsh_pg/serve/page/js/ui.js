// Elements of the page, messages, files and the clipboard.

/** @param {string} id */
export function needed(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found;
}

/** @param {string} id */
export const input = (id) => /** @type {HTMLInputElement} */ (needed(id));

/** @param {string} text */
export function say(text) {
  needed("status").textContent = text;
}

/** A line over the map; '' removes it. @param {string} text */
export function hint(text) {
  needed("hint").textContent = text;
  needed("hint").hidden = !text;
}

/** Shows an error with what to do, and a way to try again; null removes it. @param {unknown} error @param {() => unknown} [again] */
export function fail(error, again) {
  const place = needed("error");
  place.hidden = error === null;
  if (error === null) return place.replaceChildren();
  const text = document.createElement("span");
  const words = error instanceof Error ? error.message : String(error);
  const next = error instanceof Error && "hint" in error && error.hint ? ` (${error.hint})` : "";
  text.textContent = words + next;
  const close = document.createElement("button");
  close.type = "button";
  close.textContent = again ? "Try again" : "Close";
  close.addEventListener("click", () => { fail(null); again?.(); });
  place.replaceChildren(text, close);
}

/** @param {Blob} content @param {string} name */
export function save(content, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** @param {string} what @param {string} text */
export async function copy(what, text) {
  try {
    await navigator.clipboard.writeText(text);
    say(`${what} copied`);
  } catch {
    prompt(`${what}:`, text); // a page without https may not write to the clipboard
  }
}
