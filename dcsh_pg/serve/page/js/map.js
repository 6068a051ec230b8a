// The map: scenes, footprints, hits, and what is drawn on it.

/** @import {Archive, Box, Filter, Hits, Surface} from "./types.js" */
import * as maplibre from "../vendor/maplibre-gl/maplibre-gl.mjs";
import { home } from "./api.js";
import { contrast, expression } from "./colours.js";
import { polygon } from "./state.js";
import * as surface from "./surface.js";

const NOTHING = /** @type {const} */ ({ type: "FeatureCollection", features: [] });
const TILE = 256;
const MOST_REDUCED = 4; // zooms below full resolution at which scenes are still read

export class ArchiveMap {
  /** @param {HTMLElement} place @param {boolean} [isBeside]  shows the same as another map, and has no controls */
  constructor(place, isBeside = false) {
    this.place = place;
    this.map = new maplibre.Map({
      container: place,
      interactive: !isBeside,
      style: { version: 8, sources: {}, layers: [{ id: "sea", type: "background" }] },
      center: [0, 20],
      zoom: 1,
      maxZoom: 21,
      dragRotate: false,
      pitchWithRotate: false,
      attributionControl: false,
      fadeDuration: 0,
    });
    this.ready = new Promise((done) => this.map.once("load", () => done(undefined)));
    /** @type {Box | null} what is shown until the user moves the map */
    this.fitted = null;
    /** @type {number | null} */
    this.hovered = null;
    /** @type {((box: Box) => void) | null} */
    this.drawn = null;
    this.time = "";
    if (isBeside) return;
    this.map.touchZoomRotate.disableRotation();
    this.map.addControl(new maplibre.NavigationControl({ showCompass: false }), "top-right");
    this.map.addControl(new maplibre.ScaleControl({ maxWidth: 120 }), "bottom-right");
    this.map.getCanvas().setAttribute("aria-label", "Map; arrow keys move it, Enter searches its centre");
    this.map.on("resize", () => { if (this.fitted) this.fit(this.fitted, false); });
    this.map.on("movestart", (event) => { if ("originalEvent" in event && event.originalEvent) this.fitted = null; });
    this.listenForDrawing();
  }

  /** @param {Archive} archive */
  async show(archive) {
    await this.ready;
    const { map } = this;
    for (const layer of map.getStyle().layers) if (layer.id !== "sea") map.removeLayer(layer.id);
    for (const source of Object.keys(map.getStyle().sources)) map.removeSource(source);
    map.addSource("land", { type: "geojson", data: new URL("vendor/world-atlas/land.json", document.baseURI).href, attribution: "Natural Earth" });
    map.addLayer({ id: "land", type: "fill", source: "land" });
    map.addLayer({ id: "coast", type: "line", source: "land" });
    if (archive.basemap) {
      map.addSource("basemap", { type: "raster", tiles: [archive.basemap], tileSize: TILE });
      map.addLayer({ id: "basemap", type: "raster", source: "basemap" });
    }
    // At this zoom a chip is as wide on the screen as in its scene.
    const full = archive.chip_degrees
      ? Math.log2((360 * (archive.chip_size ?? TILE)) / (512 * archive.chip_degrees))
      : 16;
    this.cellZoom = archive.chip_degrees ? Math.floor(Math.log2(360 / archive.chip_degrees)) : 18;
    map.addSource("imagery", {
      type: "raster",
      tiles: [`${home(archive.name)}/imagery/{z}/{x}/{y}.webp`],
      tileSize: TILE,
      minzoom: Math.max(0, Math.floor(full - MOST_REDUCED)),
      maxzoom: Math.min(22, Math.max(1, Math.ceil(full) + 1)),
      bounds: archive.bounds ?? undefined,
    });
    map.addLayer({ id: "imagery", type: "raster", source: "imagery" });
    this.time = "";
    map.addSource("chips", {
      type: "vector",
      tiles: [`${home(archive.name)}/tiles/{z}/{x}/{y}.mvt`],
      maxzoom: 17,
      bounds: archive.bounds ?? undefined,
    });
    map.addLayer({ id: "footprints", type: "line", source: "chips", "source-layer": "chips", paint: { "line-width": 0.7, "line-opacity": 0.7 } });
    for (const id of ["hits", "query", "area", "drawn"]) map.addSource(id, { type: "geojson", data: NOTHING });
    map.addLayer({ id: "area", type: "line", source: "area", paint: { "line-width": 2, "line-dasharray": [3, 2] } });
    const hover = ["boolean", ["feature-state", "hover"], false];
    /** @param {number} far @param {number} near  widths of a line, in pixels; a hit that is hovered over is wider */
    const width = (far, near) => /** @type {any} */ ([
      "interpolate", ["linear"], ["zoom"], full - 3, ["case", hover, far + 2, far], full, ["case", hover, near + 2, near],
    ]);
    map.addLayer({ id: "hits-fill", type: "fill", source: "hits", paint: { "fill-opacity": 0.12 } });
    map.addLayer({ id: "hits-case", type: "line", source: "hits", paint: { "line-width": width(3, 6) } });
    map.addLayer({ id: "hits", type: "line", source: "hits", paint: { "line-width": width(1.5, 3) } });
    map.addSource("centres", { type: "geojson", data: NOTHING });
    map.addLayer({
      id: "centres", type: "circle", source: "centres", maxzoom: Math.max(1, full - 3.2),
      paint: { "circle-radius": /** @type {any} */ (["case", hover, 8, 5]), "circle-stroke-width": 1.5 },
    });
    map.addLayer({ id: "query", type: "line", source: "query", paint: { "line-width": 3 } });
    map.addLayer({ id: "drawn", type: "line", source: "drawn", paint: { "line-width": 2 } });
    this.paint();
    if (archive.bounds) this.fit(archive.bounds, false);
  }

  /** Takes the colours of the theme. */
  paint() {
    const style = getComputedStyle(document.body);
    /** @param {string} name */
    const colour = (name) => resolved(style.getPropertyValue(`--${name}`));
    const paints = /** @type {const} */ ([
      ["sea", "background-color", "sea"], ["land", "fill-color", "land"], ["coast", "line-color", "coast"],
      ["footprints", "line-color", "footprint"], 
      ["query", "line-color", "accent"], ["area", "line-color", "accent"], ["drawn", "line-color", "accent"],
    ]);
    for (const [layer, property, name] of paints)
      if (this.map.getLayer(layer)) this.map.setPaintProperty(layer, property, colour(name));
  }

  /** The imagery of a time alone. @param {Archive} archive @param {{since?: string, until?: string}} times */
  showTime(archive, times) {
    const asked = new URLSearchParams(times).toString();
    const imagery = /** @type {maplibre.RasterTileSource} */ (this.map.getSource("imagery"));
    if (asked !== this.time) imagery.setTiles([`${home(archive.name)}/imagery/{z}/{x}/{y}.webp${asked && `?${asked}`}`]);
    this.time = asked;
  }

  /** @param {Hits} hits @param {number} near @param {number} far */
  showHits(hits, near, far) {
    const placed = hits.features.filter((hit) => hit.geometry);
    this.source("hits").setData({ type: "FeatureCollection", features: [...placed].reverse() });
    const centres = [...placed].reverse().map((hit) => ({ ...hit, geometry: { type: "Point", coordinates: centre(box(hit.geometry)) } }));
    this.source("centres").setData(/** @type {any} */ ({ type: "FeatureCollection", features: centres }));
    const colour = expression(near, far);
    this.map.setPaintProperty("hits", "line-color", colour);
    this.map.setPaintProperty("hits-fill", "fill-color", colour);
    this.map.setPaintProperty("centres", "circle-color", colour);
    const around = contrast(near, far);
    this.map.setPaintProperty("hits-case", "line-color", around);
    this.map.setPaintProperty("centres", "circle-stroke-color", around);
  }

  /** The chip or region that is searched for. @param {any} geometry */
  showQuery(geometry) {
    this.source("query").setData(geometry ? { type: "Feature", geometry, properties: {} } : NOTHING);
  }

  /** @param {Filter} filter */
  showArea(filter) {
    this.source("area").setData(filter.area ? { type: "Feature", geometry: polygon(filter.area), properties: {} } : NOTHING);
  }

  /** @param {Surface | null} cells @param {number} threshold @param {number} near @param {number} far */
  showSurface(cells, threshold, near, far) {
    const { map } = this;
    if (map.getLayer("surface")) map.removeLayer("surface");
    if (map.getSource("surface")) map.removeSource("surface");
    const picture = cells && surface.picture(cells, threshold, near, far);
    if (!picture) return;
    map.addSource("surface", { type: "canvas", canvas: picture.canvas, coordinates: picture.corners, animate: false });
    map.addLayer({ id: "surface", type: "raster", source: "surface", paint: { "raster-opacity": 0.75, "raster-resampling": "nearest" } }, "footprints");
  }

  /** @param {string} layer @param {boolean} isShown */
  toggle(layer, isShown) {
    if (this.map.getLayer(layer)) this.map.setLayoutProperty(layer, "visibility", isShown ? "visible" : "none");
  }

  /** @param {number | null} id */
  hover(id) {
    if (id === this.hovered) return;
    for (const source of ["hits", "centres"]) {
      if (this.hovered !== null) this.map.setFeatureState({ source, id: this.hovered }, { hover: false });
      if (id !== null) this.map.setFeatureState({ source, id }, { hover: true });
    }
    this.hovered = id;
  }

  /** Calls back with the hit under the pointer, or null. @param {(id: number | null) => void} done */
  onHover(done) {
    const layers = ["hits-fill", "centres"];
    this.map.on("mousemove", (event) => {
      const known = layers.filter((layer) => this.map.getLayer(layer));
      const [found] = this.map.queryRenderedFeatures(event.point, { layers: known });
      this.map.getCanvas().style.cursor = found ? "pointer" : "";
      done(found ? Number(found.id) : null);
    });
    this.map.on("mouseout", () => done(null));
  }

  /** Calls back with a place that was chosen by click or by key. @param {(lon: number, lat: number) => void} done */
  onChoose(done) {
    this.map.on("click", (event) => {
      if (!this.drawn) done(event.lngLat.lng, event.lngLat.lat);
    });
    this.map.getCanvas().addEventListener("keydown", (event) => {
      if (event.key === "Enter") done(...this.map.getCenter().toArray());
    });
  }

  /** Lets the user draw a box; null cancels. @param {((box: Box) => void) | null} done */
  draw(done) {
    this.drawn = done;
    this.place.classList.toggle("drawing", done !== null);
    this.map.dragPan[done ? "disable" : "enable"]();
    this.map.boxZoom[done ? "disable" : "enable"]();
    if (this.map.getSource("drawn")) this.source("drawn").setData(NOTHING);
  }

  listenForDrawing() {
    /** @type {maplibre.LngLat | null} */
    let from = null;
    /** @param {maplibre.LngLat} to @returns {Box} */
    const between = (to) => {
      const start = from ?? to;
      return [Math.min(start.lng, to.lng), Math.min(start.lat, to.lat), Math.max(start.lng, to.lng), Math.max(start.lat, to.lat)];
    };
    /** @param {any} event */
    const begin = (event) => { if (this.drawn) from = event.lngLat; };
    /** @param {any} event */
    const move = (event) => {
      if (this.drawn && from) this.source("drawn").setData({ type: "Feature", geometry: polygon(between(event.lngLat)), properties: {} });
    };
    /** @param {any} event */
    const end = (event) => {
      const box = between(event.lngLat);
      const done = this.drawn;
      if (!done || !from) return;
      from = null;
      if (box[0] === box[2] || box[1] === box[3]) return;
      setTimeout(() => this.draw(null)); // after the click that ends it
      done(/** @type {Box} */ (box.map((degrees) => Number(degrees.toFixed(6)))));
    };
    for (const name of /** @type {const} */ (["mousedown", "touchstart"])) this.map.on(name, begin);
    for (const name of /** @type {const} */ (["mousemove", "touchmove"])) this.map.on(name, move);
    for (const name of /** @type {const} */ (["mouseup", "touchend"])) this.map.on(name, end);
  }

  /** @param {Box} bounds @param {boolean} [animate] */
  fit([west, south, east, north], animate = true) {
    const isCalm = !animate || matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.fitted = /** @type {Box} */ ([west, south, east, north]);
    this.map.fitBounds([[west, south], [east, north]], { padding: 40, maxZoom: 17, animate: !isCalm });
  }

  /** What is seen. @returns {Box} */
  view() {
    const seen = this.map.getBounds();
    return [Math.max(seen.getWest(), -180), Math.max(seen.getSouth(), -90), Math.min(seen.getEast(), 180), Math.min(seen.getNorth(), 90)];
  }

  /** @param {string} id */
  source(id) {
    return /** @type {maplibre.GeoJSONSource} */ (this.map.getSource(id));
  }
}

/** The bounds of a polygon. @param {any} geometry @returns {Box} */
export function box(geometry) {
  const points = /** @type {[number, number][]} */ (geometry.coordinates.flat());
  const [x, y] = [0, 1].map((axis) => points.map((point) => point[axis]));
  return [Math.min(...x), Math.min(...y), Math.max(...x), Math.max(...y)];
}

/** @param {Box} box */
const centre = ([west, south, east, north]) => [(west + east) / 2, (south + north) / 2];

/** A colour of the style sheet as the map reads it: light-dark() chosen. @param {string} text */
function resolved(text) {
  const probe = document.createElement("span");
  probe.style.color = text;
  document.body.append(probe);
  const colour = getComputedStyle(probe).color;
  probe.remove();
  return colour;
}
