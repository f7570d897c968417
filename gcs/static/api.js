// Requests; a refusal arrives as a problem body and is thrown as it is.

export class Refusal extends Error {
  constructor(problem) {
    super(problem.detail);
    this.problem = problem;
  }
}

const TIMEOUT_MS = 8000;

export async function send(method, path, body, timeoutMs = TIMEOUT_MS) {
  const signal = AbortSignal.timeout(timeoutMs);
  const options = { method, headers: {}, credentials: "same-origin", signal };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let response, text;
  try {
    response = await fetch(path, options);
    text = await response.text();
  } catch {
    const late = signal.aborted ? ` within ${timeoutMs / 1000} s` : "";
    throw new Refusal({ status: 0, title: "No link", detail: `the station does not answer${late}` });
  }
  if (response.ok) return text ? JSON.parse(text) : null;
  let problem;
  try {
    problem = JSON.parse(text);
  } catch {
    problem = { title: "Request refused", detail: text.slice(0, 200) || response.statusText };
  }
  throw new Refusal({ ...problem, status: response.status });
}

export const post = (path, body, timeoutMs) => send("POST", path, body, timeoutMs);
export const get = (path) => send("GET", path);
