// Types that several modules use; tsc reads them, browsers load nothing of this file.

/**
 * @typedef {[number, number, number, number]} Box  west, south, east, north in degrees
 *
 * @typedef {object} Query  exactly one of the first four, or likes
 * @property {number} [chip]
 * @property {string} [code]
 * @property {Box} [region]
 * @property {[number, number]} [at]
 * @property {number[]} [likes]
 * @property {number[]} [unlikes]
 *
 * @typedef {object} Filter
 * @property {Box} [area]
 * @property {string} [since]
 * @property {string} [until]
 * @property {number} [maxDistance]
 * @property {string} [where]
 *
 * @typedef {object} State  all that the address says
 * @property {string} archive
 * @property {Query | null} query
 * @property {Filter} filter
 * @property {number} k
 * @property {number[]} right
 * @property {number[]} wrong
 * @property {number | null} surface  threshold in bits, null: not shown
 *
 * @typedef {object} Archive
 * @property {string} name
 * @property {number} scenes
 * @property {number} chips
 * @property {number} bits
 * @property {string} model
 * @property {number | null} chip_size
 * @property {number} chip_degrees
 * @property {Box | null} bounds
 * @property {[string, string] | null} acquired
 * @property {string[]} properties
 * @property {[number, number][]} pair_distances
 * @property {string | null} basemap
 * @property {number} upload_bytes
 * @property {number} most_hits
 * @property {Record<string, string>} downloads
 *
 * @typedef {object} HitProperties
 * @property {number} rank
 * @property {number} distance
 * @property {string} scene
 * @property {number} scene_id
 * @property {string | null} acquired
 * @property {string} thumbnail
 *
 * @typedef {object} Hit
 * @property {"Feature"} type
 * @property {number} id
 * @property {{type: "Polygon", coordinates: [number, number][][]} | null} geometry
 * @property {HitProperties} properties
 *
 * @typedef {{type: "FeatureCollection", features: Hit[], query: {caption: string, chip: number | null}}} Hits
 *
 * @typedef {{distances: [number, number][], every: string | null, periods: [string, number][]}} Histogram
 *
 * @typedef {{zoom: number, x: number[], y: number[], distance: number[], chips: number[]}} Surface
 */

export {};
