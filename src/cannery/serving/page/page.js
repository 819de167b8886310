// The form, made from the schema and filled with the canary; what it is; and how to call it.
import { ask, begin, element } from "./asking.js";

const at = (id) => document.getElementById(id);
const here = new URL(".", location.href).href;
let fields = {};
let answers = {};

function types(schema) {
  return [].concat(schema.type);
}

function control(id, schema) {
  const kinds = types(schema);
  const choices = kinds.includes("boolean") ? [true, false] : schema.enum?.filter((v) => v !== null);
  if (choices) {
    const made = element("select", { id });
    if (kinds.includes("null")) made.append(element("option", { value: "" }, "(no value)"));
    for (const choice of choices) made.append(element("option", { value: JSON.stringify(choice) }, String(choice)));
    return made;
  }
  const numeric = kinds.includes("number") || kinds.includes("integer");
  const made = element("input", { id, autocomplete: "off", ...(numeric ? { inputmode: "decimal" } : {}) });
  if (schema.examples?.length) {
    const list = element("datalist", { id: `${id}-known` });
    for (const known of schema.examples.slice(0, 200)) list.append(element("option", { value: String(known) }));
    made.setAttribute("list", list.id);
    made.known = list;
  }
  return made;
}

function value(input, schema) {
  const text = input.value;
  const kinds = types(schema);
  if (text === "" && kinds.includes("null")) return null;
  if (input.tagName === "SELECT") return JSON.parse(text);
  if (kinds.includes("number") || kinds.includes("integer")) {
    const number = Number(text);
    return text.trim() === "" || !Number.isFinite(number) ? text : number;
  }
  return text;
}

function record() {
  return Object.fromEntries(Object.entries(fields).map(([name, f]) => [name, value(f.input, f.schema)]));
}

function fill(values) {
  for (const [name, field] of Object.entries(fields)) {
    const given = values[name];
    const select = field.input.tagName === "SELECT";
    field.input.value = given === null || given === undefined ? "" : select ? JSON.stringify(given) : String(given);
  }
  clear();
  snippets();
}

function clear() {
  for (const field of Object.values(fields)) {
    field.input.removeAttribute("aria-invalid");
    field.wrong.textContent = "";
  }
}

function form(schema) {
  fields = {};
  at("fields").replaceChildren();
  Object.entries(schema.properties).forEach(([name, property], index) => {
    const id = `field-${index}`;
    const input = control(id, property);
    const wrong = element("p", { class: "wrong", id: `${id}-wrong` });
    const hints = [types(property).includes("null") ? "may be empty" : "", property.description ?? ""];
    const hint = element("p", { class: "hint", id: `${id}-hint` }, hints.filter(Boolean).join(", "));
    input.setAttribute("aria-describedby", `${hint.id} ${wrong.id}`);
    input.addEventListener("input", snippets);
    fields[name] = { input, wrong, schema: property };
    const parts = [element("label", { for: id }, name), input, hint, wrong];
    if (input.known) parts.push(input.known);
    at("fields").append(element("div", {}, ...parts));
  });
}

function place(path) {
  return Object.keys(fields).find((name) => path === name || path === `[${JSON.stringify(name)}]`);
}

function refuse(error) {
  const loose = [];
  for (const issue of error.issues ?? []) {
    const name = place(issue.path);
    if (!name) {
      loose.push(element("li", {}, `${issue.path}: expected ${issue.expected}, got ${issue.got}`));
      continue;
    }
    fields[name].input.setAttribute("aria-invalid", "true");
    fields[name].wrong.textContent = `expected ${issue.expected}, got ${issue.got}`;
  }
  const found = Object.values(fields).find((f) => f.input.getAttribute("aria-invalid"));
  found?.input.focus();
  const said = found ? "Some fields do not fit." : error.message;
  at("result").replaceChildren(element("p", { class: "wrong" }, said));
  if (loose.length) at("result").append(element("ul", { class: "wrong" }, ...loose));
}

function show(answer) {
  const list = element("dl", { class: "answer" });
  for (const [name, given] of Object.entries(answer)) {
    const schema = answers.properties?.[name] ?? {};
    list.append(element("dt", {}, name));
    if (schema.minimum === 0 && schema.maximum === 1) {
      const percent = `${(given * 100).toFixed(1)} %`;
      const bar = element("progress", { max: "1", value: String(given), "aria-label": `${name}: ${percent}` }, percent);
      list.append(bar, element("dd", {}, percent));
    } else {
      list.append(element("dd", { class: "whole" }, String(given)));
    }
  }
  at("result").replaceChildren(list);
}

async function predict(event) {
  event.preventDefault();
  clear();
  const body = JSON.stringify(record());
  try {
    const { status, body: said } = await ask("predict", {
      method: "POST", headers: { "content-type": "application/json" }, body,
    });
    if (status === 200) show(said);
    else refuse(said.error ?? { message: `the service answers ${status}` });
  } catch {
    refuse({ message: "The service does not answer." });
  }
}

function snippets() {
  const json = JSON.stringify(record());
  at("curl").textContent = `curl ${here}predict --json '${json.replaceAll("'", "'\\''")}'`;
  at("python").textContent = [
    "import cannery", "",
    `client = cannery.Client(${JSON.stringify(here)})`,
    `client.predict([${python(record())}])`,
  ].join("\n");
}

function python(given) {
  const words = { null: "None", true: "True", false: "False" };
  const pairs = Object.entries(given).map(([name, v]) => {
    const text = JSON.stringify(v);
    return `${JSON.stringify(name)}: ${words[text] ?? text}`;
  });
  return `{${pairs.join(", ")}}`;
}

function facts(version) {
  const parity = version.parity;
  const rows = {
    name: version.name, version: version.version, task: version.task, runtime: version.runtime,
    source: version.source.resolved, "given as": version.source.given, digest: version.digest,
    parity: parity && `${parity.rows} rows, ${parity.flips} labels changed, largest difference ${parity.maximum.toExponential(1)}`,
    audit: version.audit.verdict,
  };
  at("facts").replaceChildren();
  for (const [term, text] of Object.entries(rows)) {
    if (text) at("facts").append(element("dt", {}, term), element("dd", {}, String(text)));
  }
  at("name").textContent = version.name;
  document.title = version.name;
  at("about").textContent = `version ${version.version}, a ${version.task} in ${version.runtime}`;
}

async function health() {
  const badge = at("health");
  try {
    const { status, body } = await ask("health");
    badge.className = `badge ${status === 200 ? "good" : "bad"}`;
    badge.textContent = status === 200 ? "healthy" : `unhealthy: ${body.reason}`;
  } catch {
    badge.className = "badge bad";
    badge.textContent = "no answer";
  }
}

async function start() {
  const [version, schema, api] = await Promise.all(["version", "schema", "openapi.json"].map((p) => ask(p)));
  facts(version.body);
  answers = schema.body.$defs.answer;
  form(schema.body.$defs.record);
  const examples = api.body.paths["/predict"].post.requestBody.content["application/json"].examples;
  at("examples").replaceChildren();
  examples.records.value.forEach((values, index) => {
    const button = element("button", { type: "button" }, `Example ${index + 1}`);
    button.addEventListener("click", () => fill(values));
    at("examples").append(button);
  });
  fill(examples.record.value);
  at("predict").disabled = false;
}

for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", async () => {
    await navigator.clipboard?.writeText(at(button.dataset.copy).textContent);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
}
at("record").addEventListener("submit", predict);
health();
setInterval(health, 10000);
begin(start);
