"use strict";
// The canvas: a drawn digit, prepared as MNIST's were (see lenet/network/pictures.py), through the ONNX file.
// Included only where onnxruntime-web's files were given; needs report.js before it.

const BOX = 20, NOISE = 1 / 8; // as in lenet/network/pictures.py
const pad = $("#pad"), ink = pad.getContext("2d", { willReadFrequently: true });
let session = null, ort = null;
let exact = null; // index in the strip of the test digit that lies on the canvas untouched

async function start() {
  const module = new Blob([bytesOf($("#runtime").textContent)], { type: "text/javascript" });
  ort = await import(URL.createObjectURL(module));
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmBinary = await gunzip($("#wasm").textContent);
  session = await ort.InferenceSession.create(bytesOf($("#onnx").textContent));
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

async function classify() {
  const pixels = exact === null ? prepared() : pixelsOf(DATA.digits[exact]);
  paintDigit($("#seen"), pixels || new Uint8Array(784));
  if (!session) return;
  if (!pixels) {
    $("#guess").textContent = "Draw a digit on the left.";
    $("#chances").replaceChildren();
    return;
  }
  const image = Float32Array.from(pixels, (grey) => grey / 255); // rounded once, as one float32 division
  const { logits } = await session.run({ image: new ort.Tensor("float32", image, [1, 1, 28, 28]) });
  tellAnswer([...logits.data]);
}

function tellAnswer(logits) {
  const most = Math.max(...logits), powers = logits.map((z) => Math.exp(z - most));
  const sum = powers.reduce((a, b) => a + b, 0), table = $("#chances");
  const known = exact !== null && values ? portLogits() : null;
  table.replaceChildren();
  const head = table.createTHead().insertRow();
  for (const text of ["class", "probability", "logit", ...(known ? [`${state.a}'s logit`, "apart, of the bounds"] : [])]) {
    head.append(Object.assign(document.createElement("th"), { textContent: text }));
  }
  let worst = 0;
  logits.forEach((z, i) => {
    const row = table.insertRow();
    row.append(Object.assign(document.createElement("th"), { textContent: String(i), scope: "row" }));
    cell(row, powers[i] / sum, `${((100 * powers[i]) / sum).toFixed(2)} %`);
    cell(row, z, z.toFixed(5));
    if (!known) return;
    const apart = over(Math.abs(z - known.port[i]), 2 * known.bound[i]);
    worst = Math.max(worst, over(Math.abs(z - known.exact[i]), known.bound[i]));
    cell(row, known.port[i], known.port[i].toFixed(5));
    cell(row, apart, ratioText(apart));
  });
  const guess = $("#guess");
  guess.innerHTML = "<b></b><span></span>";
  guess.firstChild.textContent = logits.indexOf(most);
  guess.lastChild.textContent = known
    ? ` Test digit ${DATA.digits[exact].index}: largest error/bound ${ratioText(worst)}; ` +
      (worst <= 1 ? "the same function as the ports." : "a different function.")
    : ` with ${((100 * Math.max(...powers)) / sum).toFixed(1)} %`;
  guess.dataset.worst = String(worst);
}

function portLogits() {
  const layer = layerOf("logits"), kept = state.digit;
  state.digit = exact;
  const found = { port: slice(values.ports[state.a], layer), exact: slice(values.reference, layer), bound: slice(values.bounds, layer) };
  state.digit = kept;
  return found;
}

function stroke(event) {
  if (!(event.buttons & 1)) return;
  if (exact !== null) wipe();
  const scale = 280 / pad.getBoundingClientRect().width;
  Object.assign(ink, { strokeStyle: "#fff", lineWidth: 22, lineCap: "round" });
  ink.beginPath();
  ink.moveTo((event.offsetX - event.movementX) * scale, (event.offsetY - event.movementY) * scale);
  ink.lineTo(event.offsetX * scale, event.offsetY * scale);
  ink.stroke();
}

pad.addEventListener("pointerdown", stroke);
pad.addEventListener("pointermove", stroke);
pad.addEventListener("pointerup", classify);
$("#clear").addEventListener("click", () => { wipe(); classify(); });
$("#put").addEventListener("click", async () => {
  wipe();
  exact = state.digit;
  const image = document.createElement("canvas");
  image.width = image.height = 28;
  paintDigit(image, pixelsOf(DATA.digits[exact]));
  ink.imageSmoothingEnabled = false;
  ink.drawImage(image, 0, 0, 280, 280);
  await classify();
});
wipe();
ready.then(start).then(classify, (error) => { $("#guess").textContent = `onnxruntime-web does not run here: ${error.message}`; })
  .then(() => { document.body.dataset.ready = "runtime"; });
