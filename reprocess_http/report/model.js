// The one model of the list, fed by the app (take), by runs (note) and by the clock (appTime).
// Not for: choosing and ordering rows (view.js), or causes (causes.js).
//
// A run's outcome that is newer than the list wins over it: the app keeps a list for half a minute,
// so that one which is read later may still show the old failure. A newer list wins over a run.

const NO_PACKAGE = "none"; // of a request without one: v1.0 shows no package of some removals

/** One failed request; `run` is the outcome of a run that wins over the list, or null. */
function rowOf(item, position) {
  const name = item.requestorName || item.requestorEmail;
  const row = {
    item,
    position,
    run: null,
    id: item.requestId,
    who: name || "unknown requestor",
    contact: (item.requestorName && item.requestorEmail) || item.requestorId || item.requestId,
    requestor: item.requestorId || item.requestorEmail || item.requestorName || "",
    package: item.accessPackageName || (item.accessPackageId ? `package ${item.accessPackageId}` : "unknown package"),
    packageId: item.accessPackageId ?? NO_PACKAGE,
    causeId: item.causeId ?? "",
    type: item.requestType ?? "",
    removal: Boolean(item.removal),
    state: item.state ?? "",
    failedAt: Date.parse(item.completedAt),
    ends: Date.parse(item.windowEndsAt),
    attempts: item.attempts ?? 0,
    last: Date.parse(item.lastAttemptAt),
    next: Date.parse(item.nextAttemptAt),
    plan: item.plan ?? "",
  };
  const texts = [row.who, row.contact, row.package, row.id, item.requestorId, item.statusText, item.cause];
  row.text = texts.join("\n").toLowerCase();
  return row;
}

/** Whether it is delivered, as a run knows. */
function isDelivered(row) {
  return row.run?.step === "done";
}

/** Whether a run is sending it, or Graph has accepted it. */
function isOnItsWay(row) {
  return ["waiting", "sending", "sent"].includes(row.run?.step);
}

/** Its place in the plan: the list's, until a run has changed it. */
function planOf(row) {
  if (isDelivered(row)) return "delivered";
  return isOnItsWay(row) ? "moving" : row.plan;
}

/** One reading of the list, page by page. */
class Reading {
  rows = [];
  byId = new Map();
  body = {}; // of the newest page, without its requests
  asOf = NaN;
  isWhole = false; // every page was read

  /** Add a page; a request that moved from one page to the next meanwhile counts once. */
  add({ value, ...body }) {
    for (const item of value ?? []) {
      if (this.byId.has(item.requestId)) continue;
      const row = rowOf(item, this.rows.length);
      this.byId.set(row.id, row);
      this.rows.push(row);
    }
    if (Number.isNaN(this.asOf)) this.asOf = Date.parse(body.asOf);
    this.body = body;
  }
}

class Model {
  #reading = new Reading();
  #outcomes = new Map(); // of runs, by request id
  #live = null;
  version = 0; // another one after each change

  /** Take a reading of the app, unless there is a newer one. Returns whether it was taken. */
  take(reading) {
    if (reading.asOf < this.asOf) return false;
    this.#reading = reading;
    for (const row of reading.rows) {
      const outcome = this.#outcomes.get(row.id);
      if (outcome && (outcome.isOpen || outcome.at > reading.asOf)) row.run = outcome;
    }
    this.#changed();
    return true;
  }

  /** Take what a run did to a request. */
  note(outcome) {
    this.#outcomes.set(outcome.row.id, outcome);
    const row = this.#reading.byId.get(outcome.row.id);
    if (row) row.run = outcome;
    this.#changed();
  }

  /** Let go of the delivered requests, which stay in their places while their run is shown. */
  dropDelivered() {
    const reading = this.#reading;
    reading.rows = reading.rows.filter((row) => !isDelivered(row));
    reading.byId = new Map(reading.rows.map((row) => [row.id, row]));
    this.#changed();
  }

  forget() {
    this.#reading = new Reading();
    this.#outcomes.clear();
    this.#changed();
  }

  /** Whatever the app says of the whole list, beside its requests. */
  get body() {
    return this.#reading.body;
  }

  get asOf() {
    return this.#reading.asOf;
  }

  get isWhole() {
    return this.#reading.isWhole;
  }

  /** All rows in the sweep's order, with those that were delivered since. */
  get rows() {
    return this.#reading.rows;
  }

  get byId() {
    return this.#reading.byId;
  }

  /** The rows that still fail, or are on their way. */
  get live() {
    this.#live ??= this.rows.filter((row) => !isDelivered(row));
    return this.#live;
  }

  /** How many have which plan; until every page was read, as the app counts them. */
  get counts() {
    if (!this.isWhole) return { ...this.body.counts };
    const counts = {};
    for (const row of this.live) counts[planOf(row)] = (counts[planOf(row)] ?? 0) + 1;
    return counts;
  }

  get total() {
    const counted = Object.values(this.counts).reduce((sum, n) => sum + n, 0);
    return this.isWhole ? this.live.length : Math.max(this.live.length, counted);
  }

  get dryRun() {
    return this.body.dryRun ?? this.body.lastSweep?.dryRun ?? false;
  }

  /** The page of the portal where the whole text of a failure is. */
  get portalUrl() {
    return /^https:\/\//.test(this.body.portalUrl ?? "") ? this.body.portalUrl : "";
  }

  /** The live rows whose windows close within this time from now. */
  closing(ms) {
    const now = appTime();
    return this.live.filter((row) => row.ends > now && row.ends <= now + ms);
  }

  #changed() {
    this.version += 1;
    this.#live = null;
  }
}
