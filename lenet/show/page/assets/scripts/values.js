"use strict";
// The data of the page: #data (JSON), #arrays and #weights (see lenet/show/page/arrays.py), and the state.

const $ = (selector) => document.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const DATA = JSON.parse($("#data").textContent);
// What the reader chose. `value`: the index of a value of the layer, or null for the one that differs most.
const state = { digit: 0, ...DATA.first, errors: false, bug: "flipped", value: null, whole: false };
let values = null; // { reference, bounds, ports }, as soon as they are unpacked
let weights = null; // { parameter: Float32Array }, at the same time

const bytesOf = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));

async function gunzip(text) {
  const stream = new Blob([bytesOf(text)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

const product = (shape) => shape.reduce((a, b) => a * b, 1);
const VALUES = DATA.layers.reduce((sum, layer) => sum + product(layer.shape), 0);
let offset = 0;
for (const [i, layer] of DATA.layers.entries()) {
  layer.offset = offset;
  layer.input = i ? DATA.layers[i - 1] : { name: "image", shape: [1, 28, 28] };
  offset += product(layer.shape);
}
const layerOf = (name) => DATA.layers.find((layer) => layer.name === name);
const chosenLayer = () => layerOf(state.layer);

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
  values = { reference, bounds, ports };
}

async function unpackWeights() {
  const buffer = await gunzip($("#weights").textContent);
  const found = {};
  let start = 0;
  for (const [name, shape] of Object.entries(DATA.parameters)) {
    found[name] = new Float32Array(buffer, 4 * start, product(shape));
    start += product(shape);
  }
  weights = found;
}

const pixelsOf = (digit) => bytesOf(digit.pixels);
/** The network's input: each pixel rounded once, as one float32 division. */
const imageOf = (pixels) => Float32Array.from(pixels, (grey) => grey / 255);

/** The values of one layer for a digit of the strip, the chosen one by default. */
function slice(array, layer = chosenLayer(), digit = state.digit) {
  const start = digit * VALUES + layer.offset;
  return array.subarray(start, start + product(layer.shape));
}

/** A port's values of a layer, or the image. */
function valuesOf(port, layer, digit = state.digit) {
  return layer.name === "image" ? imageOf(pixelsOf(DATA.digits[digit])) : slice(values.ports[port], layer, digit);
}

/** Error over bound; 0 without an error, infinite where the bound is 0 and there is one. */
const over = (error, bound) => (error === 0 ? 0 : error / bound);

/** For each value found for a digit: its error, as a multiple of the bound. */
function shares(found, layer, digit = state.digit) {
  const exact = slice(values.reference, layer, digit), bound = slice(values.bounds, layer, digit);
  return Float64Array.from(found, (value, i) => over(Math.abs(value - exact[i]), bound[i]));
}

const largest = (numbers) => numbers.reduce((most, value) => Math.max(most, value), 0);
const thousands = (n) => n.toLocaleString("en-US");

function ratioText(value) {
  if (value === null || value === Infinity) return "∞";
  if (value && value < 0.001) return value.toExponential(1);
  return value < 100 ? value.toFixed(3) : thousands(Math.round(value));
}

function made(tag, text, properties = {}) {
  return Object.assign(document.createElement(tag), { textContent: text, ...properties });
}

function cell(row, number, text) {
  const one = row.insertCell();
  one.textContent = text;
  one.dataset.value = String(number);
  return one;
}

/** Write a port's name, with its colour beside it. */
function namePort(element, port) {
  element.textContent = port;
  element.classList.add("port");
  element.style.setProperty("--port", DATA.colors[port]);
}

/** "map 3, row 0, column 7", "feature 12", or for the logits "class 7". */
function placeOf(layer, i) {
  const [, height, width] = layer.shape;
  if (layer.name === "logits") return `class ${i}`;
  if (!height) return `feature ${i}`;
  return `map ${Math.floor(i / (height * width))}, row ${Math.floor(i / width) % height}, column ${i % width}`;
}
