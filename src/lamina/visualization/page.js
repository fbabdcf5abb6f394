"use strict";

const { sizes, diagram: root } = JSON.parse(document.getElementById("model").textContent);
const [canvas, sizer, stage, details, search, found] =
  ["canvas", "sizer", "stage", "details", "search", "found"].map((id) => document.getElementById(id));
const SVG = "http://www.w3.org/2000/svg";

/* ---- elements ------------------------------------------------------------------------------- */

function element(tag, className, ...content) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...content);
  return made;
}

function vector(tag, attributes, ...content) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...content);
  return made;
}

function place(made, x, y, width, height) {
  Object.assign(made.style, { left: `${x}px`, top: `${y}px`, width: `${width}px`, height: `${height}px` });
}

const every = []; // all boxes, open or not, outer before inner

function enlist(diagram, owner) {
  for (const box of diagram.boxes) {
    box.owner = owner;
    box.home = diagram;
    every.push(box);
    if (box.inside) enlist(box.inside, box);
  }
}

function build(diagram) {
  const svg = vector("svg", { "aria-hidden": "true" });
  for (const wire of diagram.wires) {
    wire.element = vector("path", { class: wire.masked ? "wire masked" : "wire" });
    mark(wire, false);
    svg.append(wire.element);
  }
  diagram.element = element("div", "diagram", svg, ...diagram.boxes.map(buildBox));
  return diagram.element;
}

function mark(wire, on) {
  wire.element.classList.toggle("on", on);
  wire.element.setAttribute("marker-end", `url(#tip${on ? "-on" : wire.masked ? "-masked" : ""})`);
}

function buildBox(box) {
  const chips = box.chips.map((chip) =>
    element("span", chip.startsWith("mask") ? "chip mask" : "chip", chip));
  box.head = element("button", "head",
    element("span", "name", box.name), element("span", "chips", ...chips),
    element("span", "kind", box.kind), element("span", "params", box.params));
  box.head.type = "button";
  box.head.tabIndex = -1;
  box.head.setAttribute("aria-label", [box.name, box.kind, box.params && `${box.params} parameters`,
    ...box.chips, ...box.gives.map((port) => port.shape)].filter(Boolean).join(", "));
  box.head.style.height = `${sizes.head}px`;
  const several = box.reads.some(Boolean);
  box.reading = several ? box.reads.map((call) => element("span", "", `call ${call}`)) : [];
  box.giving = box.gives.map(({ call, shape, dtype, output }) => element("span", "",
    ...(call ? [element("i", "", String(call))] : []), element("b", "", shape), dtype,
    ...(output ? [element("u", "", output)] : [])));
  box.room = element("div", "inside");
  const parts = [box.head, box.room];
  if (several) parts.unshift(row("reads", sizes.calls, box.reading));
  if (box.giving.length) parts.push(row("gives", sizes.ports, box.giving));
  const openable = box.role === "model" && !box.inside ? " shut" : "";
  box.element = element("div", `box ${box.role}${openable}`, ...parts);
  box.element.box = box;
  if (box.inside) box.head.setAttribute("aria-expanded", "false");
  return box.element;
}

function row(className, height, cells) {
  const made = element("div", className, ...cells);
  made.style.height = `${height}px`;
  return made;
}

/* ---- layout ---------------------------------------------------------------------------------

A diagram was laid out with all of its boxes closed. A box that opens stretches the space that it
lies in, just as much as it grows: order, alignment and distances of everything else are kept. */

function stretch(spans) {
  const cuts = [...new Set(spans.flatMap(([from, to]) => [from, to]))].sort((a, b) => a - b);
  const pieces = cuts.slice(1).map((to, i) => {
    const middle = (cuts[i] + to) / 2;
    const growth = spans.filter((s) => s[0] < middle && middle < s[1]).map((s) => s[2] / (s[1] - s[0]));
    return [cuts[i], to, Math.max(0, ...growth)];
  });
  return (v) => pieces.reduce(
    (sum, [from, to, growth]) => sum + growth * Math.max(0, Math.min(v, to) - from), v);
}

function measure(diagram) {
  const across = [], down = [];
  for (const box of diagram.boxes) {
    box.width = box.w;
    box.height = box.h;
    if (box.open) {
      measure(box.inside);
      box.width = Math.max(box.w, box.inside.width);
      box.height += box.inside.height;
      across.push([box.x - box.w / 2, box.x + box.w / 2, box.width - box.w]);
      down.push([box.y - box.h / 2, box.y + box.h / 2, box.height - box.h]);
    }
  }
  diagram.across = stretch(across);
  diagram.down = stretch(down);
  diagram.width = diagram.across(diagram.w);
  diagram.height = diagram.down(diagram.h);
}

function arrange(diagram) {
  place(diagram.element, 0, 0, diagram.width, diagram.height);
  for (const box of diagram.boxes) {
    box.left = diagram.across(box.x) - box.width / 2;
    box.top = diagram.down(box.y) - box.height / 2;
    place(box.element, box.left, box.top, box.width, box.height);
    box.element.classList.toggle("open", Boolean(box.open));
    if (box.open) {
      arrange(box.inside);
      box.inside.left = (box.width - box.inside.width) / 2;
      place(box.inside.element, box.inside.left, 0, box.inside.width, box.inside.height);
    }
    for (const cells of [box.reading, box.giving]) {
      const width = box.open ? box.inside.cell : box.width / cells.length;
      cells.forEach((cell, i) => {
        const middle = cells === box.giving ? exit(box, i) : entry(box, i);
        place(cell, middle - width / 2, 0, width, cells === box.giving ? sizes.ports - 1 : sizes.calls);
      });
    }
  }
  for (const { start: [from, out], stop: [to, into], curve, element: path } of diagram.wires) {
    const giver = diagram.boxes[from], reader = diagram.boxes[to];
    const start = giver ? [giver.left + exit(giver, out), giver.top + giver.height]
      : [diagram.across(diagram.top[out]), 0];
    const stop = reader ? [reader.left + entry(reader, into), reader.top]
      : [diagram.across(diagram.bottom[into]), diagram.height];
    // The middle, where nothing was stretched, between two boxes that are neighbours.
    const middle = ((giver ? giver.y + giver.h / 2 : 0) + (reader ? reader.y - reader.h / 2 : diagram.h)) / 2;
    path.setAttribute("d", curve.length ? long(diagram, curve, start, stop, from === to)
      : short(start, stop, diagram.down(middle)));
  }
}

/* Where a port is, from its box's left side. */
function entry(box, i) {
  return box.open ? box.inside.left + box.inside.across(box.inside.top[i])
    : (box.width * (i + 0.5)) / box.reads.length;
}

function exit(box, i) {
  return box.open ? box.inside.left + box.inside.across(box.inside.bottom[i])
    : (box.width * (i + 0.5)) / box.gives.length;
}

const text = ([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`;

/* Down to the gap between two rows, across in it, and straight down for an arrow's length. */
function short([x0, y0], [x1, y1], middle) {
  const above = Math.max(y0, middle - sizes.gap / 2), below = Math.min(y1 - 9, middle + sizes.gap / 2);
  return `M${text([x0, y0])}V${above.toFixed(1)}C${text([x0, middle])} ${text([x1, middle])} `
    + `${text([x1, below])}V${y1.toFixed(1)}`;
}

/* The wire that was laid out, stretched; near its ends it bends to where the ports are now. A loop
from a box to itself keeps its form and moves with the box. */
function long(diagram, points, start, stop, loop) {
  const moved = points.map(([x, y]) => loop
    ? [x - points[0][0] + start[0], y - points[0][1] + start[1]]
    : [diagram.across(x), diagram.down(y)]);
  for (const [end, port] of [[0, start], [points.length - 1, stop]]) {
    const [dx, dy] = [port[0] - moved[end][0], port[1] - moved[end][1]];
    points.forEach(([, y], i) => {
      const near = Math.max(0, 1 - Math.abs(y - points[end][1]) / sizes.gap);
      moved[i][0] += dx * near * near * (3 - 2 * near);
      moved[i][1] += dy * (i === end);
    });
  }
  const middles = moved.slice(1, -1).map(([x, y], i) =>
    `Q${text([x, y])} ${text([(x + moved[i + 2][0]) / 2, (y + moved[i + 2][1]) / 2])}`);
  return `M${text(moved[0])}${middles.join("")}L${text(moved.at(-1))}`;
}

let zoom = 1;

function render() {
  measure(root);
  arrange(root);
  resize(zoom);
}

function resize(to) {
  zoom = Math.min(2, Math.max(0.1, to));
  stage.style.transform = `scale(${zoom})`;
  place(sizer, 0, 0, root.width * zoom, root.height * zoom);
}

/* ---- opening, choosing, finding ------------------------------------------------------------- */

function setOpen(box, open) {
  box.open = open;
  if (open && !box.inside.element) box.room.append(build(box.inside));
  box.room.hidden = !open;
  box.head.setAttribute("aria-expanded", String(open));
}

function toggle(box) {
  const before = box.head.getBoundingClientRect();
  setOpen(box, !box.open);
  render();
  const after = box.head.getBoundingClientRect(); // what was under the pointer stays there
  canvas.scrollBy(after.left - before.left, after.top - before.top);
}

let chosen = null;

function choose(box) {
  if (chosen) {
    chosen.element.classList.remove("chosen");
    chosen.head.tabIndex = -1;
  }
  chosen = box;
  box.element.classList.add("chosen");
  box.head.tabIndex = 0; // the Tab key stops at one box; the arrow keys lead to the others
  show(box);
}

function wiresOf(box) {
  const i = box.home.boxes.indexOf(box);
  return box.home.wires.filter((wire) => wire.start[0] === i || wire.stop[0] === i);
}

function reveal(box) {
  const closed = [];
  for (let outer = box.owner; outer; outer = outer.owner) if (!outer.open) closed.unshift(outer);
  closed.forEach((outer) => setOpen(outer, true));
  if (closed.length) render();
  choose(box);
  box.head.scrollIntoView({ block: "center", inline: "center" });
}

let hits = [], current = 0;

function find() {
  hits.forEach((box) => box.element?.classList.remove("hit"));
  const wanted = search.value.trim().toLowerCase();
  hits = wanted ? every.filter((box) => `${box.path} ${box.kind}`.toLowerCase().includes(wanted)) : [];
  current = 0;
  if (hits.length) step(0);
  else found.value = wanted ? "none" : "";
}

function step(by) {
  if (!hits.length) return;
  current = (current + by + hits.length) % hits.length;
  reveal(hits[current]);
  hits.forEach((box) => box.element?.classList.add("hit"));
  found.value = `${current + 1} of ${hits.length}`;
}

/* ---- details -------------------------------------------------------------------------------- */

let shown = null;

function show(box) {
  if (shown === box) return;
  if (shown) wiresOf(shown).forEach((wire) => mark(wire, false));
  wiresOf(box).forEach((wire) => mark(wire, true));
  shown = box;
  const list = element("dl", "");
  for (const [term, text] of box.facts) list.append(element("dt", "", term), element("dd", "", text));
  details.replaceChildren(element("h2", "", box.name), list);
  box.calls.forEach(({ reads, gives }, i) => {
    const title = box.calls.length > 1 ? `Call ${i + 1}` : "Tensors";
    details.append(element("h3", "", title), element("ul", "",
      ...reads.map((port) => tensor("in", port)), ...gives.map((port) => tensor("out", port))));
  });
  if (box.weights.length) {
    const weights = element("ul", "weights", ...box.weights.map(({ name, text, trains, split }) =>
      element("li", "", element("code", "", `${name} ${text}`),
        ...(split ? [element("small", "", `split ${split}`)] : []),
        ...(trains ? [] : [element("small", "", "not trained")]))));
    details.append(element("h3", "", "Weights"), weights);
  }
}

function tensor(side, { text, masked, from }) {
  const item = element("div", "", element("code", "", text));
  if (masked) item.append(element("em", "", " masked"));
  if (from) item.append(element("small", "", `from ${from}`));
  return element("li", "", element("span", "", side), item);
}

/* ---- input ---------------------------------------------------------------------------------- */

const boxOf = (event) => event.target.closest(".box")?.box;

stage.addEventListener("click", (event) => {
  const box = boxOf(event);
  if (!box) return;
  choose(box);
  if (box.inside && event.target.closest(".head")) toggle(box);
});
stage.addEventListener("focusin", (event) => choose(boxOf(event)));
canvas.addEventListener("pointerover", (event) => show(boxOf(event) ?? chosen));
canvas.addEventListener("pointerleave", () => show(chosen));

/* The arrow keys go to the nearest box in their direction. */
stage.addEventListener("keydown", (event) => {
  const [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] ?? [0, 0];
  const here = boxOf(event);
  if (!here || (!dx && !dy)) return;
  event.preventDefault();
  const middle = (box) => {
    const { left, top, width, height } = box.head.getBoundingClientRect();
    return [left + width / 2, top + height / 2];
  };
  const [x, y] = middle(here);
  let nearest = null, least = Infinity;
  for (const box of every) {
    if (box === here || !box.head?.offsetParent) continue;
    const [bx, by] = middle(box);
    const ahead = (bx - x) * dx + (by - y) * dy;
    const aside = Math.abs((bx - x) * dy) + Math.abs((by - y) * dx);
    if (ahead > 1 && ahead + 2 * aside < least) [nearest, least] = [box, ahead + 2 * aside];
  }
  nearest?.head.focus();
});

search.addEventListener("input", find);
search.addEventListener("keydown", (event) => {
  if (event.key === "Enter") step(event.shiftKey ? -1 : 1);
  if (event.key !== "Escape") return;
  search.value = "";
  find();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && event.target !== search) {
    event.preventDefault();
    search.focus();
  }
});

function setAll(open) {
  every.filter((box) => box.inside).forEach((box) => setOpen(box, open));
  render();
}
document.getElementById("open").addEventListener("click", () => setAll(true));
document.getElementById("close").addEventListener("click", () => setAll(false));
document.getElementById("smaller").addEventListener("click", () => resize(zoom / 1.25));
document.getElementById("larger").addEventListener("click", () => resize(zoom * 1.25));
document.getElementById("fit").addEventListener("click", () => resize(
  Math.min(1, (canvas.clientWidth - 16) / root.width, (canvas.clientHeight - 16) / root.height)));

/* ---- start ---------------------------------------------------------------------------------- */

enlist(root, null);
const tip = (id) => vector("marker", {
  id, viewBox: "0 0 8 8", refX: 7.5, refY: 4, markerWidth: 8, markerHeight: 8,
  markerUnits: "userSpaceOnUse", orient: "auto",
}, vector("path", { d: "M0 0.8L8 4L0 7.2Z" }));
document.body.append(vector("svg", { width: 0, height: 0, "aria-hidden": "true" },
  tip("tip"), tip("tip-masked"), tip("tip-on")));
stage.append(build(root));
document.getElementById("nested").hidden = !every.some((box) => box.inside);
document.getElementById("legend").hidden = !every.some((box) => box.chips.some((c) => c.startsWith("mask")));
render();
choose(root.boxes[0]);
canvas.scrollLeft = (canvas.scrollWidth - canvas.clientWidth) / 2;
