// The dashboard: pages, and what changes is asked for again and again while somebody looks at it.

import { get } from "./api.js";
import { byId } from "./dom.js";
import { showHealth } from "./health.js";
import { startKeys, refreshKeys } from "./keys.js";
import { refreshLearning } from "./learning.js";
import { refreshLive, showChoices, startLive } from "./live.js";
import { refreshModels } from "./models.js";
import { refreshOverview, showNow, startOverview } from "./overview.js";
import { onPage, startPages } from "./pages.js";
import { startPrompt } from "./prompt.js";
import { refreshReceipts, startReceipts } from "./receipts.js";
import { refreshSessions, startSessions } from "./sessions.js";
import { refreshSettings, startSettings } from "./settings.js";
import { refreshSpend, showWindows, startSpend } from "./spend.js";

// [page or null for all, refresh, every ms]
const EVERY = [
  [null, refreshState, 5000],
  ["overview", refreshOverview, 15000],
  ["overview", refreshSpend, 15000],
  ["requests", refreshLive, 2000],
  ["requests", refreshReceipts, 10000],
  ["requests", refreshSessions, 10000],
  ["models", refreshModels, 15000],
  ["keys", refreshKeys, 15000],
  ["learn", refreshLearning, 15000],
  ["settings", refreshSettings, 60000],
];

async function refreshState() {
  const found = await get("/admin/overview");
  showHealth(found);
  showWindows(found.windows);
  showNow(found);
  showChoices(found);
  const parts = [`version ${found.version}`, `${found.under_way} in progress, ${found.waiting} waiting`];
  if (found.sandbox) parts.push("SANDBOX: no model answers");
  if (found.draining) parts.push("stopping");
  parts.push(found.storage.up ? "spend is recorded" : "SPEND CANNOT BE RECORDED");
  say(parts.join(" · "));
}

function say(text) {
  const state = byId("state");
  if (state.textContent !== text) state.textContent = text;
}

// One at a time, and none while the tab or the page is hidden; at once when the page is opened.
function keep(page, refresh, everyMs) {
  let timer, running = false;
  const run = async () => {
    clearTimeout(timer);
    if (running) return;
    running = true;
    if (document.visibilityState === "visible" && (page === null || !byId(page).hidden)) {
      try {
        await refresh();
      } catch (error) {
        say(`This page is not up to date: ${error.message}`);
      }
    }
    running = false;
    timer = setTimeout(run, everyMs);
  };
  onPage((name) => { if (name === page) run(); });
  return run;
}

const now = (refresh) => () => refresh().catch((error) => say(error.message));

// Once the page is there, in one go: between its forms and what hears them nobody can press.
export function start() {
  startPrompt();
  startLive(now(refreshLive));
  startReceipts();
  startSessions(now(refreshSessions));
  startSpend(now(refreshSpend));
  startOverview(now(refreshOverview));
  startKeys();
  startSettings();
  const runs = EVERY.map(([page, refresh, everyMs]) => keep(page, refresh, everyMs));
  startPages();
  for (const run of runs) run();
  byId("main").inert = false;
}
