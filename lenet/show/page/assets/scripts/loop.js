"use strict";
// The network as plain loops in float32: one product after the other, each sum rounded. And the bugs to plant.

const round = Math.fround;

/** The products of one output value of a convolution or dense layer: calls `each` with two indices. */
function products(layer, i, each) {
  const [inputs, height, width] = layer.input.shape, { kernel, padding } = layer;
  if (layer.kind === "dense") {
    for (let k = 0; k < inputs; k++) each(k, i * inputs + k);
    return;
  }
  const [, rows, columns] = layer.shape;
  const map = Math.floor(i / (rows * columns)), row = Math.floor(i / columns) % rows, column = i % columns;
  for (let channel = 0; channel < inputs; channel++) {
    for (let r = 0; r < kernel; r++) {
      for (let c = 0; c < kernel; c++) {
        const y = row + r - padding, x = column + c - padding;
        const inside = y >= 0 && y < height && x >= 0 && x < width;
        each(inside ? (channel * height + y) * width + x : -1, ((map * inputs + channel) * kernel + r) * kernel + c);
      }
    }
  }
}

/** The channel of an output value: a layer has one bias for each. */
const channelOf = (layer, i) => Math.floor(i / product(layer.shape.slice(1)));

function affine(layer, x, parameters) {
  const w = parameters[`${layer.name}.weight`], b = parameters[`${layer.name}.bias`];
  return Float32Array.from({ length: product(layer.shape) }, (_, i) => {
    let sum = 0;
    products(layer, i, (from, k) => { if (from >= 0) sum = round(sum + round(x[from] * w[k])); });
    return sum + b[channelOf(layer, i)];
  });
}

/** The indices of the window of one output value of a pooling layer. */
function windowOf(layer, i) {
  const [, height, width] = layer.input.shape, [, rows, columns] = layer.shape, { kernel } = layer;
  const first = Math.floor(i / (rows * columns)) * height * width
    + (Math.floor(i / columns) % rows) * kernel * width + (i % columns) * kernel;
  return Array.from({ length: kernel * kernel }, (_, k) => first + Math.floor(k / kernel) * width + (k % kernel));
}

const COMPUTE = {
  conv: affine,
  dense: affine,
  relu: (layer, x) => x.map((value) => Math.max(value, 0)),
  pool: (layer, x) => Float32Array.from({ length: product(layer.shape) },
    (_, i) => Math.max(...windowOf(layer, i).map((from) => x[from]))),
  flatten: (layer, x) => x,
};

/** All layers of an image: {layer: Float32Array}; `bug` replaces the parameters or the function of a layer. */
function run(image, bug = {}) {
  const parameters = { ...weights, ...(bug.parameters ? bug.parameters() : {}) }, found = {};
  let x = image;
  for (const layer of DATA.layers) {
    const compute = layer.name === bug.layer && bug.compute ? bug.compute : COMPUTE[layer.kind];
    x = found[layer.name] = compute(layer, x, parameters);
  }
  return found;
}

function average(layer, x) {
  return Float32Array.from({ length: product(layer.shape) },
    (_, i) => windowOf(layer, i).reduce((sum, from) => round(sum + x[from]), 0) / layer.kernel ** 2);
}

/** Channel, row, column in the order row, column, channel. */
function channelsLast(layer, x) {
  const [channels, height, width] = layer.input.shape, size = height * width;
  return x.map((_, i) => x[(i % channels) * size + Math.floor(i / channels)]);
}

/** Each kernel of a convolution turned by half a turn. */
function turned(name) {
  const size = DATA.parameters[name].slice(2).reduce((a, b) => a * b, 1), w = weights[name];
  return w.map((_, i) => w[i - (i % size) + size - 1 - (i % size)]);
}

/** Float32 rounded to the eight significant bits of bfloat16, ties to even. */
function bfloat16(array) {
  const bits = new Uint32Array(Float32Array.from(array).buffer);
  return new Float32Array(bits.map((one) => (one + 0x7fff + ((one >>> 16) & 1)) & 0xffff0000).buffer);
}

/** The largest weight off by a thousandth of itself. */
function oneOff(array) {
  const most = largest(array.map(Math.abs));
  return array.map((w) => (Math.abs(w) === most ? w * 1.001 : w));
}

const BUGS = {
  none: { told: "none: the right loop" },
  flipped: { told: "conv2's kernel is flipped: a convolution for a correlation", layer: "conv2",
    parameters: () => ({ "conv2.weight": turned("conv2.weight") }) },
  average: { told: "pool1 takes the average, not the maximum", layer: "pool1", compute: average },
  order: { told: "flattened in the order row, column, channel", layer: "flatten", compute: channelsLast },
  bias: { told: "fc1's bias is forgotten", layer: "fc1", parameters: () => ({ "fc1.bias": weights["fc1.bias"].map(() => 0) }) },
  relu: { told: "relu3 is forgotten", layer: "relu3", compute: (layer, x) => x },
  bfloat16: { told: "conv1's weights are in bfloat16", layer: "conv1",
    parameters: () => ({ "conv1.weight": bfloat16(weights["conv1.weight"]) }) },
  one: { told: "one weight of conv2 is off by a thousandth", layer: "conv2",
    parameters: () => ({ "conv2.weight": oneOff(weights["conv2.weight"]) }) },
};
