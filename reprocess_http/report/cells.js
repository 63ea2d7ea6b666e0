// One row of the table: its elements, and what each cell says.
// Not for: which rows there are, or where.

const COLUMNS = {
  who: "Requestor",
  package: "Access package",
  type: "Type",
  state: "State",
  left: "Time left",
  attempts: "Attempts",
  last: "Last attempt",
  next: "Next attempt",
  plan: "Plan",
};
const BUSY = { waiting: "Waiting", sending: "Sending", sent: "On its way", done: "Delivered" };

/** Make the elements of a row; `made.row` is the row that they show. */
function makeRow(on, tickRow) {
  const cells = {};
  const cell = (name, ...children) => (cells[name] = el("td", { role: "cell", class: name }, ...children));
  const two = () => [el("span", { class: "one cut", dir: "auto" }), el("span", { class: "two cut", dir: "auto" })];
  const tick = el("input", { type: "checkbox", class: "row-tick" });
  const more = el("button", { type: "button", class: "link one cut row-more", dir: "auto" });
  const act = el("button", { type: "button", class: "row-act" });
  cells.who = el("th", { role: "rowheader", scope: "row", class: "who" }, more, el("span", { class: "two cut", dir: "auto" }));
  for (const name of Object.keys(COLUMNS).slice(1)) cell(name, ...(name === "plan" ? [swatch("")] : []), ...two());
  const ticked = el("td", { role: "cell", class: "tick" }, el("label", {}, tick));
  const tr = el("tr", { role: "row" }, ticked, ...Object.keys(COLUMNS).map((name) => cells[name]), el("td", { role: "cell", class: "act" }, act));
  const texts = Object.entries(cells).map(([name, one]) => [name, one.querySelector(".one"), one.querySelector(".two")]);
  const made = { row: null, tr, tick, more, act, cells, texts };
  tick.addEventListener("click", (event) => tickRow(made.row, tick.checked, event.shiftKey));
  more.addEventListener("click", () => on.more(made.row));
  act.addEventListener("click", () => act.getAttribute("aria-disabled") !== "true" && on.reprocess(made.row));
  return made;
}

/** Write what has changed of a row. */
function paintRow({ row, tr, tick, more, act, cells, texts }, isSelected) {
  const now = appTime();
  const said = cellTexts(row, now);
  for (const [name, one, two] of texts) {
    say(one, said[name][0]);
    say(two, said[name][1]);
  }
  const whom = `${isolated(row.who)}, ${isolated(row.package)}`;
  const left = row.ends - now;
  const isFailed = !isDelivered(row);
  mark(more, "aria-label", `${isolated(row.who)}: details`);
  mark(cells.plan.querySelector(".swatch"), "class", `swatch ${planOf(row)}`);
  mark(cells.left, "class", isFailed && left > 0 && left <= 2 * DAY ? "left soon" : "left");
  mark(cells.type, "class", row.removal && isFailed ? "type removal" : "type");
  mark(cells.state, "class", `state ${row.run?.step ?? (row.state === "partiallyDelivered" ? "partly" : "failed")}`);
  mark(tr, "class", [isSelected && "selected", !isFailed && "gone"].filter(Boolean).join(" "));
  mark(tick, "aria-label", `Select ${whom}`);
  tick.checked = isSelected;
  const busy = Object.hasOwn(BUSY, row.run?.step ?? "") ? BUSY[row.run.step] : "";
  say(act, busy || "Reprocess");
  mark(act, "aria-label", `${busy || "Reprocess"}: ${whom}`);
  mark(act, "aria-disabled", String(Boolean(busy)));
}

/** What each cell says: what matters, and below it what explains it. */
function cellTexts(row, now) {
  const { item, run } = row;
  const left = row.ends - now;
  const plan = planOf(row);
  return {
    who: [row.who, row.contact],
    package: [row.package, ""],
    type: row.removal ? ["Removal", isDelivered(row) ? "" : "user still has access"] : ["Access", worded(TYPES, row.type)],
    state: [stateName(run?.state || row.state), run ? run.text : ownWords(item)],
    left: isDelivered(row) ? ["", ""] : [timeLeft(left), Number.isNaN(left) || left < 0 ? "" : `until ${dateTime(row.ends)}`],
    attempts: [number(row.attempts), ""],
    last: [Number.isNaN(row.last) ? "never" : ago(now - row.last), Number.isNaN(row.last) ? "" : worded(ATTEMPTS, item.lastOutcome)],
    next: nextTexts(row, now),
    plan: [{ moving: "On its way", delivered: "" }[plan] ?? planName(plan), ""],
  };
}

function nextTexts(row, now) {
  if (isDelivered(row) || isOnItsWay(row)) return ["", ""];
  if (row.plan === "due") return ["next sweep", ""];
  if (Number.isNaN(row.next)) return ["none", row.plan === "cooling" ? "the window closes before" : ""];
  return row.next <= now ? ["next sweep", ""] : [`in ${span(row.next - now)}`, dateTime(row.next)];
}

/** Graph's own words about the state, where they say more than the state does. */
function ownWords(item) {
  const own = item.statusText ?? "";
  return own.toLowerCase() === String(item.state ?? "").toLowerCase() ? "" : own;
}
