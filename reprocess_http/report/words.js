// Plain words for what the app says in codes.
// Not for: numbers and times (times.js); nothing here looks at the page.

const PLANS = {
  due: { name: "Due", means: "the next sweep reprocesses it" },
  cooling: { name: "Cooling down", means: "it waits after its last attempt, or has only just failed" },
  exhausted: { name: "Exhausted", means: "its attempts are used up: a person has to fix the cause" },
  expired: { name: "Expired", means: "its window has closed: the user must request again" },
  excluded: { name: "Excluded", means: "sweeps cannot reprocess it" },
};
const NEED_A_PERSON = ["exhausted", "expired", "excluded"]; // no sweep will fix these

const STATES = {
  deliveryfailed: "Delivery failed",
  partiallydelivered: "Partly delivered",
  delivering: "Being delivered",
  delivered: "Delivered",
};

const TYPES = {
  userAdd: "Requested by the user",
  userExtend: "Extended by the user",
  onBehalfAdd: "Requested on behalf of the user",
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

// The outcome of an attempt: the last one, and each in the history.
const ATTEMPTS = {
  claimed: "being sent",
  accepted: "Graph accepted it",
  refused: "Graph refused it",
  denied: "Graph denied the app",
  failed: "Graph failed",
  unknown: "not known whether Graph accepted it",
};

// The outcome of a reprocess that was asked for on this page.
const OUTCOMES = {
  accepted: "Accepted, on its way",
  alreadyDelivering: "Was on its way already",
  alreadyDelivered: "Was delivered already",
  delivered: "Delivered",
  deliveryFailed: "Failed again",
  partiallyDelivered: "Only partly delivered",
  denied: "Denied: nothing will be delivered",
  canceled: "Canceled: nothing will be delivered",
  deferred: "The next sweep reprocesses it",
  notSent: "There was no time left to send it",
};

// What the requests of a cause have in common, and how we know.
const CAUSES = {
  graph: "Graph gives this reason",
  package: "three or more users fail in this access package; Graph gives no reason",
  person: "this user fails in several access packages; Graph gives no reason",
  unknown: "Graph gives no reason, and they have nothing in common",
};

// Each problem type of the app (docs/problems.md), then what only a browser can tell.
const PROBLEMS = {
  "invalid-request-id": ["The app takes this id for no request id", ""],
  "invalid-parameter": ["The app did not understand what this page asked", "Reload the page: it may be older than the app."],
  unauthorized: ["You are not signed in", "Sign in, or use a function key."],
  forbidden: ["You may not do this", "You are known, but lack the app role that the app asks for (CALLER_ROLE). Whoever runs the app can assign it to you; then sign in again."],
  "request-not-found": ["Graph no longer knows this request", "It was removed, or the app may not see it."],
  "not-reprocessable": ["It is in a state that cannot be reprocessed", ""],
  "window-closed": ["Its window has closed", "The user must request the access again."],
  refused: ["Graph refused", "The service may still be retrying by itself."],
  "body-too-large": ["The app took the call for too large", ""],
  "unsupported-media-type": ["The app takes JSON only", ""],
  "no-request-id": ["The app found no request id", ""],
  misconfigured: ["The app is misconfigured", "Whoever runs the app has to correct its settings."],
  internal: ["The app has an error", "Its log has the reason, under the number below."],
  "graph-denied": ["Graph denies access to the app", "Whoever runs the app has to grant what is missing; the diagnosis (GET /api/diagnosis) says what works."],
  "graph-failed": ["Graph is failing or cannot be reached", "Try again later. The sweep will, too."],
  throttled: ["Graph asks to wait", "The page waits and tries again by itself."],
  "graph-timeout": ["Graph gave no answer in time", "It may have been accepted: look again before you reprocess it once more."],
  "attempts-unreadable": ["The attempt records cannot be read", "The app has no access to its table of attempts, so nothing was sent."],
  "no-connection": ["The app cannot be reached", "The page tries again by itself."],
  "no-answer": ["Something between this page and the app answered instead", "The app may be starting, stopped or overloaded."],
};

/** What the app calls in a way that this page does not know is shown as it is. */
function worded(words, code) {
  return Object.hasOwn(words, code ?? "") ? words[code] : String(code ?? "");
}

function problemTitle(name) {
  return Object.hasOwn(PROBLEMS, name) ? PROBLEMS[name][0] : "Something went wrong";
}

function problemAdvice(name) {
  return Object.hasOwn(PROBLEMS, name) ? PROBLEMS[name][1] : "";
}

function planName(plan) {
  return Object.hasOwn(PLANS, plan) ? PLANS[plan].name : plan;
}

function stateName(state) {
  const code = String(state ?? "").toLowerCase();
  return Object.hasOwn(STATES, code) ? STATES[code] : String(state ?? "");
}
