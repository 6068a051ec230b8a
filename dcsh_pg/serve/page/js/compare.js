// Chips compared with each other: change between two dates, with the map of both under a swipe, and duplicates.

/** @import {Archive, Hits, Query} from "./types.js" */
import { ArchiveMap } from "./map.js";
import { dayAfter } from "./state.js";
import { input, needed } from "./ui.js";

/** @type {ArchiveMap | null} the map of the date before, above the other */
let earlier = null;
/** @type {Archive | null} the archive that it shows */
let shown = null;

/** @param {ArchiveMap} map @param {(query: Query) => unknown} find */
export function listen(map, find) {
  needed("change").addEventListener("submit", (event) => {
    event.preventDefault();
    find({ change: [input("before").value, input("after").value] });
  });
  needed("duplicates").addEventListener("submit", (event) => {
    event.preventDefault();
    find({ duplicates: input("radius").valueAsNumber });
  });
  input("swipe").addEventListener("input", clip);
  map.map.on("move", () => follow(map));
}

/** Proposes the first and the last date of an archive. @param {Archive} archive */
export function open(archive) {
  const [first, last] = (archive.acquired ?? []).map((time) => time.slice(0, 10));
  [input("before").value, input("after").value] = [first ?? "", last ?? ""];
  for (const id of ["before", "after", "find-change"]) /** @type {HTMLInputElement} */ (needed(id)).disabled = !last || first === last;
  needed("one-date").hidden = Boolean(last) && first !== last;
  input("radius").max = String(archive.bits - 1);
}

/** @param {ArchiveMap} map @param {Archive} archive @param {Query | null} query @param {Hits} hits @param {number} near @param {number} far */
export async function draw(map, archive, query, hits, near, far) {
  if (query?.duplicates !== undefined) input("radius").value = String(query.duplicates);
  const { change } = query ?? {};
  for (const id of ["earlier", "swipe", "swipe-dates"]) needed(id).hidden = !change;
  if (!change) {
    if (shown === archive) map.showTime(archive, {});
    return;
  }
  const [before, after] = change;
  [input("before").value, input("after").value] = change;
  needed("date-before").textContent = before;
  needed("date-after").textContent = after;
  clip();
  map.showTime(archive, { since: dayAfter(before), until: dayAfter(after) });
  earlier ??= new ArchiveMap(needed("earlier"), true);
  earlier.map.resize();
  follow(map);
  if (shown !== archive) await earlier.show(archive);
  shown = archive;
  earlier.toggle("footprints", false);
  earlier.showTime(archive, { until: dayAfter(before) });
  earlier.showHits(hits, near, far);
  follow(map);
}

/** Takes the colours of the theme. */
export function paint() {
  if (shown) earlier?.paint();
}

/** @param {ArchiveMap} map */
function follow(map) {
  if (!needed("earlier").hidden) earlier?.map.jumpTo({ center: map.map.getCenter(), zoom: map.map.getZoom() });
}

/** Cuts the map of the date before at the swipe. */
function clip() {
  const share = input("swipe").value;
  needed("earlier").style.setProperty("--swipe", `${share}%`);
  needed("swipe-line").style.setProperty("--swipe", `${share}%`);
}
