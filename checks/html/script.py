"""The page's only script: which entry a cell of a heat map is, by mouse, finger or arrow keys. Without it the page says the worst ones."""

SCRIPT = """
"use strict";
for (const figure of document.querySelectorAll("figure.heat")) {
  const data = JSON.parse(figure.querySelector("script").textContent);
  const svg = figure.querySelector("svg"), output = figure.querySelector("output");
  const words = data.words.split("|"), expected = data.expected.split(","), got = data.got.split(","), units = data.units.split(",");
  const columns = data.across.length - 1, rows = data.down.length - 1;
  const cursor = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  cursor.setAttribute("class", "p-cursor");
  cursor.style.display = "none";
  svg.append(cursor);
  svg.setAttribute("tabindex", "0");
  svg.setAttribute("role", "application");
  svg.setAttribute("aria-roledescription", "heat map, arrow keys move from cell to cell");
  svg.setAttribute("aria-describedby", output.id);
  let at = data.worst;
  const show = () => {
    const column = at % columns, row = (at - column) / columns;
    const [x, y] = [data.across[column], data.down[row]];
    const sizes = {x, y, width: data.across[column + 1] - x, height: data.down[row + 1] - y};
    for (const [name, value] of Object.entries(sizes)) cursor.setAttribute(name, value);
    cursor.style.display = "";
    const inside = words[at] === "" ? "" : "[" + words[at] + "]";
    output.textContent = `${data.name}${inside}: expected ${expected[at]}, got ${got[at]} (${units[at]} × what rounding allows)`;
  };
  const hide = () => { if (document.activeElement !== svg) cursor.style.display = "none"; };
  const cell = (edges, place) => edges.findIndex((edge, k) => edge <= place && place < edges[k + 1]);
  svg.addEventListener("pointermove", event => point(event));
  svg.addEventListener("pointerdown", event => point(event));
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("focus", show);
  svg.addEventListener("blur", hide);
  const point = event => {
    const place = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    const column = cell(data.across, place.x), row = cell(data.down, place.y);
    if (column < 0 || row < 0) return;
    at = row * columns + column;
    show();
  };
  const steps = {ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0]};
  svg.addEventListener("keydown", event => {
    const column = at % columns, row = (at - column) / columns;
    if (event.key === "Home") at = data.worst;
    else if (event.key in steps) {
      const [down, across] = steps[event.key];
      at = Math.min(rows - 1, Math.max(0, row + down)) * columns + Math.min(columns - 1, Math.max(0, column + across));
    } else return;
    event.preventDefault();
    show();
  });
}
"""
