// Distance as colour: Cividis, which people with colour-blindness see alike; near is yellow.

const STOPS = ["#fde945", "#cbba69", "#958f78", "#666970", "#31446b", "#00204d"];
const RGB = STOPS.map((stop) => [1, 3, 5].map((at) => parseInt(stop.slice(at, at + 2), 16)));

/** Red, green and blue of a distance. @param {number} distance @param {number} near @param {number} far */
export function rgb(distance, near, far) {
  const share = far > near ? Math.min(Math.max((distance - near) / (far - near), 0), 1) : 0;
  const place = share * (RGB.length - 1);
  const below = Math.min(Math.floor(place), RGB.length - 2);
  return RGB[below].map((value, band) => Math.round(value + (RGB[below + 1][band] - value) * (place - below)));
}

/** @param {number} distance @param {number} near @param {number} far */
export const css = (distance, near, far) => `rgb(${rgb(distance, near, far).join(" ")})`;

/** The same as an expression of the map. @param {number} near @param {number} far */
export function expression(near, far) {
  const step = Math.max(far - near, 1) / (STOPS.length - 1);
  return /** @type {any} */ ([
    "interpolate", ["linear"], ["get", "distance"], ...STOPS.flatMap((stop, i) => [near + i * step, stop]),
  ]);
}

/** What a colour is outlined in: dark around the near, which are light, and white around the far. @param {number} near @param {number} far */
export function contrast(near, far) {
  return /** @type {any} */ (["step", ["get", "distance"], "#10151b", near + Math.max(far - near, 1) * 0.55, "#ffffff"]);
}
