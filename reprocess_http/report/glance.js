// What matters at first sight: how many fail, whose time runs out, who still has access, the next
// sweep, and whatever makes this list less than the truth.
// Not for: causes, charts and the table.

function showGlance(model, wanted) {
  const { counts, isWhole, total } = model;
  const soon = model.closing(2 * DAY).length;
  const removals = model.live.filter((row) => row.removal).length;
  const people = NEED_A_PERSON.reduce((sum, plan) => sum + (counts[plan] ?? 0), 0);
  const plus = isWhole ? "" : "+"; // more may come
  tile("failing", number(total), total === 1 ? "failed request" : "failed requests", [
    counts.due && `${number(counts.due)} due`,
    counts.cooling && `${number(counts.cooling)} cooling down`,
    counts.moving && `${number(counts.moving)} on their way`,
  ]);
  show(byId("people"), people > 0);
  say(byId("people"), `${number(people)} ${people === 1 ? "needs" : "need"} a person`);
  mark(byId("people"), "aria-pressed", String(wanted.plan === PERSON));
  tile("closing", number(soon) + plus, `${soon === 1 ? "window closes" : "windows close"} within 48 hours`, [
    "after that the user must request again",
  ]);
  tile("removals", number(removals) + plus, removals === 1 ? "removal failed" : "removals failed", [
    removals === 1 ? "a user still has access" : removals ? "users still have access" : "no user keeps access by that",
  ]);
  mark(byId("closing-tile"), "aria-pressed", String(wanted.closes === "48h"));
  mark(byId("removals-tile"), "aria-pressed", String(wanted.type === "removal"));
  byId("closing-tile").classList.toggle("bad", soon > 0);
  byId("removals-tile").classList.toggle("bad", removals > 0);
  showSweep(model);
  showNotes(model);
}

function tile(name, figure, label, more) {
  say(byId(name), figure);
  say(byId(`${name}-label`), label);
  say(byId(`${name}-more`), more.filter(Boolean).join(", "));
}

/** The next sweep, and whether it will do anything: dry, overdue and stopped ones are warnings. */
function showSweep(model) {
  const { lastSweep, nextSweepAt, sweepOverdue } = model.body;
  const next = Date.parse(nextSweepAt);
  const left = next - appTime();
  const last = lastSweep ? `Last: ${ago(appTime() - Date.parse(lastSweep.at))}. ${sweepText(lastSweep)}` : "No sweep has ended yet.";
  let [tag, figure, more] = ["", left > 0 ? `in ${span(left)}` : "due now", last];
  if (Number.isNaN(next)) {
    [tag, figure] = ["Not scheduled", "none"];
    more = `The app does not know when a sweep runs: look at SWEEP_SCHEDULE. ${last}`;
  }
  if (sweepOverdue) {
    [tag, figure] = ["Overdue", `none for ${span(appTime() - Date.parse(lastSweep?.at))}`];
    more = `Nothing is reprocessed by itself: no sweep has ended since ${dateTime(Date.parse(lastSweep?.at))}. Look at the timer and at GET /api/diagnosis.`;
  } else if (model.dryRun) {
    tag = "Dry run";
    more = `Sweeps only look: nothing is reprocessed by itself (SWEEP_DRY_RUN). ${last}`;
  } else if (lastSweep?.problem) {
    tag = "Had a problem";
  }
  say(byId("sweep"), figure);
  say(byId("sweep-more"), more);
  say(byId("sweep-tag"), tag);
  show(byId("sweep-tag"), Boolean(tag));
  byId("sweep-tile").classList.toggle("warning", Boolean(tag));
}

/** The counts of a sweep in one sentence; zeros are left out. */
function sweepText(sweep) {
  const said = (n, text) => n > 0 && `${number(n)} ${text}`;
  if (sweep.dryRun) return `${number(sweep.due ?? 0)} were due; nothing was changed.`;
  const parts = [
    said(sweep.accepted, "accepted"),
    said(sweep.refused, "refused"),
    said(sweep.denied, "denied"),
    said(sweep.failed, "failed"),
    said(sweep.unknown, "not known"),
    said(sweep.postponed, "left to the next one"),
  ].filter(Boolean);
  const tried = sweep.due ? `Of ${number(sweep.due)} due: ${parts.join(", ") || "none tried"}.` : "Nothing was due.";
  return sweep.delivered > 0 ? `${tried} ${number(sweep.delivered)} delivered since the one before.` : tried;
}

/** What the reader has to know about the list before believing it. */
function showNotes({ body }) {
  const found = [];
  if (body.lastSweep?.problem) found.push(`The last sweep had a problem: ${body.lastSweep.problem}`);
  if (body.listComplete === false) {
    const where = body.unlisted?.length ? ` Missing: access package ${body.unlisted.join(", ")}.` : "";
    found.push(`This list is incomplete: Graph did not give all of it. ${body.detail ?? ""}${where}`);
  }
  const shown = [...byId("notes").children].map((one) => one.textContent);
  if (shown.join("\n") === found.join("\n")) return;
  byId("notes").replaceChildren(...found.map((text) => el("p", { class: "note" }, text)));
}
