// The only part that calls the app: adds the key, follows pages, tells one problem from another.
// Not for: showing anything.

// The key is in this variable and nowhere else: not in the address, storage, history or the page.
let functionKey = "";
// How far the app's clock is ahead of this tab's own, which starts with the tab, in milliseconds.
let clockAhead = Date.now() - performance.now();

/** The app's time: what it writes is compared with it. */
function appTime() {
  return performance.now() + clockAhead;
}

/** What went wrong with a call: `name` is the app's problem type, or one of this page's own. */
class Problem extends Error {
  constructor(name, { detail = "", instance = "", state = "", wait = 0 } = {}) {
    super(detail || name);
    Object.assign(this, { name, detail, instance, state, wait });
  }
}

/** Call our own app. Raises Problem; whoever aborts `signal` gets the browser's AbortError. */
async function call(path, { method = "GET", body, signal } = {}) {
  const headers = { Accept: "application/json" };
  if (body) headers["Content-Type"] = "application/json";
  if (functionKey && path.startsWith("/api/requests")) headers["x-functions-key"] = functionKey;
  let answer;
  try {
    answer = await fetch(path, {
      method,
      headers,
      body: body && JSON.stringify(body),
      signal,
      cache: "no-store",
      // App Service authentication may lead to a log-in page, where a fetch cannot follow.
      redirect: "manual",
      // It also wants to see of a POST where it comes from; no other site is told.
      referrerPolicy: "same-origin",
    });
  } catch (error) {
    throw error.name === "AbortError" ? error : new Problem("no-connection");
  }
  if (answer.type === "opaqueredirect") throw new Problem("unauthorized");
  const sentAt = Date.parse(answer.headers.get("Date"));
  if (!Number.isNaN(sentAt)) clockAhead = sentAt - performance.now();
  if (!answer.ok) throw await problemOf(answer);
  return answer;
}

async function problemOf(answer) {
  const body = await answer.json().catch(() => null); // the host and proxies send other things
  const wait = Number(body?.retryAfterSeconds ?? answer.headers.get("Retry-After")) || 0;
  const name = /^urn:redeliver:problem:(.+)$/.exec(body?.type ?? "")?.[1];
  if (name) return new Problem(name, { ...body, wait });
  if (answer.status === 401) return new Problem("unauthorized");
  if (answer.status === 403) return new Problem("forbidden");
  return new Problem("no-answer", { detail: `HTTP ${answer.status}`, wait });
}

async function read(answer) {
  try {
    return await answer.json();
  } catch {
    throw new Problem("no-answer", { detail: "The answer is not JSON, or broke off." });
  }
}

/**
 * A link that the app gave, as a path of our own origin: behind a proxy the app may think that it
 * has another name. The key goes nowhere else.
 */
function ownPath(link) {
  const url = new URL(link, location.href);
  if (!/^\/api\/(requests|status)\b/.test(url.pathname)) {
    throw new Problem("no-answer", { detail: "The app gave a link that leads elsewhere." });
  }
  return url.pathname + url.search;
}

/** Yield the list page by page. Raises Problem; after `signal` was aborted what comes is of no use. */
async function* listPages(signal) {
  const asked = new Set();
  for (let path = "/api/requests?limit=1000"; path && !asked.has(path); ) {
    asked.add(path);
    const page = await read(await call(path, { signal }));
    yield page;
    path = page.nextLink ? ownPath(page.nextLink) : "";
  }
}

/** Reprocess these. Returns the app's result of each, by request id. Raises Problem. */
async function reprocess(ids) {
  const answer = await read(await call("/api/requests/reprocess", { method: "POST", body: { requestIds: ids } }));
  return new Map((answer.results ?? []).map((result) => [result.requestId, result]));
}

/** Look where a request is now; `next` is where to look again, empty when it has ended. */
async function look(path) {
  const answer = await call(path);
  const body = await read(answer);
  const link = answer.headers.get("Location") ?? body.statusUrl;
  return {
    outcome: body.outcome,
    state: body.state,
    next: answer.status === 202 && link ? ownPath(link) : "",
    wait: Number(answer.headers.get("Retry-After")) || 30,
  };
}
