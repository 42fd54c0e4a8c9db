// Where each model stands, what that rests on, what it cost here, and when it ends.

import { get } from "./api.js";
import { byId, el, put, table } from "./dom.js";
import { count, usd } from "./format.js";

const SOON_DAYS = 60;

export async function refreshModels() {
  const { data } = await get("/admin/models");
  put(byId("places"), table("The strongest first; attempts and money of the last 30 days, answers that were graded or compared", [
    ["Model", (row) => row.model],
    ["Place", place, "number"],
    ["Rests on", (row) => row.rests_on, "wide"],
    ["Answers", (row) => count(row.answers), "number"],
    ["Attempts", (row) => count(row.attempts), "number"],
    ["Mean cost", (row) => usd(row.mean_cost_usd), "number"],
    ["Spent", (row) => usd(row.cost_usd), "number"],
    ["Ends", ending],
  ], data, "No model is configured: write one under models in the configuration, or run p2l-router init."));
  const soon = data.filter((row) => row.retired !== null || (row.ends_in_days !== null && row.ends_in_days <= SOON_DAYS));
  byId("endings").hidden = soon.length === 0;
  put(byId("endings-list"), ...soon.map((row) => el("li", {}, sentence(row))));
}

function place(row) {
  if (row.coefficient === null) return "–";
  if (row.sd === 0) return row.coefficient.toFixed(2);
  return `${row.coefficient.toFixed(2)} [${row.interval80.map((end) => end.toFixed(2)).join(", ")}]`;
}

function ending(row) {
  if (row.retired !== null) return el("span", { class: "bad" }, row.retired);
  return row.ends_on === null ? "–" : row.ends_on;
}

function sentence(row) {
  const next = row.successor === null ? "choose another model" : `its successor is ${row.successor}`;
  if (row.retired !== null) return `${row.model} is not used any more: ${row.retired}; ${next}.`;
  return row.ends_in_days < 0 ? `${row.model} ended on ${row.ends_on}; ${next}.` : `${row.model} ends on ${row.ends_on}, in ${row.ends_in_days} days; ${next}.`;
}
