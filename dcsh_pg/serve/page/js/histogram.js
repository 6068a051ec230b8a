// Bars as SVG; the inputs beside them do the same with the keyboard.

const NAMESPACE = "http://www.w3.org/2000/svg";

/**
 * @param {HTMLElement} place
 * @param {{label: string, count: number, isIn: boolean, pick: () => void}[]} bars
 * @param {string} summary  for screen readers
 */
export function draw(place, bars, summary) {
  const svg = document.createElementNS(NAMESPACE, "svg");
  svg.setAttribute("viewBox", `0 0 ${Math.max(bars.length, 1)} 100`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", summary);
  const most = Math.max(1, ...bars.map((bar) => Math.sqrt(bar.count)));
  bars.forEach((bar, index) => {
    const height = bar.count ? Math.max((100 * Math.sqrt(bar.count)) / most, 3) : 0;
    svg.append(rect(index, 100 - height, height, bar.isIn ? "" : "out"));
    const pick = rect(index, 0, 100, "pick");
    const title = document.createElementNS(NAMESPACE, "title");
    title.textContent = `${bar.label}: ${bar.count.toLocaleString("en")} chips`;
    pick.append(title);
    pick.addEventListener("click", bar.pick);
    svg.append(pick);
  });
  place.replaceChildren(svg);
}

/** @param {number} index @param {number} y @param {number} height @param {string} kind */
function rect(index, y, height, kind) {
  const made = document.createElementNS(NAMESPACE, "rect");
  const all = { x: index + 0.06, y, width: 0.88, height, class: kind };
  for (const [name, value] of Object.entries(all)) made.setAttribute(name, String(value));
  return made;
}
