// Spend by group, and what is left of the windows.

import { get } from "./api.js";
import { byId, el, put, table } from "./dom.js";
import { count, percent, span, usd } from "./format.js";

export function startSpend(refresh) {
  byId("spend-form").addEventListener("submit", (event) => event.preventDefault());
  byId("spend-by").addEventListener("change", refresh);
  byId("spend-days").addEventListener("change", refresh);
}

export async function refreshSpend() {
  const by = byId("spend-by").value;
  const { data, adjustments_usd: adjusted, total_usd: total, note } = await get(`/admin/spend?by=${by}&days=${byId("spend-days").value}`);
  const rows = by === "day" ? [...data].sort((a, b) => (a.group < b.group ? 1 : -1)) : data;
  put(byId("spend-table"), table(`${usd(total)} in all${adjusted === 0 ? "" : `, of which corrected by reconciliation: ${usd(adjusted)}`}${note === undefined ? "" : `; ${note}`}`, [
    [by, (row) => row.group],
    ["USD", (row) => usd(row.cost_usd), "number"],
    ["Share", (row) => percent(total === 0 ? null : row.cost_usd / total), "number"],
    ["of which estimated", (row) => usd(row.estimated_usd), "number"],
    ["Attempts", (row) => count(row.attempts), "number"],
    ["Tokens", (row) => count(row.tokens), "number"],
  ], rows, "Nothing was spent in this time."));
}

export function showWindows(windows) {
  const bars = windows.map((window) => {
    const whose = window.key === null ? "all keys together" : `key ${window.key}`;
    const said = `${whose}: ${usd(window.spent_usd)} of ${usd(window.amount_usd)} ${span(window.window_s)}`;
    return el("li", {}, said,
      el("progress", { value: Math.min(window.spent_usd, window.amount_usd), max: window.amount_usd || 1, "aria-label": said }));
  });
  put(byId("windows"), ...(bars.length > 0 ? bars : [el("li", { class: "hint" }, "None yet. A budget of a key makes one (below), or routing.window_budgets in the configuration.")]));
}
