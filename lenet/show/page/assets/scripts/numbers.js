"use strict";
// What does differ: the maps of two ports, their differences, and the numbers of every port.

function pictureShares(which) {
  const layer = chosenLayer();
  if (which === "a-exact" || which === "b-exact") return shares(valuesOf(state[which[0]], layer), layer);
  const b = valuesOf(state.b, layer), bound = slice(values.bounds);
  return Float64Array.from(valuesOf(state.a, layer), (value, i) => over(Math.abs(value - b[i]), 2 * bound[i]));
}

function drawMaps() {
  if (!values) return;
  const layer = chosenLayer(), most = strongest(slice(values.reference));
  for (const canvas of all("[data-map]")) {
    const which = canvas.dataset.map;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `${layer.name}: ${which}`);
    if (which === "a" || which === "b") paintValues(canvas, layer, valuesOf(state[which], layer), most);
    else paintShares(canvas, layer, pictureShares(which));
  }
  for (const one of all(".maps .classes")) one.hidden = layer.name !== "logits";
  $("#low").textContent = (-most).toPrecision(3);
  $("#high").textContent = most.toPrecision(3);
}

function tellValue(event) {
  const i = values ? indexUnder(event) : -1, layer = chosenLayer();
  if (i < 0) return;
  const a = valuesOf(state.a, layer)[i], b = valuesOf(state.b, layer)[i];
  const bound = slice(values.bounds)[i], exact = slice(values.reference)[i];
  $("#value-told").textContent =
    `${placeOf(layer, i)}: ${state.a} ${a.toPrecision(9)}, ${state.b} ${b.toPrecision(9)}, ` +
    `exact ${exact.toPrecision(12)} ± ${bound.toExponential(1)}`;
}

function drawNumbers() {
  const digit = DATA.digits[state.digit], body = $("#numbers tbody");
  $("#numbers caption").textContent = `${state.layer} of digit ${digit.index}, every port`;
  body.replaceChildren();
  for (const port of DATA.ports) {
    const found = digit.layers[port][state.layer], row = body.insertRow();
    row.dataset.port = port;
    row.classList.toggle("on", port === state.a || port === state.b);
    const head = made("th", "", { scope: "row" });
    namePort(head, port);
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
  const layer = chosenLayer(), a = valuesOf(state.a, layer), b = valuesOf(state.b, layer);
  return {
    largest: largest(Float64Array.from(a, (value, i) => Math.abs(value - b[i]))),
    ratio: largest(pictureShares("a-b")),
    equal: a.filter((value, i) => value === b[i]).length,
    values: a.length,
  };
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
