"use strict";
// Says of a table or plot that is wider than its place that there is more to the right.

const sizes = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const box = target.closest(".scroll");
    box.classList.toggle("more", box.scrollWidth > box.clientWidth + 2);
  }
});
for (const box of document.querySelectorAll(".scroll")) {
  sizes.observe(box);
  for (const inner of box.children) sizes.observe(inner);
}
