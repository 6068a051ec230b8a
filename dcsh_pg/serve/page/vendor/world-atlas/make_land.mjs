import fs from "node:fs";
import * as topojson from "topojson-client";
import { presimplify, simplify } from "topojson-simplify";
let t = JSON.parse(fs.readFileSync("node_modules/world-atlas/land-50m.json"));
t = simplify(presimplify(t), 0.003);
const land = topojson.feature(t, t.objects.land);
const round = (c) => typeof c[0] === "number" ? [Math.round(c[0] * 100) / 100, Math.round(c[1] * 100) / 100] : c.map(round);
const geoms = land.features ? land.features.map((f) => f.geometry) : [land.geometry];
const polys = [];
for (const g of geoms) for (const p of g.type === "Polygon" ? [g.coordinates] : g.coordinates) {
  const rings = round(p).map((r) => r.filter((c, i) => i === 0 || c[0] !== r[i - 1][0] || c[1] !== r[i - 1][1])).filter((r) => r.length > 3);
  if (rings.length) polys.push(rings);
}
fs.writeFileSync("land.json", JSON.stringify({ type: "MultiPolygon", coordinates: polys }));
console.log(polys.length, fs.statSync("land.json").size);
