// Cost and win rate of every model, the concave hull of what mixes can reach, and the budget.

import { svg } from "./dom.js";
import { percent, tickUsd, usd } from "./format.js";
import { place, widthOf } from "./labels.js";

const LEFT = 44, RIGHT = 12, TOP = 14, BOTTOM = 36;

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

// decision: of POST /v1/route, or null where nothing fits the budget; width: in pixels
export function plane(points, budget, decision, width) {
  const scale = scaleOf(points, budget, width);
  const line = hull(points.filter((point) => point.can));
  const mixed = new Set(Object.keys(decision?.mix ?? {}));
  const steps = path(line, scale);
  return svg("svg", { class: "plane", viewBox: `0 0 ${scale.width} ${scale.height}`, role: "img", "aria-label": described(line, budget, decision) },
    ...axes(scale),
    svg("polyline", { class: "hull", points: steps.map(({ x, y }) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" ") }),
    svg("line", { class: "budget", x1: scale.x(budget), x2: scale.x(budget), y1: TOP, y2: scale.height - BOTTOM }),
    svg("text", { class: "tick", x: scale.x(budget), y: TOP - 3, "text-anchor": edge(scale.x(budget), usd(budget), scale) }, usd(budget)),
    ...points.map((point) => dot(point, mixed.has(point.name), scale)),
    ...(decision === null ? [] : [choice(decision, scale)]),
    ...names(points, line, mixed, scale, [...steps, ...along(scale.x(budget), scale), ...ring(decision, scale)]));
}

function scaleOf(points, budget, width) {
  const height = Math.round(Math.min(380, Math.max(280, width * 0.5)));
  const costs = [...points.map((point) => point.cost), budget];
  const wins = points.map((point) => point.win);
  const low = Math.log(Math.min(...costs) / 1.4), high = Math.log(Math.max(...costs) * 1.4);
  const bottom = Math.max(0, Math.min(...wins) - 0.04), top = Math.min(1, Math.max(...wins) + 0.04);
  return {
    low, high, bottom, top, width, height,
    x: (cost) => LEFT + ((Math.log(cost) - low) / (high - low)) * (width - LEFT - RIGHT),
    y: (win) => height - BOTTOM - ((win - bottom) / (top - bottom || 1)) * (height - TOP - BOTTOM),
  };
}

function axes(scale) {
  const nodes = [], { width, height } = scale;
  let last = -Infinity;
  for (let power = Math.ceil(scale.low / Math.LN10); power <= scale.high / Math.LN10; power += 1) {
    const x = scale.x(10 ** power), said = tickUsd(10 ** power);
    nodes.push(svg("line", { class: "axis", x1: x, x2: x, y1: TOP, y2: height - BOTTOM }));
    if (x - widthOf(said) / 2 < last + 8 || x + widthOf(said) / 2 > width) continue;
    last = x + widthOf(said) / 2;
    nodes.push(svg("text", { class: "tick", x, y: height - BOTTOM + 14, "text-anchor": "middle" }, said));
  }
  for (let win = Math.ceil(scale.bottom * 10) / 10; win <= scale.top; win += 0.1) {
    const y = scale.y(win);
    nodes.push(svg("line", { class: "axis", x1: LEFT, x2: width - RIGHT, y1: y, y2: y }));
    nodes.push(svg("text", { class: "tick", x: LEFT - 6, y: y + 4, "text-anchor": "end" }, percent(win, 0)));
  }
  nodes.push(svg("text", { class: "tick", x: width - RIGHT, y: height - 5, "text-anchor": "end" }, "expected cost of the request"));
  return nodes;
}

const edge = (x, said, scale) => (x + widthOf(said) / 2 > scale.width ? "end" : x < LEFT ? "start" : "middle");

const along = (x, scale) => Array.from({ length: Math.ceil(scale.height / 6) }, (_, k) => ({ x, y: k * 6 }));

function ring(decision, scale) {
  if (!(decision?.mix_expected_cost_usd > 0)) return [];
  const x = scale.x(decision.mix_expected_cost_usd), y = scale.y(decision.mix_win_rate);
  return Array.from({ length: 12 }, (_, k) => ({ x: x + 9 * Math.cos(k * Math.PI / 6), y: y + 9 * Math.sin(k * Math.PI / 6) }));
}

function names(points, line, mixed, scale, keepOff) {
  const wanted = [...points].filter((point) => mixed.has(point.name) || line.includes(point) || points.length <= 12);
  wanted.sort((a, b) => mixed.has(b.name) - mixed.has(a.name) || line.includes(b) - line.includes(a));
  const frame = { left: LEFT, top: TOP, right: scale.width, bottom: scale.height - BOTTOM };
  const at = wanted.map((point) => ({ name: point.name, x: scale.x(point.cost), y: scale.y(point.win) }));
  return place(at, frame, keepOff).map((label) => svg("text", { class: "name", x: label.x, y: label.y, "text-anchor": label.anchor }, label.name));
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
      places.push({ x: scale.x(cost), y: scale.y(win) });
    }
  });
  return places;
}

function dot(point, isMixed, scale) {
  return svg("circle", { class: isMixed ? "point mixed" : "point", cx: scale.x(point.cost), cy: scale.y(point.win), r: isMixed ? 5 : 3.5, opacity: point.can ? 1 : 0.35 },
    svg("title", {}, `${point.name}: ${percent(point.win)} at ${usd(point.cost)}`));
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
