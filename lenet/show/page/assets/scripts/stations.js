"use strict";
// A row of stations: the image and every layer, with the maps, and the largest error over its bound.

/**
 * Draw the row in `root`.
 *
 * @param root the element with the stations.
 * @param pixels the digit.
 * @param found {layer: values}.
 * @param digit its place in the strip, by which the values are judged; null for one that was drawn.
 * @param errors whether the pictures show error over bound; else they show values.
 */
function drawStations(root, pixels, found, digit, errors) {
  paintDigit(root.querySelector("[data-shows=image] canvas"), pixels);
  for (const layer of DATA.layers) {
    const station = root.querySelector(`[data-shows=${layer.name}]`), canvas = station.querySelector("canvas");
    const ratios = digit === null ? null : shares(found[layer.name], layer, digit);
    if (errors && ratios) paintShares(canvas, layer, ratios, true);
    else paintValues(canvas, layer, found[layer.name], undefined, true);
    tellShare(station, ratios && largest(ratios));
  }
  const logits = found.logits, answer = logits.indexOf(Math.max(...logits));
  all(".classes i", root).forEach((one, i) => one.classList.toggle("on", i === answer));
}

function tellShare(station, share) {
  const told = station.querySelector(".share");
  told.hidden = share === null;
  if (share === null) return;
  told.dataset.value = String(share);
  told.textContent = share > 0 ? ratioText(share) : "exact";
  told.title = "largest error, as a multiple of its bound";
  told.classList.toggle("over", share > 1);
  told.style.setProperty("--part", `${100 * Math.min(1, share)}%`);
}

function drawNetwork() {
  for (const one of all("#stations [data-layer]")) one.setAttribute("aria-pressed", one.dataset.layer === state.layer);
  $("#share-scale").hidden = !state.errors;
  if (!values) return;
  const found = Object.fromEntries(DATA.layers.map((layer) => [layer.name, valuesOf(state.a, layer)]));
  drawStations($("#stations"), pixelsOf(DATA.digits[state.digit]), found, state.digit, state.errors);
}
