// Asks for the key, and puts the page that it opens in place of this one.

import { forgetKey, keepKey, keptKey, withKey } from "./api.js";
import { byId } from "./dom.js";

async function open() {
  const response = await fetch("/", { headers: withKey({ accept: "text/html" }) });
  if (!response.ok) {
    forgetKey();
    const body = await response.json().catch(() => ({}));
    throw new Error(response.status === 401 ? "This key is unknown." : body.error?.message ?? `The gateway answered ${response.status}.`);
  }
  const { start } = await import("./app.js");
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  document.body.replaceWith(document.adoptNode(page.body));
  start();
}

function refuse(error) {
  // once signed in there is no such place: what failed then is said where the state is
  const place = byId("sign-in-error") ?? byId("state");
  place.textContent = error.message;
  place.hidden = false;
}

byId("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  keepKey(byId("key").value.trim());
  open().catch(refuse);
});
// until now the browser itself would have sent the form
byId("main").inert = false;
byId("key").focus();
if (keptKey() !== null) open().catch(refuse);
