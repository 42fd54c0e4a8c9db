// Charts over days by uPlot, which is loaded when the first one is drawn. Each says in a sentence
// what it shows, and has its numbers in a table.

import { el, table } from "./dom.js";
import { tickUsd, usd } from "./format.js";

const HEIGHT = 220, DAY_S = 86400;
const drawn = new Map();
let loading;

function library() {
  loading ??= new Promise((done, failed) => {
    document.head.append(el("link", { rel: "stylesheet", href: "/dashboard/uplot.min.css" }));
    document.head.append(el("script", {
      src: "/dashboard/uplot.min.js",
      onload: () => done(window.uPlot),
      onerror: () => failed(new Error("the charts could not be loaded")),
    }));
  });
  return loading;
}

// The last n days, ending today, as seconds since 1970 at midnight UTC.
export function lastDays(n) {
  const today = Math.floor(Date.now() / 1000 / DAY_S) * DAY_S;
  return Array.from({ length: n }, (_, k) => today - (n - 1 - k) * DAY_S);
}

export const dayOf = (seconds) => new Date(seconds * 1000).toISOString().slice(0, 10);

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// series: [{ label, colour: "--blue", bars, values: by day }]
export async function drawDays(place, days, series, sentence) {
  if (series.every((one) => one.values.every((value) => value === 0))) {
    drawn.get(place)?.stop();
    drawn.delete(place);
    place.replaceChildren(el("p", { class: "hint" }, sentence));
    return;
  }
  const uPlot = await library();
  const key = JSON.stringify([days, series, colour("--text")]);
  const known = drawn.get(place);
  if (known?.key === key) return;
  known?.stop();
  const canvas = el("div", { role: "img", "aria-label": sentence });
  const numbers = el("details", {}, el("summary", {}, "The numbers"),
    table(sentence, [
      ["Day", (row) => dayOf(row.day)],
      ...series.map((one, k) => [one.label, (row) => usd(row.values[k]), "number"]),
    ], days.map((day, k) => ({ day, values: series.map((one) => one.values[k]) })).reverse(), "No days."));
  place.replaceChildren(canvas, el("p", { class: "hint" }, sentence), numbers);
  const plot = new uPlot(options(uPlot, canvas, series), [days, ...series.map((one) => one.values)], canvas);
  const watcher = new ResizeObserver(() => {
    if (canvas.clientWidth > 0) plot.setSize({ width: canvas.clientWidth, height: HEIGHT });
  });
  watcher.observe(canvas);
  drawn.set(place, { key, stop: () => { watcher.disconnect(); plot.destroy(); } });
}

function options(uPlot, canvas, series) {
  const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
  return {
    width: Math.max(canvas.clientWidth, 200),
    height: HEIGHT,
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
    cursor: { y: false },
    scales: { x: { time: true, range: (_, low, high) => [low - DAY_S / 2, high + DAY_S / 2] }, y: { range: (_, low, high) => [0, high > 0 ? high * 1.1 : 1] } },
    axes: [{ ...axis, values: (_, ticks) => ticks.map((tick) => dayOf(tick).slice(5)), space: 56, size: 32 }, { ...axis, size: 72, values: (_, ticks) => ticks.map(tickUsd) }],
    series: [
      { label: "Day", value: (_, seconds) => (seconds === null ? "–" : dayOf(seconds)) },
      ...series.map((one) => ({
        label: one.label,
        stroke: colour(one.colour),
        fill: one.bars ? colour(one.colour) : undefined,
        width: 2,
        points: { show: !one.bars, size: 6 },
        paths: one.bars ? uPlot.paths.bars({ size: [0.7, 40] }) : undefined,
        value: (_, amount) => usd(amount),
      })),
    ],
  };
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawn.forEach((one) => { one.key = ""; }));
