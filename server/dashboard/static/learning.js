// What learning is on, and which answers were seen.

import { get } from "./api.js";
import { byId, el, put, table } from "./dom.js";
import { count, minute, percent, usd } from "./format.js";

export async function refreshLearning() {
  const [found, trials] = await Promise.all([get("/admin/learning"), get("/admin/trials")]);
  showTrials(trials.data);
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

function showTrials(rows) {
  put(byId("trials"), table("New models on a share of a profile's sessions, by their ratings", [
    ["Profile", (row) => row.profile],
    ["New models", (row) => row.models.join(", ")],
    ["Share", (row) => percent(row.share), "number"],
    ["Ratings, new / usual", (row) => `${count(row.n_new)} / ${count(row.n_usual)}`, "number"],
    ["Mean, new / usual", (row) => `${mean(row.mean_new)} / ${mean(row.mean_usual)}`, "number"],
    ["Difference", (row) => `${row.difference_low.toFixed(3)} to ${row.difference_high.toFixed(3)}`, "number"],
    ["Standing", trialStanding],
  ], rows, "No trial. routing.profiles.NAME.trial tries new models on a share of a profile's sessions, and stops them where they are worse."));
}

const mean = (value) => (value === null ? "–" : value.toFixed(3));

function trialStanding(row) {
  if (row.stopped_at !== null) return el("span", { class: "bad" }, `stopped ${minute(row.stopped_at)}: worse than allowed`);
  return { open: "goes on", worse: "worse than allowed" }[row.verdict] ?? row.verdict;
}

function facts(found) {
  const seen = found.data.reduce((sum, row) => sum + row.ratings + row.comparisons + row.graded, 0);
  const enough = seen >= found.min_answers ? "enough to decide by" : `decisions follow them from ${count(found.min_answers)} on`;
  return [
    ["Own answers", found.local ? `on: ${count(seen)} seen, ${enough}` : "off (learning.local: false)"],
    ["Learnt from", scopes(found)],
    ["Second answers on live traffic", second(found)],
    ["Keys with a layer of their own", own(found)],
    ["Prompts", found.keep_prompts ? "kept (storage.keep_prompts)" : "not kept"],
  ];
}

// "all" is the pool of the gateway; others are profiles and keys with enough answers of their own
function scopes(found) {
  const named = Object.entries(found.scopes).map(([name, n]) => `${name}: ${count(n)} answers`);
  return named.length === 0 ? "nothing yet" : `${named.join(", ")} (version ${found.version})`;
}

function own(found) {
  if (found.own_layers_of === null) return "all that give enough feedback and differ";
  return found.own_layers_of.length === 0 ? "none" : `only ${found.own_layers_of.join(", ")} (learning.own_layers_of)`;
}

function second(found) {
  if (found.share === 0 || found.judge === null) return "off (learning.share and learning.judge turn it on)";
  return `on: ${percent(found.share)} of requests, graded by ${found.judge}, up to ${usd(found.usd_per_day)} a day`;
}
