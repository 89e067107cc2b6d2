"use strict";
// What the reader chooses, which is kept in the address; and the code of the chosen layer and pair.

let inserted = null; // the template of the pair whose source is shown

function drawCode() {
  for (const one of all(".called")) one.hidden = one.dataset.layer !== state.layer;
  $("#what").textContent = $(`.called[data-layer="${state.layer}"]`).dataset.what;
  const [a, b] = [state.a, state.b].map((name) => name.split(":")[0]);
  const found = all("#code template").find((one) => [a, b].includes(one.dataset.a) && [a, b].includes(one.dataset.b));
  const sources = $("#sources"), shown = found && a !== b;
  $("#no-pair").hidden = Boolean(shown);
  sources.hidden = !shown;
  $("#pair").textContent = shown ? `${found.dataset.a} and ${found.dataset.b}` : `${state.a} and ${state.b}`;
  if (!shown) return;
  if (inserted !== found) sources.replaceChildren(found.content.cloneNode(true));
  inserted = found;
  const about = (one) => one.dataset.layers.split(" ").includes(state.layer);
  for (const file of all(".file", sources)) {
    for (const body of all("tbody", file)) {
      const cells = all("[data-layers]", body);
      for (const one of cells) one.classList.toggle("about", about(one));
      body.classList.toggle("hide", !state.whole && !cells.some(about));
    }
    const bodies = all("tbody", file);
    file.classList.toggle("hide", !state.whole && bodies.every((body) => body.classList.contains("hide")));
  }
}

/** The change that puts a port on a side. The two sides stay different: a port on the other side is swapped. */
function portOn(side, port) {
  const swap = port === state[side === "a" ? "b" : "a"];
  return swap ? { a: state.b, b: state.a } : { [side]: port };
}

// ---- the address ----------------------------------------------------------------------------------

/** The part of the state that the address names. */
function named() {
  const { layer, a, b, bug, value, errors } = state;
  const found = { layer, digit: DATA.digits[state.digit].index, a, b, bug };
  if (value !== null) found.value = value;
  if (errors) found.errors = 1;
  return new URLSearchParams(found).toString();
}

/** Take over what the address names; what the page does not have is left out. */
function readAddress() {
  const asked = new URLSearchParams(location.search);
  const digit = DATA.digits.findIndex((one) => String(one.index) === asked.get("digit"));
  if (digit >= 0) state.digit = digit;
  if (layerOf(asked.get("layer"))) state.layer = asked.get("layer");
  for (const side of ["a", "b"]) {
    if (DATA.ports.includes(asked.get(side))) Object.assign(state, portOn(side, asked.get(side)));
  }
  if (Object.hasOwn(BUGS, asked.get("bug"))) state.bug = asked.get("bug");
  if (/^\d+$/.test(asked.get("value"))) state.value = Number(asked.get("value"));
  state.errors = asked.get("errors") === "1";
}

function draw() {
  for (const one of all(".layer-name")) one.textContent = state.layer;
  for (const side of ["a", "b"]) {
    for (const one of all(`.of-${side}`)) namePort(one, state[side]);
    $(`#${side}`).parentElement.style.setProperty("--port", DATA.colors[state[side]]);
  }
  for (const name of ["layer", "a", "b", "bug"]) $(`#${name}`).value = state[name];
  $("#errors").checked = state.errors;
  drawNetwork();
  drawCode();
  drawDigit();
  drawSums();
  drawMaps();
  drawNumbers();
  drawPairTold();
  drawBug();
}

function choose(change) {
  if ("layer" in change || "a" in change || "b" in change) state.value = null;
  Object.assign(state, change);
  history.replaceState(null, "", `?${named()}${location.hash}`);
  draw();
  followChoice();
}

// ---- events ---------------------------------------------------------------------------------------

function step(list, from, key) {
  const move = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[key];
  return move ? list[(list.indexOf(from) + move + list.length) % list.length] : null;
}

/** Clicks and arrow keys in a row of buttons, each of which chooses what `change` says. */
function row(buttons, change) {
  for (const one of buttons) {
    one.addEventListener("click", () => choose(change(one)));
    one.addEventListener("keydown", (event) => {
      const next = step(buttons, one, event.key);
      if (!next) return;
      event.preventDefault();
      choose(change(next));
      next.focus();
    });
  }
}

row(all("#stations [data-layer]"), (one) => ({ layer: one.dataset.layer }));
row(all("#strip button"), (one) => ({ digit: Number(one.dataset.digit) }));
for (const one of all("#strip button")) paintDigit(one.querySelector("canvas"), pixelsOf(DATA.digits[one.dataset.digit]));
for (const [key, { told }] of Object.entries(BUGS)) $("#bug").append(made("option", told, { value: key }));
for (const name of ["layer", "bug"]) {
  $(`#${name}`).addEventListener("change", (event) => choose({ [name]: event.target.value }));
}
for (const side of ["a", "b"]) {
  $(`#${side}`).addEventListener("change", (event) => choose(portOn(side, event.target.value)));
}
for (const name of ["whole", "errors"]) {
  $(`#${name}`).addEventListener("change", (event) => choose({ [name]: event.target.checked }));
}
for (const canvas of all("[data-map]")) canvas.addEventListener("pointermove", tellValue);
for (const canvas of [...all("[data-map]"), $("#sum-output canvas")]) {
  canvas.addEventListener("click", (event) => {
    const i = indexUnder(event);
    if (i >= 0) choose({ value: i });
  });
}
$("#sum-output").addEventListener("keydown", (event) => {
  const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key], size = product(chosenLayer().shape);
  if (!move || !values) return;
  event.preventDefault();
  choose({ value: (chosenValue() + move + size) % size });
});

const dark = matchMedia("(prefers-color-scheme: dark)");
function repaint() {
  drawNetwork();
  drawSums();
  drawMaps();
  drawBug();
  if (values) classify();
}
function theme(name) {
  if (name) document.documentElement.dataset.theme = name;
  else delete document.documentElement.dataset.theme;
  repaint();
}
$("#theme").addEventListener("click", () => {
  const system = dark.matches ? "dark" : "light", other = dark.matches ? "light" : "dark";
  theme((document.documentElement.dataset.theme || system) === system ? other : undefined);
});
dark.addEventListener("change", repaint);
let before; // the theme on the screen, while light is printed
addEventListener("beforeprint", () => { before = document.documentElement.dataset.theme; theme("light"); });
addEventListener("afterprint", () => theme(before));

readAddress();
draw();
const ready = Promise.all([unpack(), unpackWeights()]).then(() => { draw(); document.body.dataset.ready = "values"; });
