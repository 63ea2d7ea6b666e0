// Puts the parts together: which of the page's views is shown, when the list is read, what is wanted.
// Not for: anything that has a file of its own.

const RETRY_SECONDS = 10; // after a lost connection
const READ_EVERY = 10 * MINUTE; // while the tab is visible
const AFTER_SWEEP = MINUTE; // most sweeps have ended by then
const CACHE = 31 * SECOND; // after which the app reads a new list

const model = new Model();
let wanted = wantedFrom(location.hash);
let loading = false;
let reading = new AbortController(); // of the list
let readAt = Infinity; // when the list is to be read again, in the app's time
let again = load; // what the button beside a problem does
let tryAgain; // timer of the next try after one that failed
let typing; // timer of a search that is being typed
let drawn = ""; // the model and the minute that causes and charts show
let causes = [];

const render = oncePerFrame(showAll);
const run = new Run(
  (entries) => {
    for (const entry of entries) model.note(entry);
    panel.changed();
    if (entries.length) render();
  },
  () => {
    readAt = Math.min(readAt, appTime() + CACHE); // the first one may be from the app's cache
    load();
  },
);
const panel = new Panel(run);
const table = new Table(byId("table"), {
  sort: (column) => want({ sort: { "": column, [column]: `-${column}` }[wanted.sort] ?? (wanted.sort === `-${column}` ? "" : column) }),
  select: showSelection,
  reprocess: (row) => start([row]),
  more: async (row) => (await details(row, model.portalUrl)) && start([row]),
});
const causeList = new Causes(byId("causes"), {
  reprocess: (rows) => start(rows),
  choose: (id) => want({ cause: wanted.cause === id ? "" : id }),
});

// -- views --

function view(name) {
  for (const one of ["loading", "door", "problem", "list"]) show(byId(one), one === name);
  show(byId("tools"), name === "list");
}

/** Read the list. The first reading is shown page by page, a later one when it is whole. */
async function load() {
  if (loading) return;
  loading = true;
  clearInterval(tryAgain);
  mark(byId("main"), "aria-busy", "true");
  byId("refresh").disabled = true;
  const hadList = !byId("list").hidden;
  if (!hadList) view("loading");
  const slow = setTimeout(() => show(byId("slow")), 5000);
  const fresh = new Reading();
  const { signal } = reading;
  try {
    for await (const page of listPages(signal)) {
      if (signal.aborted) return;
      fresh.add(page);
      if (hadList) continue;
      model.take(fresh);
      showList();
    }
    fresh.isWhole = true;
    takeWhole(fresh, hadList);
  } catch (problem) {
    if (signal.aborted) return;
    if (!(problem instanceof Problem)) throw problem;
    if (problem.name === "unauthorized") showDoor();
    else if (hadList || fresh.rows.length) showBroken(problem);
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

function takeWhole(fresh, hadList) {
  const before = new Set(model.live.map((row) => row.id));
  show(byId("broken"), false);
  const isNews = model.take(fresh);
  if (isNews) run.compare(fresh);
  const sweep = Date.parse(fresh.body.nextSweepAt) + AFTER_SWEEP;
  const needed = run.of("sent").some((entry) => entry.at >= fresh.asOf) ? CACHE : READ_EVERY;
  readAt = Math.min(appTime() + needed, sweep > appTime() ? sweep : Infinity);
  showList();
  if (!isNews) return;
  const left = [...before].filter((id) => !model.byId.has(id)).length;
  const more = model.live.filter((row) => !before.has(row.id)).length;
  if (!hadList) announce(`${count(model.live.length, "failed request")} read`);
  else if (left || more) announce(`List read again: ${number(more)} more, ${number(left)} fewer`);
}

/** Read again what the clock says is out of date, while the reader can see it. */
function tick() {
  if (document.hidden || byId("list").hidden) return;
  if (appTime() >= readAt && !run.isSending) load();
  render();
}

function showList() {
  if (byId("list").hidden) {
    view("list");
    byId("title").focus(); // what had the focus is gone
  }
  showAll();
  table.select([...table.selected].filter((id) => model.byId.has(id)));
}

/** Show the model as it is now. */
function showAll() {
  if (byId("list").hidden) return;
  const nothing = model.isWhole && !model.live.length && !panel.isOpen;
  show(byId("nothing"), nothing && model.body.listComplete !== false);
  show(byId("some"), !nothing);
  const current = `${model.version} ${Math.floor(appTime() / MINUTE)}`;
  if (drawn !== current) {
    drawn = current;
    causes = causesOf(model, keptCauses(), causes);
    drawDays(byId("days"), model);
    drawPackages(byId("packages"), packagesOf(model.live), (id) => {
      want({ package: wanted.package === id ? "" : id });
      byId("table-title").focus();
    });
  }
  causeList.draw(causes, keptCauses(), wanted.cause, model.portalUrl);
  showGlance(model, wanted);
  showPlans();
  showChoices();
  showRows();
  showAge();
}

/** Causes that stay while the filter or a run that is shown is about them. */
function keptCauses() {
  return [...new Set([wanted.cause, ...[...run.entries.values()].map((entry) => entry.row.causeId)])].filter(Boolean);
}

function showDoor() {
  clearInterval(tryAgain);
  const way = document.body.dataset.signIn;
  for (const one of ["key", "account", "none"]) show(byId(`by-${one}`), one === way);
  const wrong = functionKey !== "";
  functionKey = "";
  forget();
  view("door");
  say(byId("key-wrong"), wrong ? "The app did not accept this key." : "");
  mark(byId("key"), "aria-invalid", String(wrong));
  byId(wrong ? "key" : "door-title").focus();
}

/** Leave nothing of the list in the page: the next user may be another one. */
function forget() {
  reading.abort();
  reading = new AbortController();
  readAt = Infinity;
  run.clear();
  panel.close();
  model.forget();
  table.show([], "");
  table.select([]);
  causes = [];
  causeList.draw([], [], "", "");
  for (const id of ["days", "packages", "notes", "plans", "more-facts", "more-attempts", "tip"]) byId(id).replaceChildren();
  say(byId("as-of"), "");
  show(byId("broken"), false);
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
  readAt = appTime() + READ_EVERY;
  if (!left) return;
  const step = () => {
    if (document.hidden) return;
    if (left === 0) load();
    else say(byId("again"), `Try again (by itself in ${left} s)`);
    left -= 1;
  };
  step();
  tryAgain = setInterval(step, SECOND);
}

/** The view is the same after signing in: the fragment waits in this tab meanwhile. */
function signIn() {
  sessionStorage.setItem("view", location.hash);
  location.assign("/.auth/login/aad?post_login_redirect_uri=%2Fapi%2Freport");
}

/** A problem while there is a list to look at: it stays, below one banner. */
function showBroken(problem) {
  const why = problem.detail || problemAdvice(problem.name);
  const rest = model.isWhole ? `This is the list of ${CLOCK.format(model.asOf)}.` : `Only ${number(model.rows.length)} of ${number(model.total)} were read.`;
  say(byId("broken"), `The list could not be read: ${problemTitle(problem.name)}. ${why} ${rest}`);
  show(byId("broken"));
}

function showAge() {
  if (Number.isNaN(model.asOf)) return;
  const part = model.isWhole ? "" : ` – ${number(model.rows.length)} of ${number(model.total)} read …`;
  say(byId("as-of"), `as of ${CLOCK.format(model.asOf)}, ${ago(appTime() - model.asOf)}${part}`);
}

// -- what is wanted --

function want(change) {
  clearTimeout(typing); // what is typed already counts, too
  wanted = { ...wanted, search: byId("search").value.trim(), ...change };
  if (byId("search").value.trim() !== wanted.search) byId("search").value = wanted.search;
  // Not a step of the history each: *Back* leaves the page, as the reader expects.
  history.replaceState(null, "", location.pathname + fragmentOf(wanted));
  showAll();
  if (isFiltered(wanted)) announce(byId("shown").textContent);
}

function showRows() {
  const rows = chosen(model.rows, wanted);
  table.show(rows, wanted.sort);
  const filtered = isFiltered(wanted);
  const order = wanted.sort ? "" : ", in the sweep's order";
  say(byId("shown"), filtered ? `${number(rows.length)} of ${count(model.rows.length, "request")} shown` : `${count(rows.length, "request")}${order}`);
  show(byId("clear"), filtered);
  show(byId("no-match"), !rows.length && model.rows.length > 0);
  showSelection();
}
