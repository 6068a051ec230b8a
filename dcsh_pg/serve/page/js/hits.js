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
 *
 * @typedef {{near: number, far: number, right: number[], wrong: number[], isMarkable: boolean}} Look
 */

/**
 * @param {HTMLElement} strip @param {Archive} archive @param {Hit[]} hits
 * @param {Look} look @param {Actions} actions
 */
export function draw(strip, archive, hits, look, actions) {
  const focused = document.activeElement?.closest(".hit");
  const kept = focused instanceof HTMLElement ? focused.dataset.id : undefined;
  strip.replaceChildren(...hits.flatMap((hit) => {
    const { rank, group_id, group_chips } = hit.properties;
    const made = card(archive, hit, look, actions);
    return group_id !== undefined && rank === 1 ? [element("li", "group", `${group_chips} chips`), made] : [made];
  }));
  if (kept) see(strip, Number(kept))?.querySelector("button")?.focus({ preventScroll: true });
}

/** The card after or before one. @param {Element} card @param {"nextElementSibling" | "previousElementSibling"} side */
export function beside(card, side) {
  let other = card[side];
  while (other && !other.matches(".hit")) other = other[side];
  return other;
}

/** The card of a hit. @param {HTMLElement} strip @param {number} id @returns {HTMLElement | null} */
export function see(strip, id) {
  return strip.querySelector(`.hit[data-id="${id}"]`);
}

/** The share of random pairs of chips that are as near, in words. @param {Archive} archive @param {number} distance */
export function percentile(archive, distance) {
  const percent = 100 * (archive.pair_shares[distance] ?? NaN);
  if (Number.isNaN(percent)) return "";
  return percent < 0.1 ? "<0.1 %" : `${percent.toFixed(percent < 10 ? 1 : 0)} %`;
}

/** @param {Archive} archive @param {Hit} hit @param {Look} look @param {Actions} actions */
function card(archive, hit, look, actions) {
  const { distance, acquired, scene, rank, thumbnail, before_acquired, before_thumbnail, group_id } = hit.properties;
  const dates = [before_acquired, acquired].filter(Boolean).map((time) => time?.slice(0, 10));
  const date = dates.join(" → ") || "no date";
  const item = element("li", "hit");
  item.dataset.id = String(hit.id);
  const isRight = look.right.includes(hit.id);
  const isWrong = look.wrong.includes(hit.id);
  item.classList.toggle("like", isRight);
  item.classList.toggle("unlike", isWrong);

  const show = button("see", "");
  const kind = before_thumbnail ? "Change" : group_id !== undefined ? `Group of chip ${group_id}, duplicate` : "Hit";
  show.ariaLabel = `${kind} ${rank}, chip ${hit.id}: distance ${distance} bits, ${date}, ${scene}. Enter finds chips similar to it`;
  for (const address of [before_thumbnail, thumbnail]) if (address) show.append(picture(`${home(archive.name)}/${address}`));
  item.classList.toggle("pair", before_thumbnail !== undefined);
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
  if (look.isMarkable) marks.append(mark("right", "✓", isRight), mark("wrong", "✗", isWrong));
  marks.append(similar);

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

/** A thumbnail. @param {string} address */
function picture(address) {
  const image = /** @type {HTMLImageElement} */ (element("img", ""));
  image.loading = "lazy";
  image.alt = "";
  image.src = address;
  image.addEventListener("error", () => { image.alt = "scene not found"; });
  return image;
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
