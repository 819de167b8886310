// The OpenAPI document as a page: every path, what it takes and what it answers.
import { ask, begin, element } from "./asking.js";

function example(content) {
  const examples = content?.["application/json"]?.examples;
  const first = examples && Object.values(examples)[0]?.value;
  return first === undefined ? [] : [element("pre", { tabindex: "0" }, JSON.stringify(first, null, 2))];
}

function operation(path, method, about) {
  const parts = [
    element("h2", {}, element("span", { class: "method" }, method.toUpperCase()), ` ${path}`),
    element("p", {}, about.summary ?? ""),
  ];
  for (const parameter of about.parameters ?? []) {
    parts.push(element("p", {}, element("code", {}, `?${parameter.name}=`), ` ${parameter.description}`));
  }
  if (about.requestBody) {
    const kinds = Object.keys(about.requestBody.content).join(", ");
    parts.push(element("h3", {}, `Takes ${kinds}`), ...example(about.requestBody.content));
  }
  const list = element("dl", { class: "facts" });
  for (const [code, response] of Object.entries(about.responses)) {
    list.append(element("dt", {}, code), element("dd", {}, response.description, ...example(response.content)));
  }
  parts.push(element("h3", {}, "Answers"), list);
  return element("section", {}, ...parts);
}

begin(async () => {
  const { body } = await ask("openapi.json");
  document.getElementById("name").textContent = `${body.info.title}: API`;
  document.title = `${body.info.title}: API`;
  const all = Object.entries(body.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, about]) => operation(path, method, about)));
  document.getElementById("operations").replaceChildren(...all);
});
