// Requests; a refusal arrives as a problem body and is thrown as it is.

export class Refusal extends Error {
  constructor(problem) {
    super(problem.detail);
    this.problem = problem;
  }
}

export async function send(method, path, body) {
  const options = { method, headers: {}, credentials: "same-origin" };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Refusal({ status: 0, title: "No link", detail: "the station does not answer" });
  }
  const text = await response.text();
  if (response.ok) return text ? JSON.parse(text) : null;
  let problem;
  try {
    problem = JSON.parse(text);
  } catch {
    problem = { title: "Request refused", detail: text.slice(0, 200) || response.statusText };
  }
  throw new Refusal({ ...problem, status: response.status });
}

export const post = (path, body) => send("POST", path, body);
export const get = (path) => send("GET", path);
