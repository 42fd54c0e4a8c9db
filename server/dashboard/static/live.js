// The latest attempts at providers.

import { get } from "./api.js";
import { byId, el, put, table } from "./dom.js";
import { clock, count, duration, usd } from "./format.js";
import { receiptButton } from "./receipts.js";

const OUTCOMES = ["open", "answered", "unavailable", "rejected", "cancelled"];
let paused = false;

export function startLive(refresh) {
  const button = byId("pause");
  button.addEventListener("click", () => {
    paused = !paused;
    button.setAttribute("aria-pressed", String(paused));
    button.textContent = paused ? "Go on" : "Pause";
    if (!paused) refresh();
  });
  byId("live-form").addEventListener("submit", (event) => event.preventDefault());
  for (const outcome of OUTCOMES) offer("live-outcome", outcome, outcome === "open" ? "in progress" : outcome);
  for (const id of ["live-key", "live-model", "live-outcome", "live-rows"]) byId(id).addEventListener("change", refresh);
}

// What can be chosen grows with what is seen, and never loses what is chosen.
function offer(id, value, said = value) {
  const select = byId(id);
  if (![...select.options].some((option) => option.value === value)) select.append(el("option", { value }, said));
}

export function showChoices(overview) {
  for (const row of overview.models) offer("live-model", row.model);
  for (const row of overview.windows) if (row.key !== null) offer("live-key", row.key);
}

export async function refreshLive() {
  if (paused) return;
  const query = new URLSearchParams({ limit: byId("live-rows").value });
  for (const name of ["key", "model", "outcome"]) if (byId(`live-${name}`).value !== "") query.set(name, byId(`live-${name}`).value);
  const { data } = await get(`/admin/requests?${query}`);
  for (const row of data) {
    offer("live-key", row.key);
    offer("live-model", row.model);
    offer("live-outcome", row.outcome, row.outcome.replace("_", " "));
  }
  put(byId("live-table"), table("The latest", [
    ["Time", (row) => clock(row.started_at)],
    ["Receipt", (row) => (row.routed ? receiptButton(row.request_id) : "by name")],
    ["Outcome", outcome],
    ["Model", (row) => (row.attempt > 1 ? `${row.model} (attempt ${row.attempt})` : row.model)],
    ["Key", (row) => row.key],
    ["Cost", cost, "number"],
    ["Expected", (row) => usd(row.expected_cost_usd), "number"],
    ["Budget", budget, "number"],
    ["Latency", (row) => duration(row.latency_ms), "number"],
    ["Tokens in / out", (row) => `${count(row.prompt_tokens)} / ${count(row.completion_tokens)}`, "number"],
    ["Provider", (row) => row.provider],
  ], data, query.size > 1 ? "No request is like that." : "No request has come yet. The overview says how to send one."));
}

function outcome(row) {
  const kind = row.outcome === "answered" ? "good" : row.outcome === "open" ? null : "bad";
  return el("span", { class: kind }, row.outcome === "open" ? "in progress" : row.outcome.replace("_", " "));
}

const cost = (row) => usd(row.cost_usd) + (row.cost_source === "estimate" ? " (estimate)" : "");

const budget = (row) => (row.budget_usd === null ? "none" : `${usd(row.budget_usd)} ${row.budget_mode}`);
