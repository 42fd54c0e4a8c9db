// The gateway's JSON. The key, where one is needed, is kept by this tab alone and sent as a header.

const KEPT = "p2l-router-admin-key";

export const keptKey = () => sessionStorage.getItem(KEPT);
export const keepKey = (key) => sessionStorage.setItem(KEPT, key);
export const forgetKey = () => sessionStorage.removeItem(KEPT);

export function withKey(headers = {}) {
  const key = keptKey();
  return key === null ? headers : { ...headers, authorization: `Bearer ${key}` };
}

async function answered(response) {
  const body = await response.json().catch(() => ({}));
  if (response.ok) return body;
  throw new Error(body.error?.message ?? `The gateway answered ${response.status}.`);
}

export const get = async (path) => answered(await fetch(path, { headers: withKey() }));

export const post = (path, body, headers = {}) => send("POST", path, body, headers);

export const send = async (method, path, body, headers = {}) =>
  answered(await fetch(path, {
    method,
    headers: withKey(body === undefined ? headers : { "content-type": "application/json", ...headers }),
    body: body === undefined ? undefined : JSON.stringify(body),
  }));
