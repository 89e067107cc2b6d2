"use strict";
// Pictures of a layer's values: its maps side by side.

const DECADES = 4; // of error/bound that the log scale shows

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

/** How the maps of a layer are laid side by side: features become one map, nearly a square; the logits, a line. */
function tiling([channels, height, width], tall = false) {
  const across = !height && channels <= 10 ? channels : divisor(channels);
  const columns = tall ? channels / across : across;
  if (height) return { width, height, columns, rows: channels / columns };
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

function paint(canvas, shape, colorOf, tall = false) {
  const tiles = tiling(shape, tall);
  canvas.width = tiles.columns * (tiles.width + 1) - 1;
  canvas.height = tiles.rows * (tiles.height + 1) - 1;
  canvas.tiles = tiles;
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  for (let i = 0; i < product(shape); i++) {
    const [x, y] = place(tiles, i);
    image.data.set([...colorOf(i), 255], 4 * (y * canvas.width + x));
  }
  context.putImageData(image, 0, 0);
}

/** The colours of values: {none, less, more} of the theme. */
const palette = () => Object.fromEntries([["none", "--absent"], ["more", "--more"], ["less", "--less"]]
  .map(([key, name]) => [key, color(name)]));

function valueColor({ none, less, more }, found, most) {
  return (i) => mix(none, found[i] < 0 ? less : more, Math.min(1, Math.abs(found[i]) / most));
}

function shareColor({ none, less, more }, ratios) {
  return (i) => {
    const r = ratios[i];
    if (r > 1) return [224, 18, 60];
    const part = Math.max(0.05, 1 + Math.log10(r) / DECADES); // of the scale's length
    return r === 0 ? none : part < 0.5 ? mix(none, less, 2 * part) : mix(less, more, 2 * part - 1);
  };
}

const strongest = (found) => largest(found.map(Math.abs)) || 1;

function paintValues(canvas, layer, found, most = strongest(found), tall = false) {
  paint(canvas, layer.shape, valueColor(palette(), found, most), tall);
}

function paintShares(canvas, layer, ratios, tall = false) {
  paint(canvas, layer.shape, shareColor(palette(), ratios), tall);
}

function paintDigit(canvas, pixels) {
  const context = canvas.getContext("2d"), image = context.createImageData(28, 28);
  pixels.forEach((grey, i) => image.data.set([grey, grey, grey, 255], 4 * i));
  context.putImageData(image, 0, 0);
}

/** Which value of the painted layer is under the pointer; −1: none. */
function indexUnder(event) {
  const canvas = event.currentTarget, box = canvas.getBoundingClientRect();
  const scale = Math.min(box.width / canvas.width, box.height / canvas.height); // object-fit: contain
  const x = Math.floor((event.clientX - box.left) / scale);
  const y = Math.floor((event.clientY - box.top - (box.height - scale * canvas.height) / 2) / scale);
  const { tiles } = canvas;
  if (!tiles || x < 0 || y < 0 || x >= canvas.width || y >= canvas.height) return -1;
  return indexAt(tiles, x, y);
}
