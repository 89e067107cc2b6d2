"use strict";
const all = [...document.querySelectorAll("#nodes > details")];
const wrong = all.filter((node) => node.matches(".different, .coarse"));
const buttons = [...document.querySelectorAll("[data-kind]")];
const search = document.querySelector("#search");
const bar = document.querySelector(".bar");
const texts = all.map((node) => `${node.querySelector(".name").title} ${node.querySelector(".op").textContent}`.toLowerCase());

function show(node) {
  if (node.hidden) filter(null, "");
  node.open = true;
  node.scrollIntoView({ block: "start" });
  node.querySelector("summary").focus({ preventScroll: true });
}

// By verdict, by name and operator, or both; without arguments by what is chosen on the page.
function filter(kind = chosen(), text = search.value) {
  for (const button of buttons) button.setAttribute("aria-pressed", button.dataset.kind === kind);
  if (search.value !== text) search.value = text;
  const word = text.trim().toLowerCase();
  all.forEach((node, place) => {
    node.hidden = (kind && !node.classList.contains(kind)) || !texts[place].includes(word);
  });
  document.querySelector("#nodes").classList.toggle("filtered", Boolean(kind || word));
  document.querySelector("#none").hidden = all.some((node) => !node.hidden);
}

function chosen() {
  return buttons.find((button) => button.getAttribute("aria-pressed") === "true")?.dataset.kind ?? null;
}

for (const button of buttons) {
  button.disabled = false;
  button.addEventListener("click", () => filter(chosen() === button.dataset.kind ? null : button.dataset.kind));
}
document.querySelector(".script").hidden = false;
search.addEventListener("input", () => filter());

// The next wrong node after the one that has the focus, and after the last the first.
document.querySelector("#next")?.addEventListener("click", () => {
  const at = wrong.indexOf(last);
  last = wrong[(at + 1) % wrong.length];
  show(last);
});
let last = null;
document.querySelector("#nodes").addEventListener("focusin", (event) => {
  const node = event.target.closest("details");
  if (wrong.includes(node)) last = node;
});

document.querySelector("#overview").addEventListener("click", (event) => {
  const box = event.currentTarget.getBoundingClientRect();
  const place = Math.floor(((event.clientX - box.left) / box.width) * all.length);
  const near = wrong.find((node) => Math.abs(all.indexOf(node) - place) <= all.length / 200);
  show(near ?? all[Math.min(Math.max(place, 0), all.length - 1)]);
});

// Up and down go from row to row; Enter and the space bar open a row by themselves.
document.addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const node = event.target.matches?.("summary") && event.target.parentElement;
  if (!step || !node) return;
  const seen = all.filter((one) => !one.hidden);
  const next = seen[seen.indexOf(node) + step];
  if (!next) return;
  event.preventDefault();
  next.querySelector("summary").focus();
});

function follow() {
  const node = /^#n\d+$/.test(location.hash) && document.querySelector(location.hash);
  if (node) show(node);
}
addEventListener("hashchange", follow);
const measure = () => document.documentElement.style.setProperty("--top", `${bar.offsetHeight + 6}px`);
addEventListener("resize", measure);
measure();
follow();
document.body.dataset.ready = "";
