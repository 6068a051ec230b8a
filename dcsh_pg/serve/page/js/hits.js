// The strip of thumbnails, in the order of the search.

/** @import {Archive, Hit} from "./types.js" */
import { home } from "./api.js";
import { css } from "./colours.js";

/**
 * @typedef {object} Actions
 * @property {(id: number | null) => void} hover
 * @property {(hit: Hit) => void} see
 * @property {(hit: Hit) => void} search
 * @property {(id: number, mark: "right" | "wrong") => void} mark
 */

/**
 * @param {HTMLElement} strip @param {Archive} archive @param {Hit[]} hits
 * @param {{near: number, far: number, right: number[], wrong: number[]}} look @param {Actions} actions
 */
export function draw(strip, archive, hits, look, actions) {
  const focused = document.activeElement?.closest(".hit");
  const kept = focused instanceof HTMLElement ? focused.dataset.id : undefined;
  strip.replaceChildren(...hits.map((hit) => card(archive, hit, look, actions)));
  if (kept) see(strip, Number(kept))?.querySelector("button")?.focus({ preventScroll: true });
}

/** The card of a hit. @param {HTMLElement} strip @param {number} id @returns {HTMLElement | null} */
export function see(strip, id) {
  return strip.querySelector(`.hit[data-id="${id}"]`);
}

/** The share of random pairs of chips that are as near, in words. @param {Archive} archive @param {number} distance */
export function percentile(archive, distance) {
  const all = archive.pair_distances.reduce((sum, [, pairs]) => sum + pairs, 0);
  if (!all) return "";
  const near = archive.pair_distances.reduce((sum, [bits, pairs]) => sum + (bits <= distance ? pairs : 0), 0);
  const percent = (100 * near) / all;
  return percent < 0.1 ? "<0.1 %" : `${percent.toFixed(percent < 10 ? 1 : 0)} %`;
}

/** @param {Archive} archive @param {Hit} hit @param {{near: number, far: number, right: number[], wrong: number[]}} look @param {Actions} actions */
function card(archive, hit, look, actions) {
  const { distance, acquired, scene, rank, thumbnail } = hit.properties;
  const date = acquired ? acquired.slice(0, 10) : "no date";
  const item = element("li", "hit");
  item.dataset.id = String(hit.id);
  const isRight = look.right.includes(hit.id);
  const isWrong = look.wrong.includes(hit.id);
  item.classList.toggle("like", isRight);
  item.classList.toggle("unlike", isWrong);

  const show = button("see", "");
  show.ariaLabel = `Hit ${rank}, chip ${hit.id}: distance ${distance} bits, ${date}, ${scene}. Enter finds chips similar to it`;
  const image = /** @type {HTMLImageElement} */ (element("img", ""));
  image.loading = "lazy";
  image.alt = "";
  image.src = `${home(archive.name)}/${thumbnail}`;
  image.addEventListener("error", () => { image.alt = "scene not found"; });
  show.append(image);
  show.addEventListener("click", (event) => (event.detail === 0 ? actions.search(hit) : actions.see(hit)));
  show.addEventListener("dblclick", () => actions.search(hit));

  const facts = element("p", "facts");
  const bits = element("span", "distance", `${distance} ${distance === 1 ? "bit" : "bits"}`);
  bits.style.borderColor = css(distance, look.near, look.far);
  const share = percentile(archive, distance);
  const near = element("span", "quiet", share && `${share} of pairs`);
  near.title = `${share} of random pairs of chips are as near`;
  const name = element("span", "quiet", scene);
  name.title = scene;
  facts.append(bits, near, element("span", "date", date), name);

  const marks = element("div", "marks");
  const similar = button("more-like", "⌕");
  similar.title = "Find chips similar to this";
  similar.ariaLabel = `Find chips similar to hit ${rank}`;
  similar.addEventListener("click", () => actions.search(hit));
  marks.append(mark("right", "✓", isRight), mark("wrong", "✗", isWrong), similar);

  for (const name of ["mouseenter", "focusin"]) item.addEventListener(name, () => actions.hover(hit.id));
  for (const name of ["mouseleave", "focusout"]) item.addEventListener(name, () => actions.hover(null));
  item.append(show, facts, marks);
  return item;

  /** @param {"right" | "wrong"} kind @param {string} sign @param {boolean} isOn */
  function mark(kind, sign, isOn) {
    const made = button(kind, sign);
    made.title = kind === "right" ? "Right (y)" : "Wrong (n)";
    made.ariaLabel = `Hit ${rank} is ${kind}`;
    made.ariaPressed = String(isOn);
    made.addEventListener("click", () => actions.mark(hit.id, kind));
    return made;
  }
}

/** @param {string} tag @param {string} kind @param {string} [text] */
export function element(tag, kind, text) {
  const made = document.createElement(tag);
  if (kind) made.className = kind;
  if (text) made.textContent = text;
  return made;
}

/** @param {string} kind @param {string} text */
export function button(kind, text) {
  const made = /** @type {HTMLButtonElement} */ (element("button", kind, text));
  made.type = "button";
  return made;
}
