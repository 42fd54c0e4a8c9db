// Decisions, each with the sentence that explains it.

import { get } from "./api.js";
import { byId, el, put, table } from "./dom.js";
import { moment, percent, usd } from "./format.js";

const rows = [];

export function startReceipts() {
  byId("receipt-form").addEventListener("submit", (event) => {
    event.preventDefault();
    show(byId("receipt-id").value.trim());
  });
  byId("older").addEventListener("click", () => more().catch((error) => tell(error.message)));
}

export async function refreshReceipts() {
  const { data } = await get("/admin/receipts?limit=25");
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
  ], rows, "No decision has been made yet."));
}

export function receiptButton(id) {
  const open = () => {
    byId("receipt-id").value = id;
    show(id);
  };
  return el("button", { type: "button", "data-mark": id, "aria-label": `Receipt of ${id}`, onclick: open }, `${id.slice(0, 12)}…`);
}

async function show(id) {
  try {
    const receipt = await get(`/v1/decisions/${encodeURIComponent(id)}`);
    byId("receipt").replaceChildren(...detail(receipt));
  } catch (error) {
    tell(error.message);
  }
  byId("receipt").focus();
}

const tell = (message) => byId("receipt").replaceChildren(el("p", { class: "error" }, message));

const SCORED_BY = { prompt: "the prompt", kept: "an earlier request of the tool loop" };

function detail(receipt) {
  const last = receipt.attempts.at(-1).decision;
  const failed = receipt.attempts.filter((attempt) => attempt.failure !== null);
  return [
    el("h3", {}, receipt.request_id),
    el("p", { id: "receipt-sentence" }, `${last.explanation}.`),
    el("p", { class: "hint" }, [
      moment(receipt.created), `scored by ${SCORED_BY[receipt.scoring] ?? receipt.scoring}`,
      `seed ${receipt.seed}`, `p2l-router ${receipt.software}`,
      ...failed.map((attempt) => `${attempt.decision.model} failed: ${attempt.failure}`),
    ].join(" · ")),
    table("The alternatives", [
      ["Model", (row) => row.model],
      ["Win rate", (row) => percent(row.win_rate), "number"],
      ["Expected cost", (row) => usd(row.expected_cost_usd === null ? null : Number(row.expected_cost_usd)), "number"],
      ["In the mix", (row) => percent(last.mix[row.model]), "number"],
      ["Out because", (row) => row.reason ?? "", "wide"],
    ], last.alternatives, "No alternative is recorded."),
    el("details", {}, el("summary", {}, "The whole receipt (p2l-router replay computes it again)"),
      el("pre", { tabindex: "0" }, JSON.stringify(receipt, null, 1))),
  ];
}
