// The only part that calls the app: adds the key, follows pages, tells one problem from another.
// Not for: showing anything.

// The key is in this variable and nowhere else: not in the address, storage, history or the page.
let functionKey = "";

/** What went wrong with a call: `name` is the app's problem type, or one of this page's own. */
class Problem extends Error {
  constructor(name, { detail = "", instance = "", state = "", wait = 0 } = {}) {
    super(detail || name);
    Object.assign(this, { name, detail, instance, state, wait });
  }
}

/** Call our own app. Raises Problem; whoever aborts `signal` gets the browser's AbortError. */
async function call(path, { method = "GET", accept = "application/json", signal } = {}) {
  const headers = { Accept: accept };
  if (functionKey && path.startsWith("/api/requests")) headers["x-functions-key"] = functionKey;
  let answer;
  try {
    answer = await fetch(path, {
      method,
      headers,
      signal,
      cache: "no-store",
      // App Service authentication may lead to a log-in page, where a fetch cannot follow.
      redirect: "manual",
      // It also wants to see of a POST where it comes from; the page itself tells nobody else.
      referrerPolicy: "same-origin",
    });
  } catch (error) {
    throw error.name === "AbortError" ? error : new Problem("no-connection");
  }
  if (answer.type === "opaqueredirect") throw new Problem("unauthorized");
  if (!answer.ok) throw await problemOf(answer);
  return answer;
}

async function problemOf(answer) {
  const told = await answer.json().catch(() => null); // the host and proxies send other things
  const wait = Number(told?.retryAfterSeconds ?? answer.headers.get("Retry-After")) || 0;
  const name = /^urn:redeliver:problem:(.+)$/.exec(told?.type ?? "")?.[1];
  if (name) return new Problem(name, { ...told, wait });
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

/** Yield the list page by page. Raises Problem; of an aborted `signal` what is yet to come is of no use. */
async function* listPages(signal) {
  const asked = new Set();
  for (let path = "/api/requests?limit=1000"; path && !asked.has(path); ) {
    asked.add(path);
    const page = await read(await call(path, { signal }));
    yield page;
    path = page.nextLink ? ownPath(page.nextLink) : "";
  }
}

/** Save the list as a file. A link cannot carry the key, so it is fetched. Raises Problem. */
async function download(query) {
  const answer = await call(`/api/requests?${query}`, { accept: "text/csv" });
  const name = /filename="([\w.-]+)"/.exec(answer.headers.get("Content-Disposition") ?? "")?.[1];
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await answer.blob());
  link.download = name ?? "failed-requests.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), MINUTE); // the browser is saving it meanwhile
}

/** Ask for a reprocess, or for its status. Returns what the app says and where to look next. */
async function ask(path, method) {
  const answer = await call(path, { method });
  const body = await read(answer);
  const link = answer.headers.get("Location") ?? body.statusUrl;
  return {
    outcome: body.outcome,
    state: body.state,
    next: answer.status === 202 && link ? ownPath(link) : "",
    wait: Number(answer.headers.get("Retry-After")) || 30,
  };
}

function reprocess(id) {
  return ask(`/api/requests/${encodeURIComponent(id)}/reprocess`, "POST");
}
