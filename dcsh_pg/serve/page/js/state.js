// What is searched for, and how: all of it is in the address, so that a link or a reload shows the same.

/** @import {Box, Filter, Query, State} from "./types.js" */

export const FIRST = 20;

/** @returns {State} */
export function read() {
  const given = new URLSearchParams(location.hash.slice(1));
  const surface = given.get("surface");
  return {
    archive: given.get("archive") ?? "",
    query: readQuery(given),
    filter: readFilter(given),
    k: whole(given.get("k")) ?? FIRST,
    right: ids(given.get("right")),
    wrong: ids(given.get("wrong")),
    surface: surface === null ? null : whole(surface),
  };
}

/** The address of a state, from '#' on. @param {State} state */
export function address(state) {
  const { query, filter } = state;
  /** @type {Record<string, unknown>} */
  const all = {
    archive: state.archive,
    chip: query?.chip,
    code: query?.code,
    at: query?.at,
    region: query?.region,
    change: query?.change,
    duplicates: query?.duplicates,
    like: query?.likes,
    unlike: query?.unlikes?.length ? query.unlikes : undefined,
    area: filter.area,
    since: filter.since,
    until: filter.until,
    within: filter.maxDistance,
    where: filter.where,
    k: state.k === FIRST ? undefined : state.k,
    right: state.right.length ? state.right : undefined,
    wrong: state.wrong.length ? state.wrong : undefined,
    surface: state.surface ?? undefined,
  };
  const parts = Object.entries(all)
    .filter(([, value]) => value !== undefined && value !== "")
    .map(([name, value]) => `${name}=${encodeURIComponent(String(value)).replaceAll("%2C", ",")}`);
  return `#${parts.join("&")}`;
}

/** Whether the query compares chips with each other: it has no surface, no marks and no files. @param {Query | null} query */
export const isComparison = (query) => query?.change !== undefined || query?.duplicates !== undefined;

/** What answers the query. @param {State} state */
export const end = ({ query }) => (query?.change ? "change" : query?.duplicates !== undefined ? "duplicates" : "search");

/** A body of the interface. @param {State} state */
export function body(state) {
  const { area, maxDistance, since, until, where } = state.filter;
  const { region, change, duplicates, ...query } = state.query ?? {};
  const scenes = { where, area: area && polygon(area) };
  const { k } = state;
  if (change) return { until: dayAfter(change[0]), after_until: dayAfter(change[1]), filter: scenes, k };
  if (duplicates !== undefined) return { radius: duplicates, filter: { ...scenes, since, until }, k };
  return {
    query: region ? { region: polygon(region) } : query,
    filter: { ...scenes, since, until, max_distance: maxDistance },
    k,
  };
}

/** @param {string} day */
export function dayAfter(day) {
  return new Date(new Date(day).getTime() + 86_400_000).toISOString().slice(0, 10);
}

/** @param {Box} box */
export function polygon([west, south, east, north]) {
  const ring = [[west, south], [east, south], [east, north], [west, north], [west, south]];
  return { type: /** @type {const} */ ("Polygon"), coordinates: [ring] };
}

/** @param {Filter} filter */
export function isFiltered(filter) {
  return Object.values(filter).some((value) => value !== undefined);
}

/** @param {URLSearchParams} given @returns {Query | null} */
function readQuery(given) {
  const chip = whole(given.get("chip"));
  if (chip !== null) return { chip };
  const code = given.get("code");
  if (code) return { code };
  const at = numbers(given.get("at"));
  if (at.length === 2) return { at: [at[0], at[1]] };
  const region = box(given.get("region"));
  if (region) return { region };
  const [before, after] = (given.get("change") ?? "").split(",").filter((day) => !Number.isNaN(Date.parse(day)));
  if (after) return { change: [before, after] };
  const duplicates = whole(given.get("duplicates"));
  if (duplicates !== null) return { duplicates };
  const likes = ids(given.get("like"));
  return likes.length ? { likes, unlikes: ids(given.get("unlike")) } : null;
}

/** @param {URLSearchParams} given @returns {Filter} */
function readFilter(given) {
  return {
    area: box(given.get("area")),
    since: given.get("since") ?? undefined,
    until: given.get("until") ?? undefined,
    maxDistance: whole(given.get("within")) ?? undefined,
    where: given.get("where") ?? undefined,
  };
}

/** @param {string | null} text */
function numbers(text) {
  return (text ?? "").split(",").filter(Boolean).map(Number).filter(Number.isFinite);
}

/** @param {string | null} text */
function ids(text) {
  return numbers(text).filter((id) => Number.isInteger(id) && id > 0);
}

/** @param {string | null} text */
function whole(text) {
  return text !== null && /^\d+$/.test(text) ? Number(text) : null;
}

/** @param {string | null} text @returns {Box | undefined} */
function box(text) {
  const [west, south, east, north, ...rest] = numbers(text);
  return north !== undefined && !rest.length ? [west, south, east, north] : undefined;
}
