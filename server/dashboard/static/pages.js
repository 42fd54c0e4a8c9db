// Which page is shown: the one that the address names, so that it can be kept, sent and gone back to.

import { byId } from "./dom.js";

const heard = [];

export const onPage = (listener) => heard.push(listener);

const links = () => [...document.querySelectorAll('nav[aria-label="Pages"] a')];
const names = () => links().map((link) => link.hash.slice(1));

// "#requests/req_1" is the page requests with the detail req_1
function asked() {
  const [name, ...rest] = location.hash.slice(1).split("/");
  return names().includes(name) ? [name, rest.join("/")] : ["overview", ""];
}

function show(isFirst) {
  const [name, detail] = asked();
  for (const other of names()) byId(other).hidden = other !== name;
  for (const link of links()) {
    if (link.hash === `#${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const title = byId(name).querySelector("h2");
  document.title = `${title.textContent} · p2l-router`;
  if (!isFirst) {
    window.scrollTo(0, 0);
    title.focus({ preventScroll: true });
  }
  for (const listener of heard) listener(name, decodeURIComponent(detail));
}

export function startPages() {
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault();
    byId("main").focus();
  });
  window.addEventListener("hashchange", () => show(false));
  show(true);
}

export function open(name, detail) {
  const wanted = `#${name}${detail === undefined ? "" : `/${encodeURIComponent(detail)}`}`;
  if (location.hash === wanted) show(false);
  else location.hash = wanted;
}
