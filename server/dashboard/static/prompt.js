// A prompt, its leaderboard, and what a budget buys for it.

import { get, post } from "./api.js";
import { byId, el, table } from "./dom.js";
import { count, percent, usd } from "./format.js";
import { plane, pointsOf } from "./plane.js";

const SETTLED_MS = 120;
const EIGHTY = 1.2816; // half the width of an 80% interval, in standard deviations

export function startPrompt() {
  const shown = { prompt: "", headers: {}, points: [], low: 1e-5, high: 1, asked: 0, last: null };
  byId("prompt-form").addEventListener("submit", (event) => {
    event.preventDefault();
    guarded(() => lookAt(shown, byId("prompt-text").value));
  });
  let timer;
  const moved = () => {
    tellBudget(shown);
    clearTimeout(timer);
    timer = setTimeout(() => decide(shown), SETTLED_MS);
  };
  byId("budget").addEventListener("input", moved);
  byId("budget-mode").addEventListener("change", moved);
  let width = 0;
  new ResizeObserver(() => {
    const now = byId("plane").clientWidth;
    if (now > 0 && now !== width && shown.last !== null) drawPlane(shown);
    width = now;
  }).observe(byId("plane"));
}

function drawPlane(shown) {
  const { budget, decision } = shown.last;
  byId("plane").replaceChildren(plane(shown.points, budget, decision, Math.max(280, byId("plane").clientWidth)));
}

// What makes the decision one of a session: the same headers that a client sends.
function sessionHeaders() {
  const name = byId("session-name").value.trim(), budget = byId("session-budget").value.trim();
  return { ...(name === "" ? {} : { "x-session-id": name }), ...(budget === "" ? {} : { "x-session-budget": budget }) };
}

const rehearse = (body, headers) => post("/v1/route?receipt=false", body, headers);

async function guarded(work) {
  const place = byId("prompt-error");
  place.hidden = true;
  try {
    await work();
  } catch (error) {
    place.textContent = error.message;
    place.hidden = false;
  }
}

async function lookAt(shown, prompt) {
  const messages = [{ role: "user", content: prompt }];
  const headers = sessionHeaders();
  const [board, free, known] = await Promise.all([
    post("/v1/leaderboard", { messages }),
    rehearse({ messages, p2l: { budget_usd: 1000000 } }, headers),
    get("/admin/models"),
  ]);
  shown.prompt = prompt;
  shown.headers = headers;
  shown.points = pointsOf(free.alternatives);
  byId("prompt-result").hidden = false;
  showBoard(board, free.alternatives, known.data);
  if (shown.points.length === 0) throw new Error("No configured model has both a price and a place on this leaderboard.");
  shown.low = 0.8 * Math.min(...shown.points.map((point) => point.cost));
  shown.high = 1.3 * Math.max(...shown.points.map((point) => point.cost));
  tellBudget(shown);
  await decide(shown);
}

function budgetOf(shown) {
  const exact = shown.low * (shown.high / shown.low) ** (byId("budget").value / 1000);
  return Number(exact.toPrecision(3));
}

function tellBudget(shown) {
  const text = usd(budgetOf(shown));
  byId("budget-shown").textContent = text;
  byId("budget").setAttribute("aria-valuetext", text);
}

async function decide(shown) {
  const turn = (shown.asked += 1);
  const budget = budgetOf(shown);
  const options = { budget_usd: budget, budget_mode: byId("budget-mode").value, seed: 0 };
  const body = { messages: [{ role: "user", content: shown.prompt }], p2l: options };
  let decision = null, said;
  try {
    decision = await rehearse(body, shown.headers);
    said = decision.explanation;
  } catch (error) {
    said = error.message;
  }
  if (turn !== shown.asked) return; // the slider has moved on
  byId("sentence").textContent = said;
  shown.last = { budget, decision };
  drawPlane(shown);
  const bars = Object.entries(decision?.mix ?? {}).map(mixBar);
  byId("mix").replaceChildren(...(bars.length > 0 ? bars : [el("li", { class: "hint" }, "No model fits the budget.")]));
}

const mixBar = ([name, share]) =>
  el("li", {}, `${name}: ${percent(share)}`,
    el("progress", { value: share, max: 1, "aria-label": `${name}, share of the mix` }));

// The models that are served here first; the others of the leaderboard are folded away.
function showBoard(board, alternatives, known) {
  const own = new Map(board.data.map((row) => [row.model, row]));
  const sd = new Map(known.map((row) => [row.model, row.sd]));
  const mine = [...alternatives].sort((a, b) => (b.win_rate ?? -1) - (a.win_rate ?? -1));
  byId("leaderboard").replaceChildren(table("Your models on this prompt; the range holds the truth in four cases of five", [
    ["Rank", (row) => String(mine.indexOf(row) + 1), "number"],
    ["Model", (row) => row.model],
    ["Win rate", (row) => percent(row.win_rate), "number"],
    ["Range", (row) => range(ends(row, own.get(row.model), sd.get(row.model) ?? 0), board.data), "number"],
    ["Output tokens", (row) => whole(row.expected_output_tokens), "number"],
    ["Expected cost", (row) => usd(amount(row.expected_cost_usd)), "number"],
    ["Out because", (row) => row.reason ?? "", "wide"],
  ], mine, "No model is configured."));
  byId("others-said").textContent = `All ${board.data.length} models of the leaderboard`;
  byId("others").replaceChildren(table(`Leaderboard of this prompt (${board.family})`, [
    ["Rank", (row) => String(row.rank), "number"],
    ["Model", (row) => row.model],
    ["Win rate", (row) => percent(row.win_rate), "number"],
    ["Coefficient", (row) => row.coefficient.toFixed(2), "number"],
    ["Output tokens", (row) => whole(row.expected_output_tokens), "number"],
    ["Expected cost", (row) => usd(row.expected_cost_usd), "number"],
  ], board.data, "The leaderboard is empty."));
}

const whole = (n) => count(n === null || n === undefined ? null : Math.round(n));
const amount = (said) => (said === null || said === undefined ? null : Number(said));

// What is known of a strength: by own answers or facts on this prompt, else in general.
function ends(row, onBoard, sd) {
  if (onBoard?.interval80) return onBoard.interval80;
  if (sd === 0 || row.coefficient === null || row.coefficient === undefined) return null;
  return [row.coefficient - EIGHTY * sd, row.coefficient + EIGHTY * sd];
}

// The win rates at both ends.
function range(strengths, board) {
  if (strengths === null) return "–";
  const at = (strength) => board.reduce((sum, other) => sum + 1 / (1 + Math.exp(other.coefficient - strength)), 0) / board.length;
  return strengths.map((end) => percent(at(end), 0)).join(" to ");
}
