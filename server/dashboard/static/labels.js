// Names beside points: none covers another, a point, a line, or leaves the frame; where there is no
// room a name is left out, and its point still says it.

const GAP = 8, LINE = 13;
let ruler;

export function widthOf(text) {
  ruler ??= document.createElement("canvas").getContext("2d");
  ruler.font = "12px system-ui, sans-serif";
  return ruler.measureText(text).width;
}

// points: [{ name, x, y }], the first ones first; frame: { left, top, right, bottom };
// keepOff: [{ x, y }] of lines and marks. Returns [{ name, x, y, anchor }] of those with room.
export function place(points, frame, keepOff) {
  const taken = points.map(({ x, y }) => ({ left: x - 5, right: x + 5, top: y - 5, bottom: y + 5, of: `${x} ${y}` }));
  const found = [];
  for (const point of points) {
    const free = candidates(point).filter(({ box }) => inside(box, frame) && !taken.some((other) => other.of !== `${point.x} ${point.y}` && meet(box, other)));
    const best = free.find(({ box }) => !keepOff.some((dot) => has(box, dot))) ?? free[0];
    if (best === undefined) continue;
    taken.push({ ...best.box, of: point.name });
    found.push({ name: point.name, x: best.x, y: best.y, anchor: best.anchor });
  }
  return found;
}

function candidates({ name, x, y }) {
  const width = widthOf(name), all = [];
  const add = (anchor, left, baseline) => all.push({
    anchor,
    x: anchor === "start" ? left : anchor === "end" ? left + width : left + width / 2,
    y: baseline,
    box: { left, right: left + width, top: baseline - 10, bottom: baseline + 3 },
  });
  add("start", x + GAP, y + 4);
  add("end", x - GAP - width, y + 4);
  add("middle", x - width / 2, y - GAP - 2);
  add("middle", x - width / 2, y + GAP + 10);
  for (const step of [1, 2, 3]) {
    for (const down of [-step * LINE, step * LINE]) {
      add("start", x + GAP, y + 4 + down);
      add("end", x - GAP - width, y + 4 + down);
    }
  }
  return all;
}

const inside = (box, frame) => box.left >= frame.left && box.right <= frame.right && box.top >= frame.top && box.bottom <= frame.bottom;
const meet = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
const has = (box, dot) => box.left <= dot.x && dot.x <= box.right && box.top <= dot.y && dot.y <= box.bottom;
