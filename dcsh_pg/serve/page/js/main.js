// The page: what the user does becomes a state, the state becomes an address and a search.

/** @import {Archive, Box, Filter, Histogram, Hit, Hits, Query, State, Surface} from "./types.js" */
import * as api from "./api.js";
import * as compare from "./compare.js";
import * as filters from "./filters.js";
import * as strip from "./hits.js";
import { ArchiveMap, box } from "./map.js";
import { press } from "./keys.js";
import { address, FIRST, isComparison, polygon, read } from "./state.js";
import { least, most } from "./surface.js";
import { copy, fail, hint, input, needed, save, say } from "./ui.js";

/** @type {Record<string, string>} */
const NAMES = { geojson: "GeoJSON", csv: "CSV", geoparquet: "GeoParquet", qgis: "Open in QGIS" };

const map = new ArchiveMap(needed("map"));
const list = needed("hits");

/** @type {State} */
let state = read();
/** @type {Archive} */
let archive;
/** @type {Hits | null} */
let hits = null;
/** @type {Histogram | null} */
let histogram = null;
/** @type {Surface | null} */
let cells = null;
let running = new AbortController();
let grid = "";
let searched = "";

/** Shows a state; a step can be undone. @param {Partial<State>} change @param {boolean} [isStep] */
function go(change, isStep = true) {
  state = { ...state, ...change };
  const target = address(state);
  if (isStep && target !== location.hash) {
    history.pushState({ step: step() + 1 }, "", target);
  } else {
    history.replaceState(history.state, "", target);
  }
  return show();
}

const step = () => /** @type {{step: number} | null} */ (history.state)?.step ?? 0;

/** @param {Query} query */
const find = (query) => go({ query, k: FIRST, right: query.likes ?? [], wrong: query.unlikes ?? [] });

/** @param {Partial<Filter>} change */
const refilter = (change) => go({ filter: { ...state.filter, ...change }, k: FIRST });

/** Searches if the search differs from the last, and draws. */
async function show() {
  const { right, wrong, surface, ...asked } = state;
  const wanted = JSON.stringify(asked);
  if (wanted === searched) return draw();
  searched = wanted;
  running.abort();
  running = new AbortController();
  const { signal } = running;
  fail(null);
  list.classList.add("old");
  if (!state.query) {
    [hits, histogram, cells] = [null, null, null];
    return draw();
  }
  say(isComparison(state.query) ? "Comparing…" : "Searching…");
  try {
    const found = await api.search(state, signal);
    [hits, histogram, cells, grid] = [found, null, null, ""];
    if (state.query.at && found.query?.chip) {
      // From here on it is that chip, whatever becomes newest at the place.
      state = { ...state, query: { chip: found.query.chip } };
      history.replaceState(history.state, "", address(state));
      const { right: _, wrong: __, surface: ___, ...same } = state;
      searched = JSON.stringify(same);
    }
    draw();
    await Promise.all([locate(signal), count(signal)]);
  } catch (error) {
    if (signal.aborted) return;
    searched = "";
    say("");
    fail(error, () => show());
  }
}

/** Draws the histograms of a search. @param {AbortSignal} signal */
async function count(signal) {
  if (!state.query || isComparison(state.query)) return;
  histogram = await api.histogram(state, signal);
  filters.draw(archive, state.filter, histogram, refilter);
}

/** Draws all but the map's own tiles. */
function draw() {
  const found = hits?.features ?? [];
  const distances = found.map((hit) => hit.properties.distance);
  const [near, far] = found.length ? [least(distances), most(distances)] : [0, archive.bits];
  list.classList.remove("old");
  const isCompared = isComparison(state.query);
  strip.draw(list, archive, found, { near, far, right: state.right, wrong: state.wrong, isMarkable: !isCompared }, actions);
  /** @type {Hits} */
  const shown = hits ?? { type: "FeatureCollection", features: [] };
  map.showHits(shown, near, far);
  compare.draw(map, archive, state.query, shown, near, far);
  map.showArea(state.filter);
  filters.draw(archive, state.filter, histogram, refilter);
  drawQuery();
  drawSurface();

  needed("legend").hidden = !found.length;
  needed("legend-near").textContent = near === far ? `${near} bits` : `${near}`;
  needed("legend-far").textContent = near === far ? "" : `${far} bits`;
  const empty = needed("empty");
  empty.hidden = found.length > 0;
  empty.textContent = !state.query
    ? "Click a chip on the map, draw a region, or drop a picture here."
    : state.query.change
      ? "No place has chips of both times. Choose other dates, or clear the filters."
      : isCompared ? "No two chips are as near. Allow more bits." : "Nothing matches. Allow a greater distance, or clear the filters.";
  const marked = state.right.length + state.wrong.length;
  const counted = hits?.groups !== undefined
    ? `${hits.groups.toLocaleString("en")} groups of ${hits.chips?.toLocaleString("en")} chips, the largest first`
    : `${found.length} ${isCompared ? "most changed" : "nearest"}`;
  const marks = marked ? ` · ${state.right.length} right, ${state.wrong.length} wrong` : "";
  say(!hits ? "" : `${counted}${marks}${hits.note ? ` · ${hits.note}` : ""}`);
  button("undo").disabled = step() === 0;
  button("more").disabled = (hits?.groups ?? found.length) < state.k || state.k >= archive.most_hits;
  button("again").disabled = !again();
  for (const id of ["copy-sql", "copy-command"]) button(id).disabled = !hits || isCompared;
  for (const made of needed("downloads").querySelectorAll("button")) made.disabled = !found.length || isCompared;
}

/** The search with the marks, or null if they change nothing. @returns {Query | null} */
function again() {
  const { query, right, wrong } = state;
  if (isComparison(query)) return null;
  const first = query?.chip && !wrong.includes(query.chip) ? [query.chip] : [];
  const likes = [...new Set([...first, ...right])];
  if (!likes.length || !(right.length + wrong.length)) return null;
  const same = query?.likes && String(query.likes) === String(likes) && String(query.unlikes) === String(wrong);
  return same ? null : { likes, unlikes: wrong };
}

/** The query: its picture, or its examples. */
function drawQuery() {
  const place = needed("query");
  const { query } = state;
  if (!query) return place.replaceChildren();
  const examples = query.likes ?? (query.chip ? [query.chip] : []);
  const words = query.likes
    ? `${query.likes.length} right, ${query.unlikes?.length ?? 0} wrong`
    : query.change ? `Change, ${query.change.join(" to ")}`
    : query.duplicates !== undefined ? `Duplicates, each at most ${query.duplicates} bits from the next`
    : query.chip ? `Chip ${query.chip}` : query.region ? "Region" : query.code ? "Words, picture or code" : "Place";
  const shown = [...examples.map((id) => example(id, "like")), ...(query.unlikes ?? []).map((id) => example(id, "unlike"))];
  const caption = strip.element("p", "quiet", words);
  const clear = strip.button("", "Clear");
  clear.addEventListener("click", () => go({ query: null, right: [], wrong: [], k: FIRST, surface: null }));
  caption.append(" · ", clear);
  place.replaceChildren(...shown, caption);
}

/** @param {number} id @param {"like" | "unlike"} kind */
function example(id, kind) {
  const made = strip.button(kind, "");
  made.ariaLabel = `Show chip ${id}, ${kind === "like" ? "right" : "wrong"}`;
  const image = /** @type {HTMLImageElement} */ (strip.element("img", ""));
  image.src = `${api.home(archive.name)}/chips/${id}/thumbnail`;
  image.alt = "";
  made.append(image);
  made.addEventListener("click", async () => {
    const chip = await (await fetch(`${api.home(archive.name)}/chips/${id}`)).json();
    if (chip.geometry) map.fit(box(chip.geometry));
  });
  return made;
}

/** Outlines what is searched for. @param {AbortSignal} signal */
async function locate(signal) {
  const { query } = state;
  if (query?.region) return map.showQuery(polygon(query.region));
  if (!query?.chip) return map.showQuery(null);
  const answer = await fetch(`${api.home(archive.name)}/chips/${query.chip}`, { signal });
  map.showQuery(answer.ok ? (await answer.json()).geometry : null);
}

/** Asks for the surface of what is seen, if it is to be shown and another than the last. */
async function drawSurface() {
  const isPossible = state.query !== null && !isComparison(state.query);
  const isShown = state.surface !== null && isPossible;
  const checkbox = input("show-surface");
  checkbox.disabled = !isPossible;
  checkbox.checked = isShown;
  needed("threshold-row").hidden = !isShown;
  if (!isShown || !hits) return map.showSurface(null, 0, 0, 1);
  const threshold = state.surface ?? 0;
  input("threshold").max = String(archive.bits);
  input("threshold").value = String(threshold);
  const within = needed("threshold-shown");
  within.textContent = `${threshold} bits${cells ? "" : ", comparing all chips…"}`;
  if (cells) map.showSurface(cells, threshold, least(cells.distance), Math.max(threshold, least(cells.distance) + 1));
  const zoom = Math.max(0, Math.min(map.cellZoom ?? 18, Math.floor(map.map.getZoom()) + 6));
  const [west, south, east, north] = map.view();
  const [wide, high] = [east - west, north - south];
  /** @type {Box} */
  const bounds = [Math.max(west - wide / 2, -180), Math.max(south - high / 2, -90), Math.min(east + wide / 2, 180), Math.min(north + high / 2, 90)];
  const wanted = JSON.stringify([searched, zoom, bounds]);
  if (wanted === grid) return;
  grid = wanted;
  const { signal } = running;
  try {
    const found = await api.surface(state, { zoom, bounds }, signal);
    if (wanted !== grid) return;
    cells = found;
    within.textContent = `${state.surface} bits`;
    map.showSurface(cells, threshold, least(cells.distance), Math.max(threshold, least(cells.distance) + 1));
  } catch (error) {
    if (!signal.aborted) fail(error);
  }
}

/** @type {strip.Actions} */
const actions = {
  hover(id) {
    map.hover(id);
    for (const card of list.querySelectorAll(".hit")) card.classList.toggle("hover", card.getAttribute("data-id") === String(id));
  },
  see(hit) { if (hit.geometry) map.fit(box(hit.geometry)); },
  search(hit) { find({ chip: hit.id }); },
  mark(id, kind) {
    const isOn = state[kind].includes(id);
    const right = state.right.filter((other) => other !== id);
    const wrong = state.wrong.filter((other) => other !== id);
    if (!isOn) (kind === "right" ? right : wrong).push(id);
    go({ right, wrong }, false);
  },
};

/** @param {string} id */
const button = (id) => /** @type {HTMLButtonElement} */ (needed(id));

/** @param {string} id @param {() => unknown} action */
const on = (id, action) => button(id).addEventListener("click", action);

/** A box that the user draws. @param {string} id @param {(box: Box) => void} done */
function drawing(id, done) {
  on(id, () => {
    const isOn = button(id).ariaPressed === "true";
    stopDrawing();
    if (isOn) return;
    button(id).ariaPressed = "true";
    hint("Drag a box on the map. Esc cancels.");
    map.draw((drawn) => { stopDrawing(); done(drawn); });
  });
}

function stopDrawing() {
  for (const id of ["draw-region", "draw-area"]) button(id).ariaPressed = "false";
  hint("");
  map.draw(null);
}

/** @param {string} text */
function findText(text) {
  const numbers = text.trim().split(/[\s,;]+/).map(Number);
  if (/^(0x[0-9a-f]+|[01]{16,})$/i.test(text.trim())) return find({ code: text.trim() });
  if (numbers.length === 1 && Number.isInteger(numbers[0]) && numbers[0] > 0) return find({ chip: numbers[0] });
  const [lon, lat] = numbers;
  if (numbers.length === 2 && Math.abs(lon) <= 180 && Math.abs(lat) <= 90) return find({ at: [lon, lat] });
  if (archive.text) return findWords(text);
  fail(new api.Refused(`“${text}” is neither a place nor a chip nor a code`, "for example -86.31, 30.42 with the longitude first; 17; 0x9f3a5c0017e2b481"));
}

/** @param {string} text */
async function findWords(text) {
  fail(null);
  try {
    const { code } = await api.words(archive.name, text);
    await find({ code });
  } catch (error) {
    fail(error);
  }
}

/** Searches for the chip at a place on the map, if there is one. @param {number} lon @param {number} lat */
async function choose(lon, lat) {
  try {
    const chip = await api.chipAt(archive.name, lon, lat);
    hint(chip === null ? "No chip lies here: choose a place inside a footprint." : "");
    if (chip !== null) await find({ chip });
  } catch (error) {
    fail(error);
  }
}

/** @param {File | undefined} file */
async function findPicture(file) {
  if (!file) return;
  say("Reading the picture…");
  fail(null);
  try {
    if (file.size > archive.upload_bytes) throw new api.Refused(`${file.name} is too large`, `send at most ${archive.upload_bytes >> 20} MB`);
    const { code, scale } = await api.picture(archive.name, file);
    await find({ code });
    if (scale !== null && (scale > 2 || scale < 0.5)) hint(`The picture shows ${scale.toPrecision(2)} times the width of a chip: its hits may mean little.`);
  } catch (error) {
    say("");
    fail(error);
  }
}

function listen() {
  needed("find").addEventListener("submit", (event) => { event.preventDefault(); if (input("place").value.trim()) findText(input("place").value); });
  drawing("draw-region", (region) => find({ region }));
  drawing("draw-area", (area) => refilter({ area }));
  on("choose-picture", () => input("picture").click());
  input("picture").addEventListener("change", () => { findPicture(input("picture").files?.[0]); input("picture").value = ""; });
  on("view-area", () => refilter({ area: /** @type {Box} */ (map.view().map((degrees) => Number(degrees.toFixed(6)))) }));
  filters.listen(() => state.filter, refilter);
  compare.listen(map, find);
  on("undo", () => history.back());
  on("more", () => go({ k: Math.min(state.k + FIRST, archive.most_hits) }));
  on("again", () => { const query = again(); if (query) find(query); });
  on("copy-link", () => copy("Link", location.href));
  on("copy-sql", async () => copy("SQL", (await api.text(state)).sql));
  on("copy-command", async () => copy("Command", (await api.text(state)).command));
  input("show-imagery").addEventListener("change", () => map.toggle("imagery", input("show-imagery").checked));
  input("show-footprints").addEventListener("change", () => map.toggle("footprints", input("show-footprints").checked));
  input("show-surface").addEventListener("change", () => go({ surface: input("show-surface").checked ? threshold() : null }, false));
  input("threshold").addEventListener("input", () => go({ surface: input("threshold").valueAsNumber }, false));
  map.map.on("moveend", () => { if (state.surface !== null && archive) drawSurface(); });
  map.onHover((id) => {
    actions.hover(id);
    if (id !== null) strip.see(list, id)?.scrollIntoView({ block: "nearest", inline: "nearest" });
  });
  map.onChoose(choose);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { map.paint(); compare.paint(); });
  addEventListener("popstate", () => arrive());
  addEventListener("hashchange", () => arrive());
  on("open-help", () => /** @type {HTMLDialogElement} */ (needed("help")).showModal());
  addEventListener("keydown", (event) => press(event, () => { stopDrawing(); fail(null); }));
  addEventListener("dragover", (event) => { event.preventDefault(); needed("drop").hidden = false; });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) needed("drop").hidden = true; });
  addEventListener("drop", (event) => {
    event.preventDefault();
    needed("drop").hidden = true;
    findPicture(event.dataTransfer?.files[0]);
  });
}

/** A threshold that shows the nearest part: the distance that a twentieth of the chips are within. */
function threshold() {
  const counts = histogram?.distances ?? [];
  const all = counts.reduce((sum, [, chips]) => sum + chips, 0);
  let below = 0;
  return counts.find(([, chips]) => (below += chips) >= all / 20)?.[0] ?? Math.round(archive.bits / 4);
}

/** Shows what the address says, after a link, a reload or Back. @returns {Promise<void>} */
async function arrive() {
  const wanted = read();
  try {
    if (!archive || wanted.archive !== archive.name) await open(wanted.archive);
  } catch (error) {
    return fail(error, () => arrive());
  }
  state = { ...wanted, archive: archive.name };
  await show();
}

/** @param {string} name */
async function open(name) {
  const select = /** @type {HTMLSelectElement} */ (needed("archive"));
  const all = await api.archives();
  if (!all.length) throw new api.Refused("there is no archive yet", "make one with 'dcsh-pg demo' or 'dcsh-pg ingest', then reload");
  const known = all.some((one) => one.name === name) ? name : all[0].name;
  select.replaceChildren(...all.map((one) => new Option(one.name, one.name, false, one.name === known)));
  archive = await api.archive(known);
  searched = "";
  document.title = `${archive.name} · dcsh-pg`;
  needed("about").textContent = [
    `${archive.chips.toLocaleString("en")} chips of ${archive.scenes.toLocaleString("en")} scenes`,
    archive.acquired?.map((time) => time.slice(0, 10)).join(" to "),
    `${archive.bits} bits`,
  ].filter(Boolean).join(" · ");
  needed("downloads").replaceChildren(...Object.entries(archive.downloads).map(([format, suffix]) => {
    const made = strip.button("", NAMES[format] ?? format);
    made.addEventListener("click", async () => {
      try { save(await api.download(state, format), archive.name + suffix); } catch (error) { fail(error); }
    });
    return made;
  }));
  input("place").placeholder = `lon, lat · chip id · 0x code${archive.text ? " · words" : ""}`;
  compare.open(archive);
  await map.show(archive);
  if (!archive.bounds) hint("This archive has no footprints: search by chip id, code or picture.");
}

needed("archive").addEventListener("change", () => {
  location.hash = `#archive=${encodeURIComponent(/** @type {HTMLSelectElement} */ (needed("archive")).value)}`;
});
listen();
await arrive();
