// What sessions did and cost, and what is left of their money.

import { get } from "./api.js";
import { byId, el, put, table } from "./dom.js";
import { count, minute, percent, usd } from "./format.js";

export function startSessions(refresh) {
  byId("sessions-form").addEventListener("submit", (event) => event.preventDefault());
  byId("sessions-days").addEventListener("change", refresh);
}

export async function refreshSessions() {
  const { data } = await get(`/admin/sessions?limit=50&days=${byId("sessions-days").value}`);
  put(byId("sessions-table"), table("The last 50, by a hash of their names", [
    ["Session", (row) => el("code", { title: row.session }, row.session.slice(0, 8))],
    ["Key", (row) => row.key],
    ["Last request", (row) => minute(row.last_at)],
    ["Requests", (row) => count(row.requests) + (row.under_way > 0 ? ` (${row.under_way} under way)` : ""), "number"],
    ["Models", models],
    ["Model changes", (row) => count(row.model_changes), "number"],
    ["Cost", (row) => usd(row.cost_usd), "number"],
    ["From cache", (row) => percent(row.cached_share), "number"],
    ["Left", left, "number"],
  ], data, "No session in this time. A request belongs to one by the header x-session-id, or by x-session-budget."));
}

const models = (row) =>
  Object.entries(row.models).map(([name, n]) => `${name} (${count(n)})`).join(", ") || "–";

function left(row) {
  if (row.budget_usd === null) return "no budget";
  const said = `${usd(row.left_usd)} of ${usd(row.budget_usd)}`;
  return el("span", { class: row.left_usd === 0 ? "bad" : null }, said);
}
