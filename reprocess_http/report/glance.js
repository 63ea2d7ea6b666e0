// What matters first: how many fail, whose time runs out, who still has access, the last sweep,
// and whatever makes this list less than the truth.
// Not for: the charts and the table.

function showGlance(list, wanted) {
  const soon = list.closing(2 * DAY).length;
  const removals = list.rows.filter((row) => row.removal).length;
  const plus = list.whole ? "" : "+"; // more may come
  const { due = 0, cooling = 0, exhausted = 0, expired = 0, excluded = 0 } = list.counts;
  tile("failing", number(list.total), list.total === 1 ? "request fails now" : "requests fail now", [
    due && `${number(due)} due`,
    cooling && `${number(cooling)} cooling down`,
    exhausted + expired + excluded && `${number(exhausted + expired + excluded)} need a person`,
  ]);
  tile("closing", number(soon) + plus, `${soon === 1 ? "window closes" : "windows close"} within 48 hours`, [
    "after that, only asking anew helps",
  ]);
  tile("removals", number(removals) + plus, removals === 1 ? "removal failed" : "removals failed", [
    removals ? "somebody still has access" : "nobody keeps access by that",
  ]);
  mark(byId("closing-tile"), "aria-pressed", String(wanted.closes === "48h"));
  mark(byId("removals-tile"), "aria-pressed", String(wanted.type === "removal"));
  byId("closing-tile").classList.toggle("bad", soon > 0);
  byId("removals-tile").classList.toggle("bad", removals > 0);
  showSweep(list.lastSweep, list.now());
  byId("notes").replaceChildren(...notes(list).map((text) => el("p", { class: "note" }, text)));
  const nothing = list.whole && !list.rows.length;
  show(byId("nothing"), nothing && list.complete);
  show(byId("some"), !nothing);
}

function tile(name, figure, label, more) {
  say(byId(name), figure);
  say(byId(`${name}-label`), label);
  say(byId(`${name}-more`), more.filter(Boolean).join(", "));
}

function showSweep(sweep, now) {
  show(byId("dry-run"), Boolean(sweep?.dryRun));
  if (!sweep) {
    say(byId("sweep"), "never");
    say(byId("sweep-more"), "No sweep has ended yet. If this stays so, look at the timer and at GET /api/diagnosis.");
    return;
  }
  say(byId("sweep"), ago(now - Date.parse(sweep.at)));
  say(byId("sweep-more"), sweepText(sweep));
  byId("sweep").title = dateTime(Date.parse(sweep.at));
}

/** What came of a sweep, in one sentence; what is nought is left out. */
function sweepText(sweep) {
  const said = (n, text) => n > 0 && `${number(n)} ${text}`;
  if (sweep.dryRun) return `${number(sweep.due ?? 0)} were due; nothing was changed.`;
  const came = [
    said(sweep.accepted, "accepted"),
    said(sweep.refused, "refused"),
    said(sweep.failed, "not taken"),
    said(sweep.postponed, "left for the next one"),
  ].filter(Boolean);
  const tried = sweep.due ? `Of ${number(sweep.due)} due: ${came.join(", ") || "none tried"}.` : "Nothing was due.";
  return sweep.delivered > 0 ? `${tried} ${number(sweep.delivered)} delivered since the one before.` : tried;
}

/** What the reader has to know about the list before believing it. */
function notes(list) {
  const found = [];
  if (list.lastSweep?.problem) found.push(`The last sweep had a problem: ${list.lastSweep.problem}`);
  if (!list.complete) {
    const where = list.unlisted.length ? ` Missing: access package ${list.unlisted.join(", ")}.` : "";
    found.push(`This list is not whole: Graph did not give all of it. ${list.detail}${where}`);
  }
  return found;
}
