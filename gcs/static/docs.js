// A page of the OpenAPI description that needs nothing from the network.

const element = (tag, ...children) => {
  const node = document.createElement(tag);
  node.append(...children);
  return node;
};

const nameOf = (ref) => ref.split("/").pop();

function typeOf(schema) {
  if (!schema) return "";
  if (schema.$ref) return nameOf(schema.$ref);
  if (schema.anyOf) return schema.anyOf.map(typeOf).join(" | ");
  if (schema.enum) return schema.enum.map((v) => JSON.stringify(v)).join(" | ");
  if (schema.type === "array") return `${typeOf(schema.items)}[]`;
  return schema.type ?? "any";
}

function fields(schema) {
  const rows = Object.entries(schema.properties ?? {}).map(([name, field]) => {
    const must = schema.required?.includes(name) ? " (required)" : "";
    return element("tr",
      element("td", name), element("td", typeOf(field) + must), element("td", field.description ?? ""));
  });
  return element("table", ...rows);
}

function bodyOf(operation) {
  return operation.requestBody?.content?.["application/json"]?.schema;
}

function operationOf(path, method, operation, schemas) {
  const head = element("h2", element("b", method.toUpperCase()), ` ${path}`);
  const article = element("article", head, element("p", operation.description ?? operation.summary));
  const body = bodyOf(operation);
  if (body?.$ref) {
    article.append(element("h3", `Body: ${nameOf(body.$ref)}`), fields(schemas[nameOf(body.$ref)]));
  }
  const answers = Object.entries(operation.responses).map(([status, answer]) => {
    const schema = Object.values(answer.content ?? {})[0]?.schema;
    return element("tr",
      element("td", status), element("td", typeOf(schema)), element("td", answer.description ?? ""));
  });
  article.append(element("h3", "Answers"), element("table", ...answers));
  return article;
}

const description = await (await fetch("/openapi.json")).json();
const { schemas } = description.components;
const articles = Object.entries(description.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => operationOf(path, method, operation, schemas)));
const types = Object.entries(schemas)
  .filter(([, schema]) => schema.properties)
  .map(([name, schema]) => element("article", element("h2", name), fields(schema)));
const stream = element("article",
  element("h2", element("b", "WS"), " /api/video"),
  element("p", "One binary message a frame: 4 bytes little-endian length, header (JSON, see Status), JPEG. "
    + 'Answer each with the text {"ack": sequence}; the next one comes only then. '
    + '{"hold": frame_id} keeps a frame while a box is drawn on it.'));
document.getElementById("operations").replaceChildren(...articles, stream, element("h1", "Types"), ...types);
