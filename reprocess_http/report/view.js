// Which rows are wanted, and in which order. It is in the address's fragment, so that a view can be
// sent to a colleague; a fragment is never sent to a server.
// Not for: showing them.

const CLOSES = {
  "48h": ["closes within 48 hours", (left) => left > 0 && left <= 2 * DAY],
  "7d": ["closes within 7 days", (left) => left > 0 && left <= 7 * DAY],
  open: ["is open", (left) => left > 0],
  closed: ["has closed", (left) => left <= 0],
};

const KINDS = {
  removal: ["Removals", (row) => row.removal],
  add: ["Not removals", (row) => !row.removal],
};

const PERSON = "person"; // a plan of this page: those of NEED_A_PERSON together
const COLLATOR = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
const PLAN_ORDER = Object.keys(PLANS);
const ORDERS = {
  who: (row) => row.who,
  package: (row) => row.package,
  type: (row) => (row.removal ? "0" : "1") + row.type,
  state: (row) => stateName(row.run?.state || row.state),
  left: (row) => row.ends,
  attempts: (row) => row.attempts,
  last: (row) => row.last,
  next: (row) => (row.plan === "due" ? 0 : row.next),
  plan: (row) => PLAN_ORDER.indexOf(row.plan),
};

const FILTERS = ["search", "cause", "plan", "package", "type", "state", "closes", "sort"];

/** What is wanted, as the fragment says it; what it does not know is left out. */
function wantedFrom(fragment) {
  const given = new URLSearchParams(fragment.replace(/^#/, ""));
  const wanted = Object.fromEntries(FILTERS.map((name) => [name, given.get(name) ?? ""]));
  if (!Object.hasOwn(PLANS, wanted.plan) && wanted.plan !== PERSON) wanted.plan = "";
  if (!Object.hasOwn(CLOSES, wanted.closes)) wanted.closes = "";
  if (!Object.hasOwn(ORDERS, wanted.sort.replace(/^-/, ""))) wanted.sort = "";
  return wanted;
}

function fragmentOf(wanted) {
  const said = new URLSearchParams(FILTERS.filter((name) => wanted[name]).map((name) => [name, wanted[name]]));
  return said.size ? `#${said}` : "";
}

function isFiltered(wanted) {
  return FILTERS.some((name) => name !== "sort" && wanted[name]);
}

/** The filters in words, for paper: it shows no controls. */
function viewWords(wanted, causes, packages) {
  const { search, cause, plan, package: packageId, type, state, closes } = wanted;
  return [
    search && `search: ${search}`,
    cause && `cause: ${causes.find((one) => one.id === cause)?.title ?? cause}`,
    plan && `plan: ${plan === PERSON ? "needs a person" : planName(plan)}`,
    packageId && `package: ${packages.find((one) => one.id === packageId)?.name ?? packageId}`,
    type && `type: ${KINDS[type]?.[0] ?? worded(TYPES, type)}`,
    state && `state: ${stateName(state)}`,
    closes && `window ${CLOSES[closes][0]}`,
  ].filter(Boolean).join("; ");
}

/** The wanted rows in the wanted order; the sweep's own order where none is wanted. */
function chosen(rows, wanted) {
  const words = wanted.search.toLowerCase().split(/\s+/).filter(Boolean);
  const now = appTime();
  const closes = CLOSES[wanted.closes]?.[1];
  const plans = wanted.plan === PERSON ? NEED_A_PERSON : [wanted.plan];
  const isKind = Object.hasOwn(KINDS, wanted.type) ? KINDS[wanted.type][1] : (row) => row.type === wanted.type;
  const found = rows.filter(
    (row) =>
      (!wanted.cause || row.causeId === wanted.cause) &&
      (!wanted.plan || plans.includes(row.plan)) &&
      (!wanted.package || row.packageId === wanted.package) &&
      (!wanted.state || row.state === wanted.state) &&
      (!wanted.type || isKind(row)) &&
      (!closes || closes(row.ends - now)) &&
      words.every((word) => row.text.includes(word)),
  );
  return ordered(found, wanted.sort);
}

/** Sort by one column; what is not known comes last either way, equal ones as the sweep goes. */
function ordered(rows, sort) {
  if (!sort) return rows;
  const down = sort.startsWith("-") ? -1 : 1;
  const key = ORDERS[sort.replace(/^-/, "")];
  const keyed = rows.map((row) => [key(row), row]);
  keyed.sort(([a, one], [b, other]) => {
    if (typeof a === "string") return down * COLLATOR.compare(a, b) || one.position - other.position;
    if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b) || one.position - other.position;
    return down * (a - b) || one.position - other.position;
  });
  return keyed.map(([, row]) => row);
}

/** The access packages of these rows, most rows first. */
function packagesOf(rows) {
  const found = new Map();
  for (const row of rows) {
    if (!found.has(row.packageId)) found.set(row.packageId, { id: row.packageId, name: row.package, rows: [] });
    found.get(row.packageId).rows.push(row);
  }
  return [...found.values()].sort((one, other) => other.rows.length - one.rows.length || COLLATOR.compare(one.name, other.name));
}
