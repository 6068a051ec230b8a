// The filters, and the histograms beside them.

/** @import {Archive, Filter, Histogram} from "./types.js" */
import { draw as drawBars } from "./histogram.js";
import { isFiltered } from "./state.js";
import { input, needed } from "./ui.js";

/** @param {() => Filter} current @param {(change: Partial<Filter>) => unknown} refilter */
export function listen(current, refilter) {
  const slider = input("max-distance");
  slider.addEventListener("input", () => { needed("distance-shown").textContent = shown(slider); });
  slider.addEventListener("change", () => refilter({ maxDistance: slider.value === slider.max ? undefined : slider.valueAsNumber }));
  for (const id of /** @type {const} */ (["since", "until"]))
    input(id).addEventListener("change", () => refilter({ [id]: input(id).value || undefined }));
  needed("where-form").addEventListener("submit", (event) => {
    event.preventDefault();
    refilter({ where: input("where").value.trim() || undefined });
  });
  needed("clear-area").addEventListener("click", () => refilter({ area: undefined }));
  needed("clear-filters").addEventListener("click", () => refilter({ area: undefined, since: undefined, until: undefined, maxDistance: undefined, where: undefined }));
}

/** @param {Archive} archive @param {Filter} filter @param {Histogram | null} histogram @param {(change: Partial<Filter>) => unknown} refilter */
export function draw(archive, filter, histogram, refilter) {
  const slider = input("max-distance");
  slider.max = String(archive.bits);
  slider.value = String(filter.maxDistance ?? archive.bits);
  needed("distance-shown").textContent = shown(slider);
  input("since").value = filter.since?.slice(0, 10) ?? "";
  input("until").value = filter.until?.slice(0, 10) ?? "";
  input("where").value = filter.where ?? "";
  needed("clear-area").hidden = !filter.area;
  needed("clear-filters").hidden = !isFiltered(filter);
  needed("property-names").textContent = archive.properties.length ? `Properties: ${archive.properties.join(", ")}` : "";

  const { distances = [], periods = [], every = null } = histogram ?? {};
  const counts = new Map(distances);
  const farthest = distances.length ? distances[distances.length - 1][0] : -1;
  const bars = Array.from({ length: distances.length ? archive.bits + 1 : 0 }, (_, distance) => ({
    label: `${distance} bits`,
    count: counts.get(distance) ?? 0,
    isIn: distance <= (filter.maxDistance ?? archive.bits),
    pick: () => refilter({ maxDistance: distance }),
  }));
  drawBars(needed("distances"), bars, distances.length ? `Chips by distance, from ${distances[0][0]} to ${farthest} bits` : "Chips by distance: nothing is searched for yet");
  const times = fill(periods, every).map(([start, count], index, all) => ({
    label: label(start, every),
    count,
    isIn: true,
    pick: () => refilter({ since: day(start), until: day(all[index + 1]?.[0] ?? after(start, every)) }),
  }));
  drawBars(needed("periods"), times, periods.length ? `Chips by time, from ${label(periods[0][0], every)} to ${label(periods[periods.length - 1][0], every)}` : "Chips by time: nothing is searched for yet");
}

/** @param {HTMLInputElement} slider */
const shown = (slider) => (slider.value === slider.max ? "Any distance" : `At most ${slider.value} bits`);

/** @param {string} time */
const day = (time) => time.slice(0, 10);

/** @param {string} start @param {string | null} every */
const label = (start, every) => start.slice(0, every === "year" ? 4 : every === "month" || every === "quarter" ? 7 : 10);

/** The period after one. @param {string} start @param {string | null} every */
function after(start, every) {
  const time = new Date(start);
  if (every === "year") time.setUTCFullYear(time.getUTCFullYear() + 1);
  else if (every === "quarter") time.setUTCMonth(time.getUTCMonth() + 3);
  else if (every === "month") time.setUTCMonth(time.getUTCMonth() + 1);
  else time.setUTCDate(time.getUTCDate() + 1);
  return time.toISOString();
}

/** With the periods in between that have no chips. @param {[string, number][]} periods @param {string | null} every @returns {[string, number][]} */
function fill(periods, every) {
  if (periods.length < 2 || every === "hour") return periods;
  const counts = new Map(periods.map(([start, count]) => [new Date(start).getTime(), count]));
  const last = new Date(periods[periods.length - 1][0]).getTime();
  /** @type {[string, number][]} */
  const all = [];
  for (let start = periods[0][0]; new Date(start).getTime() <= last && all.length < 400; start = after(start, every))
    all.push([start, counts.get(new Date(start).getTime()) ?? 0]);
  return all;
}
