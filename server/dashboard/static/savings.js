// Against always asking the best model.

import { get } from "./api.js";
import { byId } from "./dom.js";
import { count, percent, usd } from "./format.js";

export async function refreshSavings() {
  const found = await get("/admin/savings?days=30");
  if (found.best_model === null || found.requests === 0) {
    byId("saved").textContent = "Nothing to compare yet.";
    byId("saved-how").textContent = "This needs requests that were routed and answered.";
    return;
  }
  const { always_best: always, routed } = found;
  const points = (always.mean_win_rate - routed.mean_win_rate) * 100;
  byId("saved").textContent =
    `${usd(found.saved_usd)} (${percent(found.saved_share)}) against always using ${found.best_model}, ` +
    `with a win rate that is ${Math.abs(points).toFixed(1)} points ${points < 0 ? "higher" : "lower"}`;
  byId("saved-how").textContent =
    `The last ${count(found.requests)} answered requests of the last 30 days, both sides as predicted for these prompts: ` +
    `always ${found.best_model} ${usd(always.expected_cost_usd)} at ${percent(always.mean_win_rate)}, ` +
    `as routed ${usd(routed.expected_cost_usd)} at ${percent(routed.mean_win_rate)}. What was really spent: ${usd(found.spent_usd)}.`;
}
