"use strict";
// The canvas: a drawn digit, prepared as MNIST's were (see lenet/network/pictures.py), through every layer.
// The layers are computed by the ONNX file in onnxruntime-web, or, where the page has none, by loop.js.

const BOX = 20, NOISE = 1 / 8; // as in lenet/network/pictures.py
const PEN = 22; // pixels
const pad = $("#pad"), ink = pad.getContext("2d", { willReadFrequently: true });
let compute = async (image) => run(image); // {layer: values} of an image
let exact = null; // index in the strip of the test digit that lies on the canvas untouched
let pen = null; // [x, y] of the stroke's end

/** Start onnxruntime-web; all layers are outputs of the page's ONNX file. */
async function start() {
  if (!$("#runtime")) return;
  const module = new Blob([bytesOf($("#runtime").textContent)], { type: "text/javascript" });
  const ort = await import(URL.createObjectURL(module));
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmBinary = await gunzip($("#wasm").textContent);
  const session = await ort.InferenceSession.create(bytesOf($("#onnx").textContent));
  compute = async (image) => {
    const found = await session.run({ image: new ort.Tensor("float32", image, [1, 1, 28, 28]) });
    return Object.fromEntries(DATA.layers.map(({ name }) => [name, found[name].data]));
  };
}

function wipe() {
  ink.fillStyle = "#000";
  ink.fillRect(0, 0, 280, 280);
  exact = null;
}

/** Grey levels 0 to 255 of the drawing: cut out, fitted to 20×20, its centre of mass in the middle. */
function prepared() {
  const { data } = ink.getImageData(0, 0, 280, 280);
  let [left, top, right, bottom] = [280, 280, -1, -1];
  for (let i = 0; i < 280 * 280; i++) {
    if (data[4 * i] <= 255 * NOISE) continue;
    [left, right] = [Math.min(left, i % 280), Math.max(right, i % 280)];
    [top, bottom] = [Math.min(top, Math.floor(i / 280)), Math.max(bottom, Math.floor(i / 280))];
  }
  if (right < 0) return null;
  const [width, height] = [right - left + 1, bottom - top + 1];
  const [columns, rows] = [width, height].map((side) => Math.max(1, Math.round((side * BOX) / Math.max(width, height))));
  const small = new OffscreenCanvas(columns, rows).getContext("2d", { willReadFrequently: true });
  small.imageSmoothingQuality = "high";
  small.drawImage(pad, left, top, width, height, 0, 0, columns, rows);
  const shrunk = small.getImageData(0, 0, columns, rows).data;
  const grey = Array.from({ length: columns * rows }, (_, i) => shrunk[4 * i]);
  const strongest = Math.max(...grey), mass = grey.reduce((a, b) => a + b, 0);
  const centre = (at) => grey.reduce((sum, v, i) => sum + v * at(i), 0) / mass;
  const put = (middle, side) => Math.min(28 - side, Math.max(0, Math.round(14 - middle)));
  const x = put(centre((i) => i % columns), columns), y = put(centre((i) => Math.floor(i / columns)), rows);
  const pixels = new Uint8Array(784);
  grey.forEach((v, i) => { pixels[28 * (y + Math.floor(i / columns)) + x + (i % columns)] = Math.round((v * 255) / strongest); });
  return pixels;
}

let running = false, again = false;

/** Run what is on the canvas; while a run goes on, only the last of the changes behind it is run. */
async function classify() {
  again = true;
  if (running) return;
  running = true;
  while (again) {
    again = false;
    const pixels = exact === null ? prepared() : pixelsOf(DATA.digits[exact]);
    tell(pixels, pixels && await compute(imageOf(pixels)));
  }
  running = false;
}

function tell(pixels, found) {
  paintDigit($("#seen"), pixels || new Uint8Array(784));
  $("#live").hidden = !pixels;
  if (!pixels) {
    $("#guess").textContent = "Draw a digit on the left.";
    $("#chances").replaceChildren();
    return;
  }
  drawStations($("#live"), pixels, found, exact, false);
  tellAnswer([...found.logits]);
}

const percent = (part) => `${(100 * part).toFixed(2)} %`;

/** The classes as bars; for a test digit, its logits beside those of port a. */
function tellAnswer(logits) {
  const most = Math.max(...logits), powers = logits.map((z) => Math.exp(z - most));
  const sum = powers.reduce((a, b) => a + b, 0), table = $("#chances");
  const layer = layerOf("logits"), bound = exact === null ? null : slice(values.bounds, layer, exact);
  const port = exact === null ? null : valuesOf(state.a, layer, exact);
  table.replaceChildren();
  const head = table.createTHead().insertRow();
  for (const text of ["class", "probability", "logit", ...(port ? [`${state.a}'s logit`, "apart, of the bounds"] : [])]) {
    head.append(made("th", text));
  }
  logits.forEach((z, i) => {
    const row = table.insertRow();
    row.classList.toggle("on", z === most);
    row.append(made("th", String(i), { scope: "row" }));
    cell(row, powers[i] / sum, percent(powers[i] / sum)).style.setProperty("--part", `${(100 * powers[i]) / sum}%`);
    cell(row, z, z.toFixed(5));
    if (!port) return;
    const apart = over(Math.abs(z - port[i]), 2 * bound[i]);
    cell(row, port[i], port[i].toFixed(5));
    cell(row, apart, ratioText(apart));
  });
  const guess = $("#guess");
  guess.replaceChildren(made("b", String(logits.indexOf(most))), made("span", ""));
  delete guess.dataset.worst;
  if (exact === null) {
    guess.lastChild.textContent = ` with ${percent(Math.max(...powers) / sum)}`;
    return;
  }
  const worst = largest(shares(logits, layer, exact));
  guess.dataset.worst = String(worst);
  guess.lastChild.textContent = ` Test digit ${DATA.digits[exact].index}: largest error/bound ${ratioText(worst)}; ` +
    (worst <= 1 ? "the same function as the ports." : "a different function.");
}

function stroke(event) {
  if (!(event.buttons & 1)) return;
  if (exact !== null) wipe();
  const scale = 280 / pad.getBoundingClientRect().width, to = [event.offsetX * scale, event.offsetY * scale];
  Object.assign(ink, { strokeStyle: "#fff", fillStyle: "#fff", lineWidth: PEN });
  ink.beginPath();
  ink.moveTo(...(pen || to));
  ink.lineTo(...to);
  ink.stroke();
  ink.beginPath(); // a tap is a line without length, which draws nothing
  ink.arc(...to, PEN / 2, 0, 2 * Math.PI);
  ink.fill();
  pen = to;
}

function put(digit) {
  wipe();
  exact = digit;
  const image = document.createElement("canvas");
  image.width = image.height = 28;
  paintDigit(image, pixelsOf(DATA.digits[digit]));
  ink.imageSmoothingEnabled = false;
  ink.drawImage(image, 0, 0, 280, 280);
  return classify();
}

/** Show another test digit, or another port's logits of it, if what lies on the canvas is one untouched. */
function followChoice() {
  if (exact !== null) put(state.digit);
}

pad.addEventListener("pointerdown", (event) => { pen = null; stroke(event); classify(); });
pad.addEventListener("pointerleave", () => { pen = null; });
pad.addEventListener("pointermove", (event) => { if (event.buttons & 1) { stroke(event); classify(); } });
$("#clear").addEventListener("click", () => { wipe(); classify(); });
$("#put").addEventListener("click", () => put(state.digit));
ready.then(start).catch((error) => {
  $("#by").textContent = `onnxruntime-web does not run here (${error.message}); the page's own loops compute instead.`;
}).then(() => (prepared() ? classify() : put(state.digit))).then(() => { document.body.dataset.ready = "runtime"; });
