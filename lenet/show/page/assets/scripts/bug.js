"use strict";
// What a bug looks like: the loop of loop.js with one bug, run in the page on the chosen digit and judged.

function drawBug() {
  if (!values) return;
  const digit = DATA.digits[state.digit], bug = BUGS[state.bug], told = $("#bug-told");
  const found = run(imageOf(pixelsOf(digit)), bug);
  drawStations($("#planted"), pixelsOf(digit), found, state.digit, true);
  const worst = DATA.layers.map((layer) => largest(shares(found[layer.name], layer)));
  const first = worst.findIndex((share) => share > 1), answer = found.logits.indexOf(Math.max(...found.logits));
  const judged = first < 0
    ? `Every layer is within the bound: at most ${ratioText(largest(worst))} of it. The same function.`
    : `A different function. The first layer above its bound is ${DATA.layers[first].name}: ` +
      (worst[first] === Infinity ? "it has an error where nothing is rounded."
        : `${ratioText(worst[first])} times the most that rounding can do.`);
  const same = answer === digit.answer;
  const about = first < 0 ? "" : same
    ? " A test that counts right answers does not see the bug on this digit."
    : ` Without the bug it is ${digit.answer}.`;
  told.textContent = `${judged} The answer is ${answer}.${about}`;
  told.className = first < 0 ? "good" : "bad";
  told.dataset.first = first < 0 ? "" : DATA.layers[first].name;
}
