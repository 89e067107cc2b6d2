"use strict";
// The script of the page: a state, and for each part of the page a function that draws it from the state.
// All data is in two texts of the page: #data (JSON) and #arrays (see lenet/show/page/arrays.py).

const $ = (selector) => document.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const DATA = JSON.parse($("#data").textContent);
const DECADES = 4; // of error/bound that the log scale shows
const state = { layer: "conv1", digit: 0, a: $("#a").value, b: $("#b").value, whole: false };
let values = null; // { reference, bounds, ports }, as soon as they are unpacked

// ---- unpacking ------------------------------------------------------------------------------------

const bytesOf = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));

async function gunzip(text) {
  const stream = new Blob([bytesOf(text)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

const product = (shape) => shape.reduce((a, b) => a * b, 1);
const VALUES = DATA.layers.reduce((sum, layer) => sum + product(layer.shape), 0);
let offset = 0;
for (const layer of DATA.layers) {
  layer.offset = offset;
  offset += product(layer.shape);
}
const layerOf = (name) => DATA.layers.find((layer) => layer.name === name);

async function unpack() {
  const buffer = await gunzip($("#arrays").textContent);
  const size = DATA.digits.length * VALUES;
  const reference = new Float64Array(buffer, 0, size);
  const bounds = new Float32Array(buffer, 8 * size, size);
  const near = new Int32Array(Float32Array.from(reference).buffer);
  const ports = {};
  DATA.ports.forEach((name, i) => {
    const bits = new Int32Array(buffer, (12 + 4 * i) * size, size).map((apart, k) => apart + near[k]);
    ports[name] = new Float32Array(bits.buffer);
  });
  return { reference, bounds, ports };
}

/** The values of one layer for the chosen digit. */
function slice(array, layer = layerOf(state.layer)) {
  const start = state.digit * VALUES + layer.offset;
  return array.subarray(start, start + product(layer.shape));
}

// ---- pictures -------------------------------------------------------------------------------------

function color(name) {
  const context = document.createElement("canvas").getContext("2d");
  context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue(name);
  context.fillRect(0, 0, 1, 1);
  return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
}

const mix = (from, to, part) => [0, 1, 2].map((i) => from[i] + (to[i] - from[i]) * part);

/** The columns of a table of n cells without a gap, nearly a square. */
function divisor(n) {
  let columns = Math.ceil(Math.sqrt(n));
  while (n % columns) columns++;
  return columns;
}

/** How the maps of a layer are laid side by side: features become one map, nearly a square. */
function tiling([channels, height, width]) {
  if (height) {
    const columns = divisor(channels);
    return { width, height, columns, rows: Math.ceil(channels / columns) };
  }
  const columns = channels <= 10 ? channels : divisor(channels);
  return { width: columns, height: channels / columns, columns: 1, rows: 1 };
}

/** Where value `index` of a layer lies in its picture, or which value lies at a place (−1: none). */
function place(tiles, index) {
  const inside = index % (tiles.width * tiles.height);
  const map = (index - inside) / (tiles.width * tiles.height);
  return [
    (map % tiles.columns) * (tiles.width + 1) + (inside % tiles.width),
    Math.floor(map / tiles.columns) * (tiles.height + 1) + Math.floor(inside / tiles.width),
  ];
}

function indexAt(tiles, x, y) {
  const column = Math.floor(x / (tiles.width + 1)), row = Math.floor(y / (tiles.height + 1));
  const left = x - column * (tiles.width + 1), top = y - row * (tiles.height + 1);
  if (left >= tiles.width || top >= tiles.height) return -1;
  return (row * tiles.columns + column) * tiles.width * tiles.height + top * tiles.width + left;
}

function paint(canvas, shape, colorOf) {
  const tiles = tiling(shape);
  canvas.width = tiles.columns * (tiles.width + 1) - 1;
  canvas.height = tiles.rows * (tiles.height + 1) - 1;
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  for (let i = 0; i < product(shape); i++) {
    const [x, y] = place(tiles, i);
    image.data.set([...colorOf(i), 255], 4 * (y * canvas.width + x));
  }
  context.putImageData(image, 0, 0);
}

/** Error over bound; 0 without an error, infinite where the bound is 0 and there is one. */
const over = (error, bound) => (error === 0 ? 0 : error / bound);

function picture(which) {
  const exact = slice(values.reference), bound = slice(values.bounds);
  const a = slice(values.ports[state.a]), b = slice(values.ports[state.b]);
  switch (which) {
    case "a-exact": return (i) => over(Math.abs(a[i] - exact[i]), bound[i]);
    case "b-exact": return (i) => over(Math.abs(b[i] - exact[i]), bound[i]);
    default: return (i) => over(Math.abs(a[i] - b[i]), 2 * bound[i]);
  }
}

function drawMaps() {
  if (!values) return;
  const { shape } = layerOf(state.layer);
  const [none, more, less] = ["--absent", "--more", "--less"].map(color);
  const largest = slice(values.reference).reduce((most, v) => Math.max(most, Math.abs(v)), 0) || 1;
  for (const canvas of all("[data-map]")) {
    const which = canvas.dataset.map;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `${state.layer}: ${which}`);
    if (which === "a" || which === "b") {
      const port = slice(values.ports[state[which]]);
      paint(canvas, shape, (i) => mix(none, port[i] < 0 ? less : more, Math.min(1, Math.abs(port[i]) / largest)));
      continue;
    }
    const ratio = picture(which);
    paint(canvas, shape, (i) => {
      const r = ratio(i);
      if (r > 1) return [224, 18, 60];
      const part = Math.max(0.05, 1 + Math.log10(r) / DECADES); // of the scale's length
      return r === 0 ? none : part < 0.5 ? mix(none, less, 2 * part) : mix(less, more, 2 * part - 1);
    });
  }
  $("#low").textContent = (-largest).toPrecision(3);
  $("#high").textContent = largest.toPrecision(3);
}

function tellValue(event) {
  if (!values) return;
  const canvas = event.currentTarget, box = canvas.getBoundingClientRect();
  const scale = Math.min(box.width / canvas.width, box.height / canvas.height); // object-fit: contain
  const { shape } = layerOf(state.layer);
  const x = Math.floor((event.clientX - box.left) / scale);
  const y = Math.floor((event.clientY - box.top - (box.height - scale * canvas.height) / 2) / scale);
  const i = indexAt(tiling(shape), x, y);
  if (i < 0 || i >= product(shape) || x >= canvas.width) return;
  const [, height, width] = shape;
  const where = height
    ? `map ${Math.floor(i / (height * width))}, row ${Math.floor(i / width) % height}, column ${i % width}`
    : `feature ${i}`;
  const a = slice(values.ports[state.a])[i], b = slice(values.ports[state.b])[i];
  const bound = slice(values.bounds)[i], exact = slice(values.reference)[i];
  $("#value-told").textContent =
    `${where}: ${state.a} ${a.toPrecision(9)}, ${state.b} ${b.toPrecision(9)}, ` +
    `exact ${exact.toPrecision(12)} ± ${bound.toExponential(1)}`;
}

// ---- numbers --------------------------------------------------------------------------------------

const thousands = (n) => n.toLocaleString("en-US");

function ratioText(value) {
  if (value === null) return "∞";
  if (value && value < 0.001) return value.toExponential(1);
  return value < 100 ? value.toFixed(3) : thousands(Math.round(value));
}

function cell(row, number, text) {
  const made = row.insertCell();
  made.textContent = text;
  made.dataset.value = String(number);
}

function drawNumbers() {
  const digit = DATA.digits[state.digit], body = $("#numbers tbody");
  $("#numbers caption").textContent = `${state.layer} of digit ${digit.index}, every port`;
  body.replaceChildren();
  for (const port of DATA.ports) {
    const found = digit.layers[port][state.layer], row = body.insertRow();
    row.dataset.port = port;
    row.classList.toggle("on", port === state.a || port === state.b);
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = port;
    row.append(head);
    cell(row, found.max_abs_error, found.max_abs_error.toExponential(2));
    cell(row, found.bound, found.bound.toExponential(2));
    cell(row, found.end_to_end_ratio, ratioText(found.end_to_end_ratio));
    cell(row, found.local_ratio, ratioText(found.local_ratio));
    cell(row, found.bit_equal, `${(100 * found.bit_equal).toFixed(1)} %`);
    cell(row, digit.answers[port], digit.answers[port]);
  }
}

/** What differs between the two chosen ports, from their values. */
function compared() {
  const a = slice(values.ports[state.a]), b = slice(values.ports[state.b]), ratio = picture("a-b");
  const found = { largest: 0, ratio: 0, equal: 0, values: a.length };
  for (let i = 0; i < a.length; i++) {
    found.largest = Math.max(found.largest, Math.abs(a[i] - b[i]));
    found.ratio = Math.max(found.ratio, ratio(i));
    found.equal += a[i] === b[i] ? 1 : 0;
  }
  return found;
}

function drawPairTold() {
  if (!values) return;
  const found = compared(), told = $("#pair-told");
  for (const [name, number] of Object.entries(found)) told.dataset[name] = String(number);
  told.textContent =
    `${state.a} and ${state.b}: ${thousands(found.equal)} of ${thousands(found.values)} values equal; ` +
    `largest difference ${found.largest.toExponential(2)}, at most ${ratioText(found.ratio)} of ` +
    `the sum of both bounds.`;
}

// ---- digits ---------------------------------------------------------------------------------------

const pixelsOf = (digit) => bytesOf(digit.pixels);

function paintDigit(canvas, pixels) {
  const context = canvas.getContext("2d"), image = context.createImageData(28, 28);
  pixels.forEach((grey, i) => image.data.set([grey, grey, grey, 255], 4 * i));
  context.putImageData(image, 0, 0);
}

function drawDigit() {
  const digit = DATA.digits[state.digit];
  for (const button of all("#strip button")) {
    const on = Number(button.dataset.digit) === state.digit;
    button.setAttribute("aria-checked", on);
    button.tabIndex = on ? 0 : -1;
  }
  const says = digit.margin > 0
    ? `certified: ${digit.answer} leads by ${digit.margin.toPrecision(3)} after all rounding bounds are subtracted`
    : "not certified: rounding could change the answer";
  const right = digit.answer === digit.label ? "correctly" : `but its label is ${digit.label}`;
  const answers = new Set(Object.values(digit.answers));
  const who = answers.size === 1 ? "every port answers" : "the ports do not agree; the reference answers";
  $("#digit-told").textContent = `Test digit ${digit.index}: ${who} ${digit.answer}, ${right}; ${says}.`;
  $("#chosen-digit").textContent = `digit ${digit.index} (a ${digit.label})`;
}

// ---- code -----------------------------------------------------------------------------------------

let inserted = ""; // which pair's source is shown

function drawCode() {
  for (const one of all(".called")) one.hidden = one.dataset.layer !== state.layer;
  $("#what").textContent = $(`.called[data-layer="${state.layer}"]`).dataset.what;
  const [a, b] = [state.a, state.b].map((name) => name.split(":")[0]);
  const found = all("#code template").find((one) => [a, b].includes(one.dataset.a) && [a, b].includes(one.dataset.b));
  const sources = $("#sources"), shown = found && a !== b;
  $("#no-pair").hidden = Boolean(shown);
  sources.hidden = !shown;
  if (!shown) return;
  $("#pair").textContent = `${found.dataset.a} and ${found.dataset.b}`;
  if (inserted !== $("#pair").textContent) sources.replaceChildren(found.content.cloneNode(true));
  inserted = $("#pair").textContent;
  const about = (cell) => cell.dataset.layers.split(" ").includes(state.layer);
  for (const file of all(".file", sources)) {
    for (const body of all("tbody", file)) {
      const cells = all("[data-layers]", body);
      for (const one of cells) one.classList.toggle("about", about(one));
      body.classList.toggle("hide", !state.whole && !cells.some(about));
    }
    const bodies = all("tbody", file);
    file.classList.toggle("hide", !state.whole && bodies.every((body) => body.classList.contains("hide")));
  }
  const first = $("#sources .about");
  if (first) sources.scrollTop += first.getBoundingClientRect().top - sources.getBoundingClientRect().top - 90;
}

// ---- what the reader chooses ----------------------------------------------------------------------

function draw() {
  for (const one of all(".station[data-layer]")) one.setAttribute("aria-pressed", one.dataset.layer === state.layer);
  for (const one of all(".layer-name")) one.textContent = state.layer;
  for (const one of all(".of-a")) one.textContent = state.a;
  for (const one of all(".of-b")) one.textContent = state.b;
  $("#layer").value = state.layer;
  drawCode();
  drawDigit();
  drawMaps();
  drawNumbers();
  drawPairTold();
}

function choose(change) {
  Object.assign(state, change);
  draw();
}

function step(list, from, key) {
  const move = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[key];
  return move ? list[(list.indexOf(from) + move + list.length) % list.length] : null;
}

for (const one of all(".station[data-layer]")) {
  one.addEventListener("click", () => choose({ layer: one.dataset.layer }));
  one.addEventListener("keydown", (event) => {
    const next = step(all(".station[data-layer]"), one, event.key);
    if (next) next.focus();
    if (next || event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      choose({ layer: (next || one).dataset.layer });
    }
  });
}
for (const one of all("#strip button")) {
  paintDigit(one.querySelector("canvas"), pixelsOf(DATA.digits[one.dataset.digit]));
  one.addEventListener("click", () => choose({ digit: Number(one.dataset.digit) }));
  one.addEventListener("keydown", (event) => {
    const next = step(all("#strip button"), one, event.key);
    if (!next) return;
    event.preventDefault();
    choose({ digit: Number(next.dataset.digit) });
    next.focus();
  });
}
for (const name of ["layer", "a", "b"]) {
  $(`#${name}`).addEventListener("change", (event) => choose({ [name]: event.target.value }));
}
$("#whole").addEventListener("change", (event) => choose({ whole: event.target.checked }));
for (const canvas of all("[data-map]")) canvas.addEventListener("pointermove", tellValue);

const dark = matchMedia("(prefers-color-scheme: dark)");
function theme(name) {
  if (name) document.documentElement.dataset.theme = name;
  else delete document.documentElement.dataset.theme;
  drawMaps();
}
$("#theme").addEventListener("click", () => {
  const system = dark.matches ? "dark" : "light", other = dark.matches ? "light" : "dark";
  theme((document.documentElement.dataset.theme || system) === system ? other : undefined);
});
dark.addEventListener("change", drawMaps);
let before; // the theme on the screen, while light is printed
addEventListener("beforeprint", () => { before = document.documentElement.dataset.theme; theme("light"); });
addEventListener("afterprint", () => theme(before));

draw();
const ready = unpack().then((found) => { values = found; draw(); document.body.dataset.ready = "values"; });
