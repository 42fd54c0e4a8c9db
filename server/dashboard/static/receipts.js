// Decisions, each with the sentence that explains it.

import { get, post } from "./api.js";
import { byId, el, put, table } from "./dom.js";
import { moment, percent, usd } from "./format.js";
import { onPage, open } from "./pages.js";

const rows = [];

export function startReceipts() {
  byId("receipt-form").addEventListener("submit", (event) => {
    event.preventDefault();
    open("requests", byId("receipt-id").value.trim());
  });
  onPage((name, detail) => {
    if (name === "requests" && detail !== "") show(detail);
  });
  byId("older").addEventListener("click", () => more().catch((error) => tell(error.message)));
}

export async function refreshReceipts() {
  const { data } = await get("/admin/receipts?limit=10");
  const known = new Set(rows.map((row) => row.request_id));
  rows.unshift(...data.filter((row) => !known.has(row.request_id)));
  draw();
}

async function more() {
  const { data } = await get(`/admin/receipts?limit=25&before_us=${rows.at(-1)?.created_us ?? 0}`);
  rows.push(...data);
  byId("older").disabled = data.length === 0;
  draw();
}

function draw() {
  put(byId("receipt-table"), table("Latest decisions", [
    ["When", (row) => moment(row.created_us / 1e6)],
    ["Request", (row) => receiptButton(row.request_id)],
    ["Key", (row) => row.key],
    ["Why", (row) => row.explanation, "wide"],
  ], rows, "No decision has been made yet: send a request with the model p2l."));
}

export function receiptButton(id) {
  const short = id.slice(-8);
  return el("button", { type: "button", "data-mark": id, "aria-label": `Receipt ${short} of ${id}`, onclick: () => open("requests", id) }, short);
}

async function show(id) {
  byId("receipt-id").value = id;
  try {
    const receipt = await get(`/v1/decisions/${encodeURIComponent(id)}`);
    byId("receipt").replaceChildren(...detail(receipt));
  } catch (error) {
    tell(error.message);
  }
  byId("receipt").focus();
}

const tell = (message) => byId("receipt").replaceChildren(el("p", { class: "error" }, message));

const SCORED_BY = { prompt: "its prompt", kept: "an earlier request of the tool loop" };

function detail(receipt) {
  const last = receipt.attempts.at(-1).decision;
  return [
    el("h4", {}, receipt.request_id),
    el("p", { id: "receipt-sentence" }, `${last.explanation}.`),
    el("ul", {}, ...inWords(receipt, last).map((said) => el("li", {}, said))),
    thumbs(receipt),
    el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Table of alternatives" }, table("The alternatives", [
      ["Model", (row) => row.model],
      ["Win rate", (row) => percent(row.win_rate), "number"],
      ["Expected cost", (row) => money(row.expected_cost_usd), "number"],
      ["In the mix", (row) => percent(last.mix[row.model]), "number"],
      ["Out because", (row) => row.reason ?? "", "wide"],
    ], last.alternatives, "No alternative is recorded.")),
    el("details", {}, el("summary", {}, "The whole receipt (p2l-router replay computes it again)"),
      el("pre", { tabindex: "0" }, JSON.stringify(receipt, null, 1))),
  ];
}

const money = (amount) => usd(amount === null || amount === undefined ? null : Number(amount));

// The receipt in sentences: who asked, what was known, what could be chosen, what happened.
function inWords(receipt, last) {
  const { budget_usd: budget, budget_mode: mode } = receipt.attempts.at(-1).request;
  const able = last.alternatives.filter((row) => row.eligible);
  const said = [
    `Asked on ${moment(receipt.created)}; its leaderboard rests on ${SCORED_BY[receipt.scoring] ?? receipt.scoring}.`,
    budget === null || budget === undefined ? "It had no budget of its own." : `Its budget was ${money(budget)}, ${mode === "hard" ? "never to be exceeded" : "to hold on average"}.`,
    `${able.length} of ${last.alternatives.length} models could answer it.`,
    ...receipt.attempts.filter((attempt) => attempt.failure !== null).map((attempt) => `${attempt.decision.model} failed: ${attempt.failure}.`),
  ];
  const mix = Object.entries(last.mix);
  if (mix.length > 1) said.push(`The draw was between ${mix.map(([name, share]) => `${name} (${percent(share)})`).join(" and ")}, with the seed ${receipt.seed}.`);
  said.push(`Decided by p2l-router ${receipt.software}.`);
  return said;
}

// Only the key that asked may rate the answer.
function thumbs(receipt) {
  const place = el("p", { class: "controls" }, "Was this answer good?");
  const rate = (rating) => async () => {
    try {
      await post("/v1/feedback", { request_id: receipt.request_id, rating });
      place.replaceChildren("Noted: the router learns from it.");
    } catch (error) {
      place.replaceChildren(el("span", { class: "error" }, error.message));
    }
  };
  place.append(el("button", { type: "button", onclick: rate(1) }, "Good"), el("button", { type: "button", onclick: rate(0) }, "Bad"));
  return place;
}
