// Numbers as people read them; a dash where nothing is known.

const NONE = "–";

export function usd(amount) {
  if (amount === null || amount === undefined) return NONE;
  if (amount === 0) return "$0";
  const digits = Math.abs(amount) >= 1 ? 2 : Math.min(12, 2 - Math.floor(Math.log10(Math.abs(amount))));
  return `$${amount.toFixed(digits)}`;
}

// Of an axis: without digits that say nothing.
export const tickUsd = (amount) => `$${amount.toFixed(10).replace(/\.?0+$/, "")}`;

export const percent = (share, digits = 1) =>
  share === null || share === undefined ? NONE : `${(100 * share).toFixed(digits)}%`;

export const count = (n) => (n === null || n === undefined ? NONE : n.toLocaleString("en"));

export function duration(ms) {
  if (ms === null || ms === undefined) return NONE;
  return ms < 1000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

export const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString("en-GB");

export const moment = (seconds) =>
  new Date(seconds * 1000).toISOString().slice(0, 19).replace("T", " ") + " UTC";

export const minute = (seconds) => moment(seconds).slice(0, 16);

export function span(seconds) {
  if (seconds === null) return "in all";
  for (const [unit, size] of [["day", 86400], ["hour", 3600], ["minute", 60]]) {
    if (seconds % size === 0) return seconds === size ? `in any ${unit}` : `in any ${seconds / size} ${unit}s`;
  }
  return `in any ${seconds} s`;
}
