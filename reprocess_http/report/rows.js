// The failed requests as rows, which of them are wanted, and in which order.
// Not for: showing them. What is wanted is in the address's fragment, so that a view can be shared;
// a fragment is never sent anywhere.

const NONE = "none"; // the package of a request that has none: Graph shows removals so

/** One failed request; `run` is what the reader's own reprocess of it has come to, if there is one. */
function rowOf(item, position) {
  const name = item.requestorName || item.requestorEmail;
  const row = {
    item,
    position,
    id: item.requestId,
    who: name || "Requestor not told",
    contact: (item.requestorName && item.requestorEmail) || item.requestorId || item.requestId,
    package: item.accessPackageName || (item.accessPackageId ? `Package ${item.accessPackageId}` : "Package not told"),
    packageId: item.accessPackageId ?? NONE,
    type: item.requestType ?? "",
    removal: Boolean(item.removal),
    state: item.state ?? "",
    ends: Date.parse(item.windowEndsAt),
    attempts: item.attempts ?? 0,
    last: Date.parse(item.lastAttemptAt),
    next: Date.parse(item.nextAttemptAt),
    plan: item.plan ?? "",
    run: null,
  };
  const texts = [row.who, row.contact, row.package, row.id, item.requestorId, item.statusText, item.lastRefusal];
  row.text = texts.join("\n").toLowerCase();
  return row;
}

/** All that was read of the list. The app's clock counts, not the reader's. */
class List {
  rows = [];
  byId = new Map();
  counts = {};
  lastSweep = null;
  whole = false; // every page was read
  complete = true; // Graph gave all of it
  detail = "";
  unlisted = [];
  asOf = NaN;
  #readAt = 0;

  /** Add a page; a request that moved from one page to the next meanwhile counts once. */
  add(page) {
    for (const item of page.value ?? []) {
      if (this.byId.has(item.requestId)) continue;
      const row = rowOf(item, this.rows.length);
      this.byId.set(row.id, row);
      this.rows.push(row);
    }
    if (Number.isNaN(this.asOf)) {
      this.asOf = Date.parse(page.asOf);
      this.#readAt = performance.now();
    }
    this.counts = page.counts ?? {};
    this.lastSweep = page.lastSweep ?? null;
    this.complete = page.listComplete !== false;
    this.detail = page.detail ?? "";
    this.unlisted = page.unlisted ?? [];
  }

  get total() {
    return Math.max(this.rows.length, Object.values(this.counts).reduce((sum, n) => sum + n, 0));
  }

  now() {
    return Number.isNaN(this.asOf) ? Date.now() : this.asOf + performance.now() - this.#readAt;
  }

  /** The rows whose windows close within this time from now. */
  closing(ms) {
    const now = this.now();
    return this.rows.filter((row) => row.ends > now && row.ends <= now + ms);
  }
}

const CLOSES = {
  "48h": ["closes within 48 hours", (left) => left > 0 && left <= 2 * DAY],
  "7d": ["closes within 7 days", (left) => left > 0 && left <= 7 * DAY],
  open: ["is open", (left) => left > 0],
  closed: ["is closed", (left) => left <= 0],
};

const KINDS = {
  removal: ["Removals", (row) => row.removal],
  add: ["Not removals", (row) => !row.removal],
};

const COLLATOR = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
const PLAN_ORDER = Object.keys(PLANS);
const ORDERS = {
  who: (row) => row.who,
  package: (row) => row.package,
  type: (row) => (row.removal ? "0" : "1") + row.type,
  state: (row) => stateName(row.run?.state ?? row.state),
  left: (row) => row.ends,
  attempts: (row) => row.attempts,
  last: (row) => row.last,
  next: (row) => (row.plan === "due" ? 0 : row.next),
  plan: (row) => PLAN_ORDER.indexOf(row.plan),
};

const FILTERS = ["search", "plan", "package", "type", "state", "closes", "sort"];

/** What is wanted, as the fragment says it; what it does not know is left out. */
function wantedFrom(fragment) {
  const given = new URLSearchParams(fragment.replace(/^#/, ""));
  const wanted = Object.fromEntries(FILTERS.map((name) => [name, given.get(name) ?? ""]));
  if (!(wanted.plan in PLANS)) wanted.plan = "";
  if (!(wanted.closes in CLOSES)) wanted.closes = "";
  if (!(wanted.sort.replace("-", "") in ORDERS)) wanted.sort = "";
  return wanted;
}

function fragmentOf(wanted) {
  const said = new URLSearchParams(FILTERS.filter((name) => wanted[name]).map((name) => [name, wanted[name]]));
  return said.size ? `#${said}` : "";
}

function isFiltered(wanted) {
  return FILTERS.some((name) => name !== "sort" && wanted[name]);
}

/** What the app itself can filter by, for a file of the same rows. */
function queryOf(wanted) {
  const query = new URLSearchParams();
  const asked = { plan: wanted.plan, state: wanted.state, accessPackage: wanted.package, type: wanted.type };
  for (const [name, value] of Object.entries(asked)) if (value && ![NONE, "add"].includes(value)) query.set(name, value);
  return query;
}

/** The wanted rows in the wanted order; the sweep's own order where none is wanted. */
function chosen(list, wanted) {
  const words = wanted.search.toLowerCase().split(/\s+/).filter(Boolean);
  const now = list.now();
  const closes = CLOSES[wanted.closes]?.[1];
  const kind = KINDS[wanted.type]?.[1] ?? ((row) => !wanted.type || row.type === wanted.type);
  const rows = list.rows.filter(
    (row) =>
      (!wanted.plan || row.plan === wanted.plan) &&
      (!wanted.package || row.packageId === wanted.package) &&
      (!wanted.state || row.state === wanted.state) &&
      kind(row) &&
      (!closes || closes(row.ends - now)) &&
      words.every((word) => row.text.includes(word)),
  );
  return ordered(rows, wanted.sort);
}

/** Sort by one column; what is not known comes last either way, equal ones as the sweep goes. */
function ordered(rows, sort) {
  if (!sort) return rows;
  const down = sort.startsWith("-") ? -1 : 1;
  const key = ORDERS[sort.replace("-", "")];
  const keyed = rows.map((row) => [key(row), row]);
  keyed.sort(([a, one], [b, other]) => {
    if (typeof a === "string") return down * COLLATOR.compare(a, b) || one.position - other.position;
    if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b) || one.position - other.position;
    return down * (a - b) || one.position - other.position;
  });
  return keyed.map(([, row]) => row);
}
