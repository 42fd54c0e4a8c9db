// The dashboard: what changes is asked for again and again while somebody looks.

import { get } from "./api.js";
import { byId } from "./dom.js";
import { showHealth } from "./health.js";
import { refreshLive, startLive } from "./live.js";
import { startPrompt } from "./prompt.js";
import { refreshReceipts, startReceipts } from "./receipts.js";
import { refreshSavings } from "./savings.js";
import { refreshSessions, startSessions } from "./sessions.js";
import { refreshSpend, showWindows, startSpend } from "./spend.js";

const EVERY_MS = [[refreshLive, 2000], [refreshOverview, 5000], [refreshReceipts, 10000], [refreshSessions, 10000], [refreshSpend, 15000], [refreshSavings, 60000]];

async function refreshOverview() {
  const found = await get("/admin/overview");
  showHealth(found);
  showWindows(found.windows);
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

// One at a time, and none while the tab is hidden.
function keep(refresh, everyMs) {
  const run = async () => {
    if (document.visibilityState === "visible") {
      try {
        await refresh();
      } catch (error) {
        say(`This page is not up to date: ${error.message}`);
      }
    }
    setTimeout(run, everyMs);
  };
  run();
}

// Once the page is there, in one go: between its forms and what hears them nobody can press.
export function start() {
  startPrompt();
  startLive();
  startReceipts();
  startSessions(() => refreshSessions().catch((error) => say(error.message)));
  startSpend(() => refreshSpend().catch((error) => say(error.message)));
  for (const [refresh, everyMs] of EVERY_MS) keep(refresh, everyMs);
  byId("main").inert = false;
}
