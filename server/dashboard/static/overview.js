// What was saved and spent, in all and by day.

import { get } from "./api.js";
import { dayOf, drawDays, lastDays } from "./charts.js";
import { byId } from "./dom.js";
import { count, percent, usd } from "./format.js";

export function startOverview(refresh) {
  byId("overview-form").addEventListener("submit", (event) => event.preventDefault());
  byId("overview-days").addEventListener("change", refresh);
}

export async function refreshOverview() {
  const n = Number(byId("overview-days").value);
  const [saved, spent] = await Promise.all([get(`/admin/savings?days=${n}`), get(`/admin/spend?by=day&days=${n}`)]);
  showSaved(saved, n);
  showSpent(spent, n);
  byId("welcome").hidden = spent.data.length > 0;
  byId("welcome-line").textContent = `curl ${location.origin}/v1/chat/completions -H 'authorization: Bearer YOUR_KEY' \\
  -H 'content-type: application/json' -H 'x-cost-budget: 0.002' \\
  -d '{"model": "p2l", "messages": [{"role": "user", "content": "Hello!"}]}'`;
  await Promise.all([spendChart(spent, n), savedChart(saved, n)]);
}

function showSaved(found, n) {
  if (found.best_model === null || found.requests === 0) {
    byId("saved").textContent = "Nothing to compare yet.";
    byId("saved-how").textContent = "This needs requests that were routed and answered: send some with the model p2l.";
    return;
  }
  const { always_best: always, routed } = found;
  const points = (always.mean_win_rate - routed.mean_win_rate) * 100;
  byId("saved").textContent = `${usd(found.saved_usd)} (${percent(found.saved_share)}) against always using ${found.best_model}`;
  byId("saved-how").textContent =
    `With a win rate that is ${Math.abs(points).toFixed(1)} points ${points < 0 ? "higher" : "lower"}. ` +
    `The last ${count(found.requests)} answered requests of the last ${n} days, both sides as predicted for these prompts: ` +
    `always ${found.best_model} ${usd(always.expected_cost_usd)} at ${percent(always.mean_win_rate)}, ` +
    `as routed ${usd(routed.expected_cost_usd)} at ${percent(routed.mean_win_rate)}. What was really spent: ${usd(found.spent_usd)}.`;
}

function showSpent(found, n) {
  const attempts = found.data.reduce((sum, row) => sum + row.attempts, 0);
  byId("spent").textContent = usd(found.total_usd);
  byId("spent-how").textContent = `In the last ${n} days, for ${count(attempts)} attempts at providers.`;
}

export function showNow(overview) {
  const attempts = overview.providers.reduce((sum, row) => sum + row.attempts, 0);
  const answered = overview.providers.reduce((sum, row) => sum + row.answered, 0);
  byId("now").textContent = `${count(overview.under_way)} in progress`;
  const failing = overview.models.filter((row) => row.resting !== null).map((row) => row.model);
  byId("now-how").textContent =
    (attempts === 0 ? "No attempt in the last hour." : `${percent(answered / attempts)} of ${count(attempts)} attempts answered in the last hour.`) +
    (failing.length === 0 ? "" : ` Resting: ${failing.join(", ")}.`);
}

function spendChart(found, n) {
  const days = lastDays(n), by = new Map(found.data.map((row) => [row.group, row.cost_usd]));
  const values = days.map((day) => by.get(dayOf(day)) ?? 0);
  const most = Math.max(...values);
  const sentence = most === 0 ? "Nothing was spent in this time."
    : `${usd(found.total_usd)} in ${n} days; the most on ${dayOf(days[values.indexOf(most)])}, ${usd(most)}.`;
  return drawDays(byId("spend-chart"), days, [{ label: "Spent", colour: "--blue", bars: true, values }], sentence);
}

function savedChart(found, n) {
  const days = lastDays(n), by = new Map(found.by_day.map((row) => [row.day, row]));
  const of = (name) => days.map((day) => by.get(dayOf(day))?.[name] ?? 0);
  const sentence = found.requests === 0 ? "No routed request in this time."
    : `Expected costs by day: always ${found.best_model} ${usd(found.always_best.expected_cost_usd)} in all, as routed ${usd(found.routed.expected_cost_usd)}.`;
  return drawDays(byId("saved-chart"), days, [
    { label: found.best_model === null ? "Always the best" : `Always ${found.best_model}`, colour: "--orange", values: of("always_usd") },
    { label: "As routed", colour: "--blue", values: of("routed_usd") },
  ], sentence);
}
