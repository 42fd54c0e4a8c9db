// What can be asked just now, and why the rest cannot.

import { byId, el, put, table } from "./dom.js";
import { count, duration, percent, usd } from "./format.js";

export function showHealth(overview) {
  put(byId("providers"), table("Providers, in the last hour", [
    ["Provider", (row) => row.provider],
    ["Breaker", (row) => breaker(row.breaker)],
    ["Attempts", (row) => count(row.attempts), "number"],
    ["Answered", (row) => percent(row.attempts === 0 ? null : row.answered / row.attempts), "number"],
    ["Failed", (row) => count(row.failed), "number"],
    ["Mean latency", (row) => duration(row.mean_latency_ms), "number"],
  ], overview.providers, "No provider is configured: write one under providers in the configuration, or run p2l-router init."));
  put(byId("health-models"), table("Models just now", [
    ["Model", (row) => row.model],
    ["Provider", (row) => row.provider],
    ["Breaker", (row) => breaker(row.breaker)],
    ["Just now", now, "wide"],
    ["In / Mtok", (row) => usd(row.input_usd_per_mtok), "number"],
    ["Out / Mtok", (row) => usd(row.output_usd_per_mtok), "number"],
  ], overview.models, "No model is configured."));
}

const breaker = (state) =>
  el("span", { class: state === "closed" ? "good" : "bad" },
    { closed: "closed (working)", open: "open (resting)", half_open: "half open (being tested)" }[state] ?? state);

function now(row) {
  if (row.resting !== null) return `resting for ${Math.ceil(row.wait_s)} s: ${row.resting}`;
  return row.routed ? "routed" : "used only when asked for by name: the leaderboard does not know it";
}
