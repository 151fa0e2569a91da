// Writes the geometry of Catalonia as TopoJSON: the municipalities of the register, and the comarques and the whole dissolved from them.
//
// `python -m catalunya.ops.geometry` runs it with the Node of the dependencies and keeps what it prints in places.json. The boundaries are
// npm's es-atlas; a municipality's code is the INE's five digits, which es-atlas has, and a control digit.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { feature, mergeArcs, neighbors } from "topojson-client";

const REGISTER = new URL("../../ops/mock/seeds/municipalities.csv", import.meta.url);
// codi, nom (quoted where it has a comma), codi_comarca, nom_comarca, utm_x, utm_y, longitud, latitud; not the two rows that are no municipality.
const ROW = /^(?!99999)(\d{6}),(?:"[^"]*"|[^",]*),(\d\d),(?:"[^"]*"|[^",]*),[^,]*,[^,]*,([^,]+),([^,]+),/gm;

const atlas = createRequire(import.meta.url)("es-atlas/es/municipalities.json");
const byCode = new Map(atlas.objects.municipalities.geometries.map((found) => [found.id, found]));
const region = atlas.objects.autonomous_regions.geometries.find((found) => found.properties.name === "Cataluña/Catalunya");

const places = [...readFileSync(REGISTER, "utf8").matchAll(ROW)].map(([, code, comarca, longitude, latitude]) => {
  const found = byCode.get(code.slice(0, 5));
  if (!found) throw new Error(`es-atlas has no municipality ${code.slice(0, 5)}, which ${REGISTER.pathname} has`);
  return { code, comarca, found, seat: [Number(longitude), Number(latitude)] };
});
places.sort((a, b) => (a.code < b.code ? -1 : 1));

const isFlat = (ring) => {
  const points = feature(atlas, { type: "Polygon", arcs: [ring] }).geometry.coordinates[0];
  const [x, y] = points[0];
  const doubled = points.slice(1).reduce((sum, [bx, by], i) => sum + (points[i][0] - x) * (by - y) - (bx - x) * (points[i][1] - y), 0);
  return Math.abs(doubled) < 1e-9; // square degrees; a triangle of the source's grid has 3.6e-6
};

// At the resolution of the source a ring may have collapsed to a line: no area, and no hole. What has no other ring is a point, its seat.
const geometry = (object, seat) => {
  const arcs = (object.type === "Polygon" ? [object.arcs] : object.arcs)
    .filter(([outer]) => !isFlat(outer))
    .map(([outer, ...holes]) => [outer, ...holes.filter((hole) => !isFlat(hole))]);
  const { scale, translate } = atlas.transform;
  if (!arcs.length) return { type: "Point", coordinates: seat.map((degrees, axis) => Math.round((degrees - translate[axis]) / scale[axis])) };
  return arcs.length > 1 ? { type: "MultiPolygon", arcs } : { type: "Polygon", arcs: arcs[0] };
};

// Neighbors share a part of their boundary, also of one that has collapsed; to meet in one point is not enough.
const level = (codes, objects, seats = []) => {
  const near = neighbors(objects);
  const made = codes.map((id, i) => ({ id, ...geometry(objects[i], seats[i]), properties: { neighbors: near[i].map((j) => codes[j]) } }));
  return { type: "GeometryCollection", geometries: made };
};

const merged = (members) => mergeArcs(atlas, members.map(({ found }) => found));
const comarques = [...new Set(places.map(({ comarca }) => comarca))].sort();
const objects = {
  municipality: level(places.map(({ code }) => code), places.map(({ found }) => found), places.map(({ seat }) => seat)),
  comarca: level(comarques, comarques.map((code) => merged(places.filter(({ comarca }) => comarca === code)))),
  region: level([region.id], [merged(places)]),
};

// Only the arcs that these places have, numbered in the order of their first use. A reversed arc is the complement of its number.
const number = new Map();
const renumber = (arc) => {
  if (Array.isArray(arc)) return arc.map(renumber);
  const forward = arc < 0 ? ~arc : arc;
  if (!number.has(forward)) number.set(forward, number.size);
  return arc < 0 ? ~number.get(forward) : number.get(forward);
};
for (const { geometries } of Object.values(objects)) for (const found of geometries) if (found.arcs) found.arcs = renumber(found.arcs);

const lines = (values) => values.map((value) => JSON.stringify(value)).join(",\n");
const collections = Object.entries(objects).map(([name, { type, geometries }]) =>
  `"${name}":{"type":"${type}","geometries":[\n${lines(geometries)}\n]}`);
process.stdout.write(`{"type":"Topology",
"attribution":"Boundaries: CC BY 4.0 Instituto Geográfico Nacional (ign.es), simplified by es-atlas 0.6.0 (MIT, © 2016-2018 Martín González). Comarques dissolved by the code of Municipis Catalunya Geo (Idescat, ICGC), which also gives the points.",
"license":"https://creativecommons.org/licenses/by/4.0/",
"transform":${JSON.stringify(atlas.transform)},
"objects":{
${collections.join(",\n")}
},
"arcs":[
${lines([...number.keys()].map((arc) => atlas.arcs[arc]))}
]}
`);
