// Types that several modules use; tsc reads them, browsers load nothing of this file.

/**
 * @typedef {[number, number, number, number]} Box  west, south, east, north in degrees
 *
 * @typedef {object} Query  exactly one of the first six, or likes
 * @property {number} [chip]
 * @property {string} [code]
 * @property {Box} [region]
 * @property {[number, number]} [at]
 * @property {[string, string]} [change]  the dates before and after
 * @property {number} [duplicates]  radius in bits
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
 * @property {boolean} text  whether it can be searched by words
 * @property {number | null} chip_size
 * @property {number} chip_degrees
 * @property {Box | null} bounds
 * @property {[string, string] | null} acquired
 * @property {string[]} properties
 * @property {number[]} pair_shares  of random pairs of chips, at most 0, 1, 2 ... bits apart
 * @property {string} layer  postgis or core
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
 * @property {number} [before_id]  of a change
 * @property {string} [before_acquired]
 * @property {string} [before_thumbnail]
 * @property {number} [group_id]  of duplicates
 * @property {number} [group_chips]
 *
 * @typedef {object} Hit
 * @property {"Feature"} type
 * @property {number} id
 * @property {{type: "Polygon", coordinates: [number, number][][]} | null} geometry
 * @property {HitProperties} properties
 *
 * @typedef {{type: "FeatureCollection", features: Hit[], query?: {caption: string, chip: number | null}, note?: string | null, groups?: number, chips?: number}} Hits
 *
 * @typedef {{distances: [number, number][], every: string | null, periods: [string, number][]}} Histogram
 *
 * @typedef {{zoom: number, x: number[], y: number[], distance: number[], chips: number[]}} Surface
 */

export {};
