// The keyboard: each key does what a button does.

import { beside } from "./hits.js";
import { needed } from "./ui.js";

const TYPED = "input:not([type=checkbox], [type=range]), select, dialog";

/** @type {Record<string, string>} */
const CLICKS = {
  "?": "open-help", s: "again", u: "undo", m: "more", h: "show-surface", i: "show-imagery", f: "show-footprints",
  r: "draw-region", c: "find-change", d: "find-duplicates",
};

/** @param {KeyboardEvent} event @param {() => void} cancel */
export function press(event, cancel) {
  const target = /** @type {HTMLElement} */ (event.target);
  if (event.key === "Escape") return cancel();
  if (event.ctrlKey || event.metaKey || event.altKey || target.closest(TYPED)) return;
  const card = /** @type {HTMLElement | null} */ (target.closest(".hit"));
  const swipe = needed("swipe");
  const keys = /** @type {Record<string, () => void>} */ ({
    "/": () => needed("place").focus(),
    w: () => { if (!swipe.hidden) swipe.focus(); },
    ...Object.fromEntries(Object.entries(CLICKS).map(([key, id]) => [key, () => needed(id).click()])),
  });
  if (card) {
    /** @param {Element | null} other */
    const to = (other) => /** @type {HTMLElement | null | undefined} */ (other?.querySelector(".see"))?.focus();
    const click = (/** @type {string} */ kind) => /** @type {HTMLElement | null} */ (card.querySelector(kind))?.click();
    Object.assign(keys, {
      ArrowRight: () => to(beside(card, "nextElementSibling")),
      ArrowLeft: () => to(beside(card, "previousElementSibling")),
      y: () => click(".right"),
      n: () => click(".wrong"),
    });
  }
  if (!(event.key in keys)) return;
  event.preventDefault();
  keys[event.key]();
}
