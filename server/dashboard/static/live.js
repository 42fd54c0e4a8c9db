// The latest attempts at providers.

import { get } from "./api.js";
import { byId, el, put, table } from "./dom.js";
import { clock, count, duration, usd } from "./format.js";
import { receiptButton } from "./receipts.js";

let paused = false;

export function startLive() {
  const button = byId("pause");
  button.addEventListener("click", () => {
    paused = !paused;
    button.setAttribute("aria-pressed", String(paused));
  });
}

export async function refreshLive() {
  if (paused) return;
  const { data } = await get("/admin/requests?limit=50");
  put(byId("live-table"), table("The last 50", [
    ["Time", (row) => clock(row.started_at)],
    ["Outcome", outcome],
    ["Model", (row) => (row.attempt > 1 ? `${row.model} (attempt ${row.attempt})` : row.model)],
    ["Provider", (row) => row.provider],
    ["Key", (row) => row.key],
    ["Cost", cost, "number"],
    ["Expected", (row) => usd(row.expected_cost_usd), "number"],
    ["Budget", budget, "number"],
    ["Latency", (row) => duration(row.latency_ms), "number"],
    ["Tokens in / out", (row) => `${count(row.prompt_tokens)} / ${count(row.completion_tokens)}`, "number"],
    ["Receipt", (row) => (row.routed ? receiptButton(row.request_id) : "by name")],
  ], data, "No request has come yet."));
}

function outcome(row) {
  const kind = row.outcome === "answered" ? "good" : row.outcome === "open" ? null : "bad";
  return el("span", { class: kind }, row.outcome === "open" ? "in progress" : row.outcome.replace("_", " "));
}

const cost = (row) => usd(row.cost_usd) + (row.cost_source === "estimate" ? " (estimate)" : "");

const budget = (row) => (row.budget_usd === null ? "none" : `${usd(row.budget_usd)} ${row.budget_mode}`);
