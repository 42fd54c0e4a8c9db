// A prompt, its leaderboard, and what a budget buys for it.

import { post } from "./api.js";
import { byId, el, table } from "./dom.js";
import { count, percent, usd } from "./format.js";
import { plane, pointsOf } from "./plane.js";

const SETTLED_MS = 120;

export function startPrompt() {
  const shown = { prompt: "", points: [], low: 1e-5, high: 1, asked: 0 };
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
}

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
  const [board, free] = await Promise.all([
    post("/v1/leaderboard", { messages }),
    post("/v1/route", { messages, p2l: { budget_usd: 1000000 } }),
  ]);
  shown.prompt = prompt;
  shown.points = pointsOf(free.alternatives);
  byId("prompt-result").hidden = false;
  showBoard(board);
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
    decision = await post("/v1/route", body);
    said = decision.explanation;
  } catch (error) {
    said = error.message;
  }
  if (turn !== shown.asked) return; // the slider has moved on
  byId("sentence").textContent = said;
  byId("plane").replaceChildren(plane(shown.points, budget, decision));
  const bars = Object.entries(decision?.mix ?? {}).map(mixBar);
  byId("mix").replaceChildren(...(bars.length > 0 ? bars : [el("li", { class: "hint" }, "No model fits the budget.")]));
}

const mixBar = ([name, share]) =>
  el("li", {}, `${name}: ${percent(share)}`,
    el("progress", { value: share, max: 1, "aria-label": `${name}, share of the mix` }));

function showBoard(board) {
  byId("leaderboard").replaceChildren(table(
    `Leaderboard of this prompt (${board.family}, ${board.data.length} models). The cost is shown for models that are served here.`,
    [
      ["Rank", (row) => String(row.rank), "number"],
      ["Model", (row) => row.model],
      ["Win rate", (row) => percent(row.win_rate), "number"],
      ["Coefficient", (row) => row.coefficient.toFixed(2), "number"],
      ["Output tokens", (row) => count(row.expected_output_tokens === null ? null : Math.round(row.expected_output_tokens)), "number"],
      ["Expected cost", (row) => usd(row.expected_cost_usd), "number"],
    ],
    board.data, "The leaderboard is empty."));
}
