// Cost and win rate of every model, the concave hull of what mixes can reach, and the budget.

import { svg } from "./dom.js";
import { percent, usd } from "./format.js";

const WIDTH = 640, HEIGHT = 340, LEFT = 48, RIGHT = 14, TOP = 12, BOTTOM = 34;

// Upper concave envelope from the cheapest point to the best one; the mean of a mix lies on it.
export function hull(points) {
  const sorted = [...points].sort((a, b) => a.cost - b.cost || b.win - a.win);
  const kept = [];
  for (const point of sorted) {
    if (kept.length > 0 && point.win <= kept.at(-1).win) continue;
    while (kept.length > 1 && slope(kept.at(-2), point) >= slope(kept.at(-2), kept.at(-1))) kept.pop();
    kept.push(point);
  }
  return kept;
}

const slope = (a, b) => (b.win - a.win) / (b.cost - a.cost);

export function pointsOf(alternatives) {
  return alternatives
    .filter((row) => row.expected_cost_usd > 0 && row.win_rate !== null)
    .map((row) => ({ name: row.model, cost: row.expected_cost_usd, win: row.win_rate, can: row.eligible }));
}

// decision: of POST /v1/route, or null where nothing fits the budget
export function plane(points, budget, decision) {
  const scale = scaleOf(points, budget);
  const line = hull(points.filter((point) => point.can));
  const mixed = new Set(Object.keys(decision?.mix ?? {}));
  const labels = [];
  return svg("svg", { class: "plane", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": described(line, budget, decision) },
    ...axes(scale),
    svg("path", { class: "hull", d: path(line, scale) }),
    ...points.flatMap((point) => dot(point, mixed.has(point.name), line.includes(point), scale, labels)),
    svg("line", { class: "budget", x1: scale.x(budget), x2: scale.x(budget), y1: TOP, y2: HEIGHT - BOTTOM }),
    svg("text", { x: Math.min(scale.x(budget) + 4, WIDTH - 70), y: TOP + 10 }, usd(budget)),
    ...(decision === null ? [] : [choice(decision, scale)]));
}

function scaleOf(points, budget) {
  const costs = [...points.map((point) => point.cost), budget];
  const wins = points.map((point) => point.win);
  const low = Math.log(Math.min(...costs) / 1.4), high = Math.log(Math.max(...costs) * 1.4);
  const bottom = Math.max(0, Math.min(...wins) - 0.04), top = Math.min(1, Math.max(...wins) + 0.04);
  return {
    low, high, bottom, top,
    x: (cost) => LEFT + ((Math.log(cost) - low) / (high - low)) * (WIDTH - LEFT - RIGHT),
    y: (win) => HEIGHT - BOTTOM - ((win - bottom) / (top - bottom || 1)) * (HEIGHT - TOP - BOTTOM),
  };
}

function axes(scale) {
  const nodes = [];
  for (let power = Math.ceil(scale.low / Math.LN10); power <= scale.high / Math.LN10; power += 1) {
    const x = scale.x(10 ** power);
    nodes.push(svg("line", { class: "axis", x1: x, x2: x, y1: TOP, y2: HEIGHT - BOTTOM }));
    nodes.push(svg("text", { x, y: HEIGHT - BOTTOM + 14, "text-anchor": "middle" }, usd(10 ** power)));
  }
  for (let win = Math.ceil(scale.bottom * 10) / 10; win <= scale.top; win += 0.1) {
    const y = scale.y(win);
    nodes.push(svg("line", { class: "axis", x1: LEFT, x2: WIDTH - RIGHT, y1: y, y2: y }));
    nodes.push(svg("text", { x: LEFT - 6, y: y + 4, "text-anchor": "end" }, percent(win, 0)));
  }
  nodes.push(svg("text", { x: WIDTH - RIGHT, y: HEIGHT - 4, "text-anchor": "end" }, "expected cost of the request (logarithmic)"));
  return nodes;
}

// Between two corners means are straight in cost, and so bent on a logarithmic axis.
function path(line, scale) {
  const steps = 24, places = [];
  line.forEach((from, k) => {
    const to = line[k + 1];
    for (let i = 0; i < (to === undefined ? 1 : steps); i += 1) {
      const t = i / steps;
      const cost = to === undefined ? from.cost : from.cost + t * (to.cost - from.cost);
      const win = to === undefined ? from.win : from.win + t * (to.win - from.win);
      places.push(`${scale.x(cost).toFixed(1)},${scale.y(win).toFixed(1)}`);
    }
  });
  return places.length === 0 ? "" : `M${places.join("L")}`;
}

function dot(point, isMixed, isNamed, scale, labels) {
  const x = scale.x(point.cost), y = scale.y(point.win);
  const circle = svg("circle", { class: isMixed ? "point mixed" : "point", cx: x, cy: y, r: isMixed ? 5 : 3.5, opacity: point.can ? 1 : 0.35 },
    svg("title", {}, `${point.name}: ${percent(point.win)} at ${usd(point.cost)}`));
  return isNamed || isMixed ? [circle, label(point.name, x, y, labels)] : [circle];
}

// Below its point; lower still where another name is in the way.
function label(name, x, y, labels) {
  const right = x > WIDTH * 0.75, width = 6.2 * name.length;
  const left = right ? x - 8 - width : x + 8;
  let place = y + 14;
  while (labels.some((one) => Math.abs(one.y - place) < 12 && one.left < left + width && left < one.left + one.width)) place += 12;
  labels.push({ left, width, y: place });
  return svg("text", { class: "name", x: right ? x - 8 : x + 8, y: place, "text-anchor": right ? "end" : "start" }, name);
}

function choice(decision, scale) {
  const cost = decision.mix_expected_cost_usd;
  if (!(cost > 0)) return svg("g");
  return svg("circle", { class: "choice", cx: scale.x(cost), cy: scale.y(decision.mix_win_rate), r: 9 },
    svg("title", {}, `the mix: ${percent(decision.mix_win_rate)} at ${usd(cost)}`));
}

function described(line, budget, decision) {
  const corners = line.map((point) => `${point.name} ${percent(point.win)} at ${usd(point.cost)}`);
  const mix = decision === null ? "no model fits the budget" : `the mix wins ${percent(decision.mix_win_rate)} at ${usd(decision.mix_expected_cost_usd)}`;
  return `Corners of the hull: ${corners.join("; ")}. At a budget of ${usd(budget)}, ${mix}.`;
}
