// The settings in force, to read.

import { get } from "./api.js";
import { byId, el, put, table } from "./dom.js";

let rows = [];

export function startSettings() {
  byId("settings-form").addEventListener("submit", (event) => event.preventDefault());
  byId("settings-find").addEventListener("input", draw);
  byId("settings-set").addEventListener("change", draw);
}

export async function refreshSettings() {
  rows = (await get("/admin/settings")).data;
  draw();
}

function draw() {
  const wanted = byId("settings-find").value.trim().toLowerCase(), only = byId("settings-set").checked;
  const shown = rows.filter((row) => (!only || row.is_set) && row.path.toLowerCase().includes(wanted));
  put(byId("settings-table"), table(`${shown.length} of ${rows.length} settings`, [
    ["Setting", (row) => el("code", {}, ...row.path.split(/(?<=[._])/).flatMap((part) => [part, el("wbr")]))],
    ["Value", (row) => value(row.value), "wide"],
    ["From", (row) => (row.is_set ? "the file" : "default")],
  ], shown, "No setting is like that."));
}

function value(said) {
  if (said === null) return "–";
  return typeof said === "object" ? el("code", {}, JSON.stringify(said)) : String(said);
}
