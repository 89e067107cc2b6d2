"use strict";
// What may differ: one output value, its kernel over its input with the numbers, and its sum in several orders.

const LARGEST = 12; // products of a dense layer that are listed

/** The chosen value of the layer; by default the one in which the two ports differ most, or the largest. */
function chosenValue() {
  const layer = chosenLayer();
  if (state.value !== null && state.value < product(layer.shape)) return state.value;
  const a = valuesOf(state.a, layer), b = valuesOf(state.b, layer);
  const apart = a.map((value, i) => Math.abs(value - b[i])), most = largest(apart);
  return most > 0 ? apart.indexOf(most) : a.indexOf(Math.max(...a));
}

/** What the value is made of: [{ from: index of the input or −1 outside of it, x, w }]. */
function terms(layer, i, x) {
  const found = [];
  const add = (from, k) => found.push({ from, x: from < 0 ? 0 : x[from], w: k === undefined ? null : weights[`${layer.name}.weight`][k] });
  if (layer.kind === "conv" || layer.kind === "dense") products(layer, i, add);
  else if (layer.kind === "pool") windowOf(layer, i).forEach((from) => add(from));
  else add(i);
  return found;
}

/** The sum of float32 products in three orders, and exactly; each with the bias last. */
function sumsOf(found, bias) {
  const rounded = found.map(({ x, w }) => round(x * w));
  const one = (list) => list.reduce((sum, term) => round(sum + term), 0);
  const halves = (list) => (list.length < 2 ? list[0] || 0
    : round(halves(list.slice(0, list.length >> 1)) + halves(list.slice(list.length >> 1))));
  return {
    "exact (float64)": found.reduce((sum, { x, w }) => sum + x * w, 0) + bias,
    "float32, first to last": round(one(rounded) + bias),
    "float32, last to first": round(one([...rounded].reverse()) + bias),
    "float32, by halves": round(halves(rounded) + bias),
  };
}

/** Frame cells of the picture in `box`: [left, top, width, height] in its pixels. */
function frame(box, frames) {
  const canvas = box.querySelector("canvas");
  for (const old of all("i", box)) old.remove();
  for (const [left, top, width, height] of frames) {
    const one = made("i", "");
    const share = (length, whole) => `${(100 * length) / whole}%`;
    Object.assign(one.style, {
      left: share(left, canvas.width), top: share(top, canvas.height),
      width: share(width, canvas.width), height: share(height, canvas.height),
    });
    box.append(one);
  }
}

/** One frame around the cells of each map that are used. */
function framesOf(layer, found) {
  const tiles = tiling(layer.shape), size = tiles.width * tiles.height, maps = new Map();
  for (const { from } of found) {
    if (from < 0) continue;
    const [x, y] = place(tiles, from), map = Math.floor(from / size);
    const [l, t, r, b] = maps.get(map) || [x, y, x, y];
    maps.set(map, [Math.min(l, x), Math.min(t, y), Math.max(r, x), Math.max(b, y)]);
  }
  return [...maps.values()].map(([l, t, r, b]) => [l, t, r - l + 1, b - t + 1]);
}

function drawSums() {
  if (!values) return;
  const layer = chosenLayer(), i = chosenValue(), x = valuesOf(state.a, layer.input), found = terms(layer, i, x);
  const value = valuesOf(state.a, layer)[i];
  $("#sum-of").textContent = `${layer.name}, ${placeOf(layer, i)}`;
  paintValues($("#sum-input canvas"), layer.input, x);
  frame($("#sum-input"), layer.kind === "dense" ? [] : framesOf(layer.input, found));
  $("#sum-input-of").textContent = layer.input.name;
  paintValues($("#sum-output canvas"), layer, valuesOf(state.a, layer));
  frame($("#sum-output"), [[...place(tiling(layer.shape), i), 1, 1]]);
  $("#sum-output-of").textContent = layer.name;
  const summed = layer.kind === "conv" || layer.kind === "dense";
  $("#sums").closest(".scroll").hidden = !summed;
  $("#terms").replaceChildren(...(layer.kind === "dense" ? [listed(found)] : windows(layer, found, value)));
  if (!summed) {
    const what = { relu: `max(${found[0].x.toPrecision(9)}, 0)`, flatten: "the same value, in another place",
      pool: `the largest of ${found.length} values` }[layer.kind];
    $("#sum-told").textContent = `${value.toPrecision(9)} is ${what}. Nothing is rounded: for the same input, every port gives the same bits.`;
    return;
  }
  const bias = weights[`${layer.name}.bias`][channelOf(layer, i)];
  drawOrders(sumsOf(found, bias), layer, i);
  $("#sum-told").textContent = `${found.length} products and the bias ${bias.toPrecision(9)}. Each float32 sum keeps 24 bits, ` +
    `and another order rounds at other places: the last digits may differ. From the image to here, ` +
    `rounding can do at most ${slice(values.bounds)[i].toExponential(2)}.`;
}

function drawOrders(orders, layer, i) {
  const body = $("#sums tbody"), [exact] = Object.values(orders);
  body.replaceChildren();
  const add = (head, number) => {
    const row = body.insertRow();
    head.scope = "row";
    row.append(head);
    cell(row, number, number.toPrecision(9));
    cell(row, number - exact, number === exact ? "0" : (number - exact).toExponential(2));
  };
  for (const [order, number] of Object.entries(orders)) add(made("th", order), number);
  for (const port of new Set([state.a, state.b])) {
    const head = made("th", "");
    namePort(head, port);
    add(head, valuesOf(port, layer)[i]);
  }
}

/** A window of each map: every cell with its input, and the weight that lies over it. */
function windows(layer, found, value) {
  const side = layer.kernel || 1, maps = found.length / (side * side);
  const most = largest(found.map(({ x, w }) => Math.abs(w === null ? x : x * w))) || 1;
  return Array.from({ length: maps }, (_, map) => {
    const table = document.createElement("table");
    table.createCaption().textContent = layer.input.shape[0] > 1 && layer.kind === "conv" ? `map ${map}` : layer.input.name;
    for (let r = 0; r < side; r++) {
      const row = table.insertRow();
      for (let c = 0; c < side; c++) {
        const { from, x, w } = found[(map * side + r) * side + c], one = row.insertCell();
        const share = (w === null ? x : x * w) / most;
        one.style.setProperty("--share", `${Math.round(55 * Math.abs(share))}%`);
        one.classList.add(share < 0 ? "less" : "more");
        one.classList.toggle("winner", layer.kind === "pool" && x === value);
        one.append(made("span", from < 0 ? "pad" : x.toFixed(3)));
        if (w !== null) one.append(made("small", `×${w.toFixed(3)}`));
      }
    }
    return table;
  });
}

/** The largest products of a dense layer. */
function listed(found) {
  const table = document.createElement("table"), head = table.createTHead().insertRow();
  const order = found.map((one) => ({ ...one, product: one.x * one.w })).sort((a, b) => Math.abs(b.product) - Math.abs(a.product));
  table.className = "plain numbers";
  table.createCaption().textContent = `the ${Math.min(LARGEST, order.length)} largest of ${order.length} products`;
  for (const title of ["input", "value", "weight", "product"]) head.append(made("th", title));
  for (const { from, x, w, product: both } of order.slice(0, LARGEST)) {
    const row = table.insertRow();
    row.append(made("th", `feature ${from}`, { scope: "row" }));
    for (const number of [x, w, both]) cell(row, number, number.toFixed(4));
  }
  return table;
}
