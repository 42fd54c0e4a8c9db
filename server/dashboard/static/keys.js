// API keys: who has one, what it may spend; create, limit, revoke.

import { get, send } from "./api.js";
import { byId, el, put, table } from "./dom.js";
import { count, minute, span, usd } from "./format.js";

const NUMBERS = { budget_usd: "key-budget", max_request_usd: "key-request", session_budget_usd: "key-session" };
const COUNTS = { requests_per_minute: "key-rpm", tokens_per_minute: "key-tpm", expires_in_days: "key-days" };
let changing = null; // the name of the key whose limits the form changes

export function startKeys() {
  byId("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    guarded(submit);
  });
  byId("key-cancel").addEventListener("click", () => fill(null));
}

export async function refreshKeys() {
  let data;
  try {
    ({ data } = await get("/admin/keys"));
  } catch (error) {
    put(byId("keys-table"), el("p", { class: "hint" }, `${error.message} Create the first admin key with p2l-router keys create boss --admin; from then on every caller needs a key.`));
    byId("key-card").hidden = true;
    return;
  }
  byId("key-card").hidden = false;
  put(byId("keys-table"), table("Keys of the storage; those of the configuration file are changed there", [
    ["Name", (row) => (row.admin ? `${row.name} (admin)` : row.name)],
    ["Change", actions],
    ["Budget", (row) => (row.budget_usd === null ? "no limit" : `${usd(Number(row.budget_usd))} ${span(row.window_s)}`), "number"],
    ["One request", (row) => limit(row.max_request_usd), "number"],
    ["One session", (row) => limit(row.session_budget_usd), "number"],
    ["Per minute", rates],
    ["Models", (row) => (row.models === null ? "all" : row.models.join(", "))],
    ["Expires", (row) => (row.expires_at === null ? "never" : minute(row.expires_at))],
    ["State", (row) => (row.revoked_at === null ? el("span", { class: "good" }, "in use") : `revoked ${minute(row.revoked_at)}`)],
  ], data, "No key is stored yet. Create one below: each caller gets a budget of its own."));
}

const limit = (amount) => (amount === null ? "no limit" : usd(Number(amount)));

function rates(row) {
  const parts = [];
  if (row.requests_per_minute !== null) parts.push(`${count(row.requests_per_minute)} requests`);
  if (row.tokens_per_minute !== null) parts.push(`${count(row.tokens_per_minute)} tokens`);
  return parts.join(", ") || "no limit";
}

function actions(row) {
  if (row.revoked_at !== null) return "";
  return el("span", { class: "actions" },
    el("button", { type: "button", "data-mark": `limit ${row.name}`, "aria-label": `Change the limits of ${row.name}`, onclick: () => fill(row) }, "Limits"),
    el("button", { type: "button", "data-mark": `revoke ${row.name}`, "aria-label": `Revoke ${row.name}`, onclick: () => revoke(row.name) }, "Revoke"));
}

// row: the key whose limits are to be changed, or null for a new one
function fill(row) {
  changing = row?.name ?? null;
  byId("key-form").reset();
  byId("key-error").hidden = true;
  byId("key-title").textContent = row === null ? "Create a key" : `Change the limits of ${row.name}`;
  byId("key-send").textContent = row === null ? "Create the key" : "Change the limits";
  byId("key-cancel").hidden = row === null;
  byId("key-name").disabled = row !== null;
  if (row === null) return;
  byId("key-name").value = row.name;
  for (const [name, id] of Object.entries({ ...NUMBERS, ...COUNTS })) byId(id).value = row[name] ?? "";
  const known = [...byId("key-window").options].some((option) => option.value === String(row.window_s ?? ""));
  if (!known) byId("key-window").append(el("option", { value: row.window_s }, span(row.window_s)));
  byId("key-window").value = row.window_s ?? "";
  byId("key-models").value = row.models?.join(", ") ?? "";
  byId("key-admin").checked = row.admin;
  byId("key-budget").focus();
}

function terms() {
  const body = {};
  for (const [name, id] of Object.entries(NUMBERS)) body[name] = byId(id).value.trim() || null;
  for (const [name, id] of Object.entries(COUNTS)) {
    const said = byId(id).value.trim();
    body[name] = said === "" ? null : Number(said);
  }
  body.window_s = byId("key-window").value === "" || body.budget_usd === null ? null : Number(byId("key-window").value);
  const models = byId("key-models").value.split(",").map((name) => name.trim()).filter((name) => name !== "");
  body.models = models.length === 0 ? null : models;
  body.admin = byId("key-admin").checked;
  if (changing !== null && body.expires_in_days === null) delete body.expires_in_days;
  return body;
}

async function submit() {
  if (changing !== null) {
    const made = await send("PATCH", `/admin/keys/${encodeURIComponent(changing)}`, terms());
    say(`The limits of ${made.name} are changed.`);
  } else {
    const body = Object.fromEntries(Object.entries(terms()).filter(([, value]) => value !== null));
    const made = await send("POST", "/admin/keys", { name: byId("key-name").value.trim(), ...body });
    show(made);
  }
  fill(null);
  await refreshKeys();
}

const say = (text) => put(byId("keys-said"), text);

function show(made) {
  const secret = el("code", { id: "new-key" }, made.key);
  put(byId("keys-said"), `The key of ${made.name}, shown only now: `, secret, " ");
  if (navigator.clipboard !== undefined) { // a page that is not of this machine has it by HTTPS only
    const copy = el("button", { type: "button", onclick: async () => { await navigator.clipboard.writeText(made.key); copy.textContent = "Copied"; } }, "Copy");
    byId("keys-said").append(copy);
  }
  byId("keys-said").scrollIntoView({ block: "center" });
}

function revoke(name) {
  const dialog = byId("revoke");
  byId("revoke-title").textContent = `Revoke ${name}?`;
  dialog.returnValue = "no";
  dialog.onclose = () => {
    if (dialog.returnValue === "yes") {
      guarded(async () => {
        await send("DELETE", `/admin/keys/${encodeURIComponent(name)}`);
        say(`${name} is revoked.`);
        await refreshKeys();
      });
    }
  };
  dialog.showModal();
}

async function guarded(work) {
  const place = byId("key-error");
  place.hidden = true;
  try {
    await work();
  } catch (error) {
    place.textContent = error.message;
    place.hidden = false;
  }
}
