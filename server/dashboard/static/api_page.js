// The API as /openapi.json describes it; nothing comes from elsewhere.

import { get } from "./api.js";
import { byId, el } from "./dom.js";

const METHODS = ["get", "post", "patch", "put", "delete"];

function operations(found) {
  return Object.entries(found.paths).flatMap(([path, item]) =>
    METHODS.filter((method) => method in item).map((method) => ({ path, method, said: item[method] })));
}

function shown({ path, method, said }, schemas) {
  const fields = fieldsOf(said.requestBody?.content?.["application/json"]?.schema, schemas);
  const parameters = said.parameters ?? [];
  return el("details", { class: "card" },
    el("summary", {}, el("strong", {}, method.toUpperCase()), " ", el("code", {}, path)),
    ...(said.description ?? said.summary ?? "").split("\n\n").map((text) => el("p", {}, text)),
    parameters.length === 0 ? null : list("Parameters", parameters.map((one) => [one.name, one.required ? "needed" : "", one.description])),
    fields.length === 0 ? null : list("Body", fields),
    list("Answers", Object.entries(said.responses ?? {}).map(([status, one]) => [status, "", one.description])));
}

function fieldsOf(schema, schemas) {
  if (schema === undefined) return [];
  const known = schema.$ref === undefined ? schema : schemas[schema.$ref.split("/").at(-1)];
  const needed = new Set(known?.required ?? []);
  return Object.entries(known?.properties ?? {}).map(([name, one]) => [name, needed.has(name) ? "needed" : "", one.description ?? one.type]);
}

const list = (title, rows) => el("div", {}, el("h4", {}, title),
  el("ul", {}, ...rows.map(([name, needed, said]) => el("li", {}, el("code", {}, name), ...[needed, said].filter(Boolean).map((text) => `: ${text}`)))));

async function start() {
  const found = await get("/openapi.json");
  byId("operations").replaceChildren(...operations(found).map((one) => shown(one, found.components?.schemas ?? {})));
}

start().catch((error) => {
  byId("error").textContent = error.message;
  byId("error").hidden = false;
});
