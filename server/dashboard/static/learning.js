// What learning is on, and which answers were seen.

import { get } from "./api.js";
import { byId, el, put, table } from "./dom.js";
import { count, minute, percent, usd } from "./format.js";

export async function refreshLearning() {
  const found = await get("/admin/learning");
  put(byId("learning"), ...facts(found).flatMap(([name, said]) => [el("dt", {}, name), el("dd", {}, said)]));
  byId("changed").hidden = Object.keys(found.changed).length === 0;
  put(byId("changed"), ...Object.entries(found.changed).map(([name, at]) =>
    el("p", { class: "bad" }, `${name} is no longer what it was: its grades changed around ${minute(at)}, and it is learnt anew.`)));
  put(byId("answers"), table("Answers that were graded or compared, by model", [
    ["Model", (row) => row.model],
    ["Ratings by callers", (row) => count(row.ratings), "number"],
    ["Comparisons by callers", (row) => count(row.comparisons), "number"],
    ["By checkers and judges", (row) => count(row.graded), "number"],
    ["The latest", (row) => minute(row.latest_at)],
  ], found.data, "None yet. The next section says how to begin."));
}

function facts(found) {
  const seen = found.data.reduce((sum, row) => sum + row.ratings + row.comparisons + row.graded, 0);
  const enough = seen >= found.min_answers ? "enough to decide by" : `decisions follow them from ${count(found.min_answers)} on`;
  return [
    ["Own answers", found.local ? `on: ${count(seen)} seen, ${enough}` : "off (learning.local: false)"],
    ["Learnt from", scopes(found)],
    ["Second answers on live traffic", second(found)],
    ["Each key's own taste", found.tastes ? "on" : "off (routing.tastes)"],
    ["Prompts", found.keep_prompts ? "kept (storage.keep_prompts)" : "not kept"],
  ];
}

// "all" is the pool of the gateway; others are profiles and keys with enough answers of their own
function scopes(found) {
  const named = Object.entries(found.scopes).map(([name, n]) => `${name}: ${count(n)} answers`);
  return named.length === 0 ? "nothing yet" : `${named.join(", ")} (version ${found.version})`;
}

function second(found) {
  if (found.share === 0 || found.judge === null) return "off (learning.share and learning.judge turn it on)";
  return `on: ${percent(found.share)} of requests, graded by ${found.judge}, up to ${usd(found.usd_per_day)} a day`;
}
