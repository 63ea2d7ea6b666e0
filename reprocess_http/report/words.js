// Plain words for what the app says in codes, and for times and numbers.
// Not for: anything that is shown or called; nothing here looks at the page.

const PLANS = {
  due: { name: "Due", means: "the next sweep tries it" },
  cooling: { name: "Cooling down", means: "it waits after its last attempt, or has only just failed" },
  exhausted: { name: "Exhausted", means: "its attempts are used up; somebody has to look at the cause" },
  expired: { name: "Expired", means: "its window is closed; cancel it and ask for the access again" },
  excluded: { name: "Excluded", means: "the sweep cannot try it" },
};

const STATES = {
  deliveryfailed: "Delivery failed",
  partiallydelivered: "Partly delivered",
  delivering: "Being delivered",
  delivered: "Delivered",
};

const TYPES = {
  userAdd: "Asked for by the user",
  onBehalfAdd: "Asked for by somebody else",
  adminAdd: "Given by an administrator",
  systemAdd: "Given by a policy",
  userUpdate: "Changed by the user",
  adminUpdate: "Changed by an administrator",
  systemUpdate: "Changed by a policy",
  userRemove: "Given back by the user",
  adminRemove: "Taken away by an administrator",
  systemRemove: "Taken away by a policy",
  approverRemove: "Taken away by an approver",
};

const LAST_OUTCOMES = {
  sent: "sent, and still fails",
  refused: "Graph refused",
  denied: "Graph denied the app",
};

// What came of a reprocess that the reader asked for.
const OUTCOMES = {
  accepted: "Accepted, on its way",
  alreadyDelivering: "Was on its way already",
  alreadyDelivered: "Was delivered already",
  delivered: "Delivered",
  deliveryFailed: "Failed again",
  partiallyDelivered: "Only partly delivered",
};

// Each problem type of the app (docs/problems.md), then what only a browser can tell.
const PROBLEMS = {
  "invalid-request-id": ["The app takes this id for no request id", ""],
  "invalid-parameter": ["The app did not understand what this page asked", "Reload the page: it may be older than the app."],
  unauthorized: ["You are not signed in", "Sign in, or use a function key."],
  forbidden: ["You may not do this", "You are known, but lack the app role that the app asks for (CALLER_ROLE). Whoever runs the app can assign it to you; then sign in again."],
  "request-not-found": ["Graph no longer knows this request", "It was removed, or the app may not see it."],
  "not-reprocessable": ["It is in a state that cannot be reprocessed", ""],
  "window-closed": ["Its window is closed", "Cancel the request and ask for the access again."],
  refused: ["Graph refused", "The service may still be retrying by itself."],
  "body-too-large": ["The app took the call for too large", ""],
  "no-request-id": ["The app found no request id", ""],
  misconfigured: ["The app is misconfigured", "Whoever runs the app has to correct its settings."],
  internal: ["The app has an error", "Its log has the reason, under the number below."],
  "graph-denied": ["Graph denies access to the app", "Whoever runs the app has to grant what is missing; the diagnosis (GET /api/diagnosis) says what works."],
  "graph-failed": ["Graph is failing or cannot be reached", "Try again later. The sweep will, too."],
  throttled: ["Graph asks to wait", "The page waits and tries again by itself."],
  "graph-timeout": ["Graph gave no answer in time", "Look again before you reprocess it once more: it may have been accepted."],
  "attempts-unreadable": ["What was tried cannot be read", "The app cannot read its table of attempts."],
  "no-connection": ["The app cannot be reached", "The page tries again by itself; look at your connection meanwhile."],
  "no-answer": ["Something between this page and the app answered instead", "The app may be starting, stopped or overloaded."],
};

function problemTitle(name) {
  return (PROBLEMS[name] ?? ["Something went wrong"])[0];
}

function problemAdvice(name) {
  return (PROBLEMS[name] ?? ["", ""])[1];
}

/** What the app calls in a way that this page does not know is shown as it is. */
function worded(words, code) {
  return words[code] ?? String(code ?? "");
}

function stateName(state) {
  return STATES[String(state ?? "").toLowerCase()] ?? String(state ?? "");
}

const NUMBER = new Intl.NumberFormat("en-GB");
const DATE_TIME = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

function number(n) {
  return NUMBER.format(n);
}

/** "1 request", "2,000 requests". */
function count(n, one, many = `${one}s`) {
  return `${number(n)} ${n === 1 ? one : many}`;
}

/** A length of time in its largest whole unit, hours up to two days: what is left is never more. */
function span(ms) {
  if (ms < MINUTE) return "less than a minute";
  if (ms < HOUR) return count(Math.floor(ms / MINUTE), "minute");
  if (ms < 2 * DAY) return count(Math.floor(ms / HOUR), "hour");
  return count(Math.floor(ms / DAY), "day");
}

function ago(ms) {
  return ms < MINUTE ? "just now" : `${span(ms)} ago`;
}

function timeLeft(ms) {
  if (Number.isNaN(ms)) return "not known";
  return ms > 0 ? `${span(ms)} left` : `closed ${ago(-ms)}`;
}

function dateTime(at) {
  return Number.isNaN(at) ? "" : DATE_TIME.format(at);
}

/** Keeps a name from turning around the text beside it, where there is no element to do so. */
function isolated(text) {
  return `\u2068${text}\u2069`;
}
