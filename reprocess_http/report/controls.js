// The controls above the table and what each control of the page does. The last part: it starts the page.
// Not for: what it takes to do it.

const SEARCH_PAUSE = 120; // ms after the last key before the rows are chosen anew
const TICK = 20 * SECOND; // after which "5 minutes ago" is written anew

let choices = {}; // of the filters
let choicesOf = -1; // version of the model that these are of

function showPlans() {
  const { counts } = model;
  const people = NEED_A_PERSON.reduce((sum, plan) => sum + (counts[plan] ?? 0), 0);
  const named = (plan) => [plan, PLANS[plan].name, counts[plan] ?? 0];
  const chips = [["", "All", model.total], named("due"), named("cooling"), [PERSON, "Need a person", people], ...NEED_A_PERSON.map(named)];
  if (byId("plans").childElementCount !== chips.length) {
    byId("plans").replaceChildren(
      ...chips.map(([plan, name]) => {
        const chip = el("button", { type: "button" }, plan && plan !== PERSON ? swatch(plan) : "", `${name} `, el("b"));
        chip.addEventListener("click", () => want({ plan }));
        return chip;
      }),
    );
  }
  chips.forEach(([plan, , n], place) => {
    const chip = byId("plans").children[place];
    mark(chip, "aria-pressed", String(wanted.plan === plan));
    say(chip.querySelector("b"), number(n));
    show(chip, n > 0 || wanted.plan === plan || !NEED_A_PERSON.includes(plan));
  });
  const cause = causes.find((one) => one.id === wanted.cause);
  show(byId("by-cause"), Boolean(wanted.cause));
  say(byId("by-cause-name"), cause?.title ?? wanted.cause);
}

function showChoices() {
  if (choicesOf !== model.version) {
    choicesOf = model.version;
    const present = (key) => [...new Set(model.rows.map(key))].filter(Boolean).sort(COLLATOR.compare);
    const packages = packagesOf(model.rows).map((one) => [one.id, one.name]);
    packages.sort((one, other) => COLLATOR.compare(one[1], other[1]));
    const kinds = Object.entries(KINDS).map(([kind, [name]]) => [kind, name]);
    choices = {
      package: packages,
      type: [...kinds, ...present((row) => row.type).map((type) => [type, worded(TYPES, type)])],
      state: present((row) => row.state).map((state) => [state, stateName(state)]),
      closes: Object.entries(CLOSES).map(([name, [text]]) => [name, text]),
    };
  }
  for (const [name, offered] of Object.entries(choices)) fillSelect(byId(name), [["", "Any"], ...offered], wanted[name]);
  const orders = Object.entries(COLUMNS).flatMap(([column, name]) => [[column, name], [`-${column}`, `${name}, falling`]]);
  fillSelect(byId("sort"), [["", "The sweep's order"], ...orders], wanted.sort);
}

function showSelection() {
  const n = table.selected.size;
  show(byId("selection"), n > 0);
  const hidden = n - table.rows.filter((row) => table.selected.has(row.id)).length;
  say(byId("selected"), `${number(n)} selected${hidden ? `, ${number(hidden)} of them not shown` : ""}`);
  say(byId("reprocess-selected"), `Reprocess ${number(n)} …`);
}

async function start(rows) {
  if (!rows.length || !(await confirmed(rows, model.dryRun))) return;
  if (!run.isSending && !run.isFollowing) closeRun();
  run.add(rows);
  panel.open();
  table.select([...table.selected].filter((id) => !run.entries.has(id)));
}

function closeRun() {
  run.clear();
  panel.close();
  model.dropDelivered();
  render();
}

byId("by-key").addEventListener("submit", (event) => {
  event.preventDefault();
  functionKey = byId("key").value.trim();
  byId("key").value = "";
  load();
});
byId("sign-in").addEventListener("click", signIn);
byId("again").addEventListener("click", () => again());
byId("leave").addEventListener("click", () => {
  if (!functionKey) return location.assign("/.auth/logout?post_logout_redirect_uri=%2Fapi%2Freport");
  functionKey = "";
  showDoor();
});
byId("refresh").addEventListener("click", load);
byId("download").addEventListener("click", () => {
  saveCsv(table.rows, model, isFiltered(wanted));
  announce(`${count(table.rows.length, "row")} saved`);
});
addEventListener("beforeprint", () => {
  const words = viewWords(wanted, causes, packagesOf(model.rows));
  writePaperHead(model, words, byId("shown").textContent);
});
byId("skip").addEventListener("click", () => byId("table-title").focus());
byId("people").addEventListener("click", () => want({ plan: wanted.plan === PERSON ? "" : PERSON }));
byId("closing-tile").addEventListener("click", () => want({ closes: wanted.closes === "48h" ? "" : "48h" }));
byId("removals-tile").addEventListener("click", () => want({ type: wanted.type === "removal" ? "" : "removal" }));
byId("by-cause").addEventListener("click", () => {
  want({ cause: "" });
  byId("search").focus(); // this button is gone now
});
byId("clear").addEventListener("click", () => {
  want({ ...wantedFrom(""), sort: wanted.sort });
  byId("search").focus();
});
byId("search").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => want({}), SEARCH_PAUSE);
});
for (const name of ["package", "type", "state", "closes", "sort"]) {
  byId(name).addEventListener("change", () => want({ [name]: byId(name).value }));
}
byId("reprocess-selected").addEventListener("click", () => start(model.rows.filter((row) => table.selected.has(row.id))));
byId("clear-selection").addEventListener("click", () => {
  table.select([]);
  byId("table-title").focus();
});
byId("run-close").addEventListener("click", () => {
  closeRun();
  byId("table-title").focus();
});
addEventListener("hashchange", () => want(wantedFrom(location.hash)));
addEventListener("beforeunload", (event) => run.hasUnsent && event.preventDefault());
addEventListener("online", () => byId("broken").hidden || load());
document.addEventListener("visibilitychange", tick);
setInterval(tick, TICK);

// On a phone charts and filters are folded, so that the table is near.
const isNarrow = matchMedia("(max-width: 700px)");
const fold = () => document.querySelectorAll(".folded").forEach((part) => (part.open = !isNarrow.matches));
isNarrow.addEventListener("change", fold);
fold();

new Tip();
byId("words").append(...Object.values(PLANS).flatMap(({ name, means }) => [el("dt", {}, name), el("dd", {}, means)]));
const kept = sessionStorage.getItem("view"); // from before signing in
sessionStorage.removeItem("view");
if (kept && !location.hash) wanted = wantedFrom(kept);
// `make run` prints an address with #key=…, which no server sees. It counts on this machine only.
const LOOPBACK = ["localhost", "127.0.0.1", "[::1]"];
if (LOOPBACK.includes(location.hostname)) functionKey = new URLSearchParams(location.hash.slice(1)).get("key") ?? "";
// Whoever opened the page with ?code=… by habit: no key may stay in the address.
history.replaceState(null, "", location.pathname + fragmentOf(wanted));
byId("search").value = wanted.search;
if (document.body.dataset.signIn === "key" && !functionKey) showDoor();
else load();
