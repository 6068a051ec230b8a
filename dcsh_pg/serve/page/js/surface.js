// The similarity surface as a picture: a pixel a cell, in the grid of Web Mercator.

/** @import {Surface} from "./types.js" */
import { rgb } from "./colours.js";

const MOST_SIDE = 2048;

/**
 * Cells within a threshold as a canvas and its corners on the map; null if there are none.
 * @param {Surface} cells @param {number} threshold @param {number} near @param {number} far
 */
export function picture(cells, threshold, near, far) {
  if (!cells.x.length) return null;
  const [left, top] = [least(cells.x), least(cells.y)];
  const [width, height] = [most(cells.x) - left + 1, most(cells.y) - top + 1];
  if (width > MOST_SIDE || height > MOST_SIDE) return null;
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d");
  if (!context) return null;
  const image = context.createImageData(width, height);
  cells.distance.forEach((distance, index) => {
    if (distance > threshold) return;
    const at = 4 * ((cells.y[index] - top) * width + cells.x[index] - left);
    image.data.set([...rgb(distance, near, far), 255], at);
  });
  context.putImageData(image, 0, 0);
  const cellsWide = 2 ** cells.zoom;
  const [west, east] = [left, left + width].map((x) => (x / cellsWide) * 360 - 180);
  const [north, south] = [top, top + height].map((y) => latitude(y / cellsWide));
  /** @type {[[number, number], [number, number], [number, number], [number, number]]} */
  const corners = [[west, north], [east, north], [east, south], [west, south]];
  return { canvas, corners };
}

/** @param {number} share  of Web Mercator's square, from the north */
const latitude = (share) => (Math.atan(Math.sinh(Math.PI * (1 - 2 * share))) * 180) / Math.PI;

/** @param {number[]} values */
export const least = (values) => values.reduce((a, b) => Math.min(a, b), Infinity);

/** @param {number[]} values */
export const most = (values) => values.reduce((a, b) => Math.max(a, b), -Infinity);
