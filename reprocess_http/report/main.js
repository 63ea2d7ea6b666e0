// Puts the parts together: which of the page's views is shown, and what is wanted of the list.
// Not for: anything that has a file of its own.

const RETRY_SECONDS = 10; // after a lost connection

let list = new List();
let wanted = wantedFrom(location.hash);
let loading = false;
let reading = new AbortController(); // of the list
let again = load; // what the button beside a problem does
let tryAgain; // timer of the next try after one that failed
let typing; // timer of a search that is being typed

// What the reader's own reprocesses came to, by request id: the app keeps a list for half a minute,
// so that one which was read before may still show the old failure.
const outcomes = new Map();

const panel = new Panel();
const run = new Run((entry) => {
  panel.changed(entry);
  if (!entry) return;
  outcomes.set(entry.row.id, { entry, at: list.now() });
  table.paintOne(entry.row);
});
const table = new Table(byId("table"), () => list.now(), {
  sort: (column) => want({ sort: { "": column, [column]: `-${column}` }[wanted.sort] ?? (wanted.sort === `-${column}` ? "" : column) }),
  select: showSelection,
  reprocess: (row) => start([row]),
  more: async (row) => (await details(row, list.now())) && start([row]),
});

// -- views --

function view(name) {
  for (const one of ["loading", "door", "problem", "list"]) show(byId(one), one === name);
  show(byId("tools"), name === "list");
}

/** Read the list from the begin; what is there stays until the new one has begun. */
async function load() {
  if (loading) return;
  loading = true;
  clearInterval(tryAgain);
  mark(byId("main"), "aria-busy", "true");
  byId("refresh").disabled = true;
  const hadList = !byId("list").hidden;
  if (!hadList) view("loading");
  const slow = setTimeout(() => show(byId("slow")), 5000);
  const fresh = new List();
  const { signal } = reading;
  try {
    for await (const page of listPages(signal)) {
      if (signal.aborted) return;
      fresh.add(page);
      list = fresh;
      showList();
    }
    fresh.whole = true;
    showList();
    announce(`${count(list.rows.length, "failed request")} read`);
  } catch (problem) {
    if (signal.aborted) return;
    if (!(problem instanceof Problem)) throw problem;
    if (problem.name === "unauthorized") showDoor();
    else if (hadList || fresh.rows.length) showBroken(problem, "The list could not be read", howOld());
    else showProblem(problem);
    if (problem.name !== "unauthorized") tryAgainAfter(problem);
  } finally {
    clearTimeout(slow);
    show(byId("slow"), false);
    loading = false;
    mark(byId("main"), "aria-busy", "false");
    byId("refresh").disabled = false;
  }
}

function showList() {
  if (byId("list").hidden) {
    view("list");
    byId("title").focus(); // what had the focus is gone
  }
  for (const [id, { entry, at }] of outcomes) {
    const row = list.byId.get(id);
    if (row && at > list.asOf) Object.assign(row, { run: entry });
    if (row) entry.row = row;
  }
  say(byId("leave"), functionKey ? "Forget the key" : "Sign out");
  showPlans();
  showChoices();
  showGlance(list, wanted);
  drawDays(byId("days"), list);
  drawPackages(byId("packages"), list, (id) => {
    want({ package: wanted.package === id ? "" : id });
    byId("table-title").focus();
  });
  showRows();
  showAge();
  table.select([...table.selected].filter((id) => list.byId.has(id)));
}

function showDoor() {
  clearInterval(tryAgain);
  const wrong = functionKey !== "";
  functionKey = "";
  forget();
  view("door");
  say(byId("key-wrong"), wrong ? "The app did not accept this key." : "");
  mark(byId("key"), "aria-invalid", String(wrong));
  byId(wrong ? "key" : "door-title").focus();
}

/** Leave nothing of the list in the page: whoever comes next may be somebody else. */
function forget() {
  reading.abort();
  reading = new AbortController();
  run.clear();
  outcomes.clear();
  panel.close();
  list = new List();
  table.show([], "");
  table.select([]);
  for (const id of ["days", "packages", "notes", "plans"]) byId(id).replaceChildren();
  say(byId("as-of"), "");
}

function showProblem(problem) {
  view("problem");
  say(byId("problem-title"), problemTitle(problem.name));
  say(byId("problem-advice"), problemAdvice(problem.name));
  say(byId("problem-detail"), problem.detail);
  say(byId("problem-instance"), problem.instance && `Correlation id in the app's log: ${problem.instance}`);
  const isStranger = problem.name === "forbidden"; // a function key does not help
  again = isStranger ? signIn : load;
  say(byId("again"), isStranger ? "Sign in again" : "Try again");
  byId("problem-title").focus();
}

/** Where waiting helps, read the list anew when it is over. */
function tryAgainAfter(problem) {
  let left = Math.ceil(problem.wait) || (problem.name === "no-connection" ? RETRY_SECONDS : 0);
  if (!left) return;
  const tick = () => {
    if (left === 0) load();
    else say(byId("again"), `Try again (by itself in ${left} s)`);
    left -= 1;
  };
  tick();
  tryAgain = setInterval(tick, 1000);
}

function signIn() {
  location.assign(byId("sign-in").href);
}

/** A problem while there is a list to look at: it stays. */
function showBroken(problem, what, then) {
  const why = problem.detail || problemAdvice(problem.name);
  const text = `${what}: ${problemTitle(problem.name)}. ${why} ${then}`.trim();
  byId("notes").prepend(el("p", { class: "note", role: "alert" }, text));
}

function howOld() {
  if (list.whole) return "This is the list from before.";
  return `Only ${number(list.rows.length)} of ${number(list.total)} were read.`;
}

function showAge() {
  if (Number.isNaN(list.asOf)) return;
  const part = list.whole ? "" : ` – ${number(list.rows.length)} of ${number(list.total)} read …`;
  say(byId("as-of"), `as of ${CLOCK.format(list.asOf)}, ${ago(list.now() - list.asOf)}${part}`);
}

// -- what is wanted --

function want(change) {
  clearTimeout(typing); // what is typed already counts, too
  wanted = { ...wanted, search: byId("search").value.trim(), ...change };
  // Not a step of the history each: *Back* leaves the page, as the reader expects.
  history.replaceState(null, "", location.pathname + fragmentOf(wanted));
  showChoices();
  showPlans();
  showGlance(list, wanted);
  showRows();
}

function showRows() {
  const rows = chosen(list, wanted);
  table.show(rows, wanted.sort);
  const filtered = isFiltered(wanted);
  say(byId("shown"), filtered ? `${number(rows.length)} of ${count(list.rows.length, "request")} shown` : `${count(rows.length, "request")}, in the sweep's order`);
  if (!filtered && wanted.sort) say(byId("shown"), count(rows.length, "request"));
  if (filtered) announce(byId("shown").textContent);
  show(byId("clear"), filtered);
  show(byId("no-match"), !rows.length && list.rows.length > 0);
}

function showPlans() {
  const chips = [["", "All", list.total], ...PLAN_ORDER.map((plan) => [plan, PLANS[plan].name, list.counts[plan] ?? 0])];
  if (byId("plans").childElementCount !== chips.length) {
    byId("plans").replaceChildren(
      ...chips.map(([plan, name]) => {
        const chip = el("button", { type: "button" }, plan && swatch(plan), `${name} `, el("b"));
        chip.addEventListener("click", () => want({ plan }));
        return chip;
      }),
    );
  }
  chips.forEach(([plan, , n], place) => {
    const chip = byId("plans").children[place];
    mark(chip, "aria-pressed", String(wanted.plan === plan));
    say(chip.querySelector("b"), number(n));
  });
}

function showChoices() {
  const present = (key) => [...new Set(list.rows.map(key))].filter(Boolean).sort(COLLATOR.compare);
  if (byId("search").value !== wanted.search) byId("search").value = wanted.search;
  const packages = packagesOf(list.rows).map((one) => [one.id, one.name]);
  packages.sort((one, other) => COLLATOR.compare(one[1], other[1]));
  fillSelect(byId("package"), [["", "Any"], ...packages], wanted.package);
  const kinds = Object.entries(KINDS).map(([kind, [name]]) => [kind, name]);
  const types = present((row) => row.type).map((type) => [type, worded(TYPES, type)]);
  fillSelect(byId("type"), [["", "Any"], ...kinds, ...types], wanted.type);
  fillSelect(byId("state"), [["", "Any"], ...present((row) => row.state).map((state) => [state, stateName(state)])], wanted.state);
  fillSelect(byId("closes"), [["", "Any"], ...Object.entries(CLOSES).map(([name, [text]]) => [name, text])], wanted.closes);
  const orders = Object.entries(COLUMNS).flatMap(([column, name]) => [[column, name], [`-${column}`, `${name}, falling`]]);
  fillSelect(byId("sort"), [["", "The sweep's order"], ...orders], wanted.sort);
}

function showSelection() {
  const n = table.selected.size;
  show(byId("selection"), n > 0);
  const hidden = n - chosen(list, wanted).filter((row) => table.selected.has(row.id)).length;
  say(byId("selected"), `${number(n)} selected${hidden ? `, ${number(hidden)} of them not shown` : ""}`);
  say(byId("reprocess-selected"), `Reprocess ${number(n)} …`);
}
