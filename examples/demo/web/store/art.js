// The products' pictures: a silhouette, a glaze that runs down to a wavy edge, a light from the left.

import { svg } from "/assets/dom.js";

const GLAZES = {
  sea: ["#3f7f8c", "#2b5f6b", "#d8c3a5"],
  peach: ["#e3a07a", "#c97f58", "#f2dcc4"],
  ink: ["#33405e", "#222c45", "#b9a58c"],
  rust: ["#b4532a", "#8b3b1b", "#d9bb98"],
  moss: ["#7c8f57", "#5f7140", "#d7c7a5"],
  salt: ["#d9dcd6", "#b3bab2", "#c4a988"],
  sand: ["#d4b483", "#b59360", "#efe2cb"],
  plum: ["#7d4a68", "#5c324b", "#d6bba6"],
};

// In a box of 200 by 200; `edge` is where the glaze ends.
const SHAPES = {
  mug: { body: "M58 62 H130 V136 Q130 152 114 152 H74 Q58 152 58 136 Z", extra: "M130 80 h12 q20 0 20 21 t-20 21 h-12", rim: [94, 62, 36, 7], edge: 118 },
  bowl: { body: "M34 84 H166 Q164 146 118 150 V156 H82 V150 Q36 146 34 84 Z", rim: [100, 84, 66, 11], edge: 118 },
  vase: { body: "M88 34 H112 V70 Q146 88 146 122 Q146 158 116 164 H84 Q54 158 54 122 Q54 88 88 70 Z", rim: [100, 34, 12, 3.5], edge: 122 },
  teapot: { body: "M66 86 Q66 76 78 74 H122 Q134 76 138 88 Q150 126 128 152 H74 Q50 128 66 86 Z", extra: "M136 96 q26 -2 28 22 q2 22 -28 26 M64 104 q-20 -2 -30 -26 l-8 2 q8 46 34 52", rim: [100, 74, 24, 5], knob: [100, 62, 7], edge: 122 },
  planter: { body: "M44 68 H156 L144 150 Q143 158 134 158 H66 Q57 158 56 150 Z", rim: [100, 68, 56, 10], leaf: true, edge: 112 },
  carafe: { body: "M82 32 H118 L112 74 Q142 96 140 130 Q138 162 116 164 H84 Q62 162 60 130 Q58 96 88 74 Z", rim: [100, 32, 18, 4.5], edge: 104 },
  plate: { plate: true },
  candle: { body: "M50 128 H150 Q148 150 126 152 H74 Q52 150 50 128 Z M84 98 H116 V130 H84 Z", rim: [100, 98, 16, 4], flame: true, edge: 140 },
  bottle: { body: "M91 30 H109 V84 Q136 94 136 120 V150 Q136 164 122 164 H78 Q64 164 64 150 V120 Q64 94 91 84 Z", rim: [100, 30, 9, 3], edge: 116 },
  jar: { body: "M58 72 H142 Q150 112 142 152 Q141 160 132 160 H68 Q59 160 58 152 Q50 112 58 72 Z", rim: [100, 70, 44, 7], knob: [100, 54, 9], edge: 116 },
  cup: { body: "M64 76 H136 L128 142 Q127 152 116 152 H84 Q73 152 72 142 Z", rim: [100, 76, 36, 7], edge: 116 },
  urn: { body: "M78 36 H122 Q126 48 116 56 Q156 76 150 116 Q144 152 118 158 V166 H82 V158 Q56 152 50 116 Q44 76 84 56 Q74 48 78 36 Z", rim: [100, 36, 22, 5], edge: 128 },
};

let count = 0;

/** The picture of a product. */
export function picture({ shape, glaze, name }) {
  count += 1;
  const id = `art${count}`;
  const [light, dark, clay] = GLAZES[glaze] ?? GLAZES.sand;
  const form = SHAPES[shape] ?? SHAPES.cup;
  const image = (...parts) => svg("svg", { viewBox: "0 0 200 200", role: "img", "aria-label": name }, ...parts);
  if (form.plate) return image(...plate(light, dark, clay));
  const defs = svg("defs", {},
    svg("clipPath", { id }, svg("path", { d: form.body })),
    svg("linearGradient", { id: `${id}g`, x1: 0, x2: 1, y1: 0, y2: 0 },
      svg("stop", { offset: 0, "stop-color": "#fff", "stop-opacity": 0.28 }),
      svg("stop", { offset: 0.35, "stop-color": "#fff", "stop-opacity": 0 }),
      svg("stop", { offset: 1, "stop-color": "#000", "stop-opacity": 0.28 })));
  const e = form.edge;
  const drip = `M0 0 H200 V${e} q-14 10 -26 2 t-24 4 t-26 -5 t-22 7 t-26 -6 t-24 5 t-26 -4 t-26 2 Z`;
  return image(defs,
    svg("ellipse", { cx: 100, cy: 162, rx: 62, ry: 8, fill: "#000", opacity: 0.13 }),
    form.leaf && svg("path", { d: "M100 70 Q92 36 66 28 Q68 54 98 70 M102 70 Q104 28 134 18 Q138 48 104 70 M100 70 Q100 40 98 30", fill: "#6d8a4f", stroke: "#55703a", "stroke-width": 2 }),
    form.flame && svg("path", { d: "M100 62 q13 17 0 29 q-13 -12 0 -29", fill: "#f0a83c" }),
    form.flame && svg("path", { d: "M100 90 V99", stroke: "#443", "stroke-width": 2 }),
    form.extra && svg("path", { d: form.extra, fill: "none", stroke: dark, "stroke-width": 10, "stroke-linecap": "round", "stroke-linejoin": "round" }),
    svg("g", { "clip-path": `url(#${id})` },
      svg("rect", { width: 200, height: 200, fill: clay }),
      svg("path", { d: drip, fill: dark, transform: "translate(0 4)", opacity: 0.75 }),
      svg("path", { d: drip, fill: light }),
      svg("rect", { width: 200, height: 200, fill: `url(#${id}g)` })),
    form.rim && svg("ellipse", { cx: form.rim[0], cy: form.rim[1], rx: form.rim[2], ry: form.rim[3], fill: dark, stroke: light, "stroke-width": 2 }),
    form.knob && svg("circle", { cx: form.knob[0], cy: form.knob[1], r: form.knob[2], fill: "#9a7248" }));
}

function plate(light, dark, clay) {
  return [
    svg("ellipse", { cx: 100, cy: 112, rx: 74, ry: 66, fill: "#000", opacity: 0.12 }),
    svg("circle", { cx: 100, cy: 100, r: 72, fill: dark }),
    svg("circle", { cx: 100, cy: 99, r: 70, fill: light }),
    svg("circle", { cx: 100, cy: 100, r: 48, fill: clay, opacity: 0.75 }),
    svg("path", { d: "M62 92 a40 40 0 0 1 34 -32", stroke: "#fff", "stroke-width": 5, "stroke-linecap": "round", fill: "none", opacity: 0.55 }),
  ];
}
