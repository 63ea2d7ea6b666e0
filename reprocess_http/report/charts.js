// The two charts: when windows close, and where requests fail. Each is a table, too.
// Not for: the table of requests.

const DAYS = 15; // shown one by one; later ones are one column
const BARS = 6; // access packages shown by name
const CHARTED = [...PLAN_ORDER, "moving"];

function chartedName(plan) {
  return plan === "moving" ? "On its way" : planName(plan);
}

/** Say how many of these rows have which plan. */
function plansOf(rows) {
  const counts = Object.fromEntries(CHARTED.map((plan) => [plan, 0]));
  for (const row of rows) counts[planOf(row)] = (counts[planOf(row)] ?? 0) + 1;
  return counts;
}

/** The colours of those plans that are in use. */
function legend(rows) {
  const counts = plansOf(rows);
  const plans = CHARTED.filter((plan) => counts[plan]);
  return el("p", { class: "legend" }, ...plans.map((plan) => el("span", {}, swatch(plan), chartedName(plan))));
}

/** One bar, of a piece for each plan; `share` is its length, of 1. */
function stack(rows, share, side) {
  const bar = el("span", { class: "stack" });
  bar.style[side] = `${share * 100}%`;
  for (const [plan, n] of Object.entries(plansOf(rows))) {
    if (!n) continue;
    const piece = el("span", { class: plan });
    piece.style.flexGrow = n;
    bar.append(piece);
  }
  return bar;
}

function asTable(caption, head, lines) {
  const th = (text, scope) => el("th", { scope }, text);
  const table = el(
    "table",
    {},
    el("caption", { class: "unseen" }, caption),
    el("thead", {}, el("tr", {}, ...head.map((text) => th(text, "col")))),
    el("tbody", {}, ...lines.map(([first, ...rest]) => el("tr", {}, th(first, "row"), ...rest.map((text) => el("td", {}, text))))),
  );
  const scrolled = el("div", { class: "scrolled", tabindex: "0", role: "group", "aria-label": caption }, table);
  return el("details", {}, el("summary", {}, "As a table"), scrolled);
}

function planCells(rows) {
  return Object.values(plansOf(rows)).map((n) => (n ? number(n) : "–"));
}

const PLAN_HEADS = CHARTED.map(chartedName);

/** Draw how many windows close on each day, in the reader's own time zone. */
function drawDays(place, model) {
  const now = appTime();
  const days = daysFrom(now);
  const closed = [];
  for (const row of model.live) {
    if (Number.isNaN(row.ends)) continue;
    if (row.ends <= now) closed.push(row);
    else days.findLast((day) => day.from <= row.ends).rows.push(row);
  }
  if (!days[DAYS].rows.length) days.pop();
  const most = Math.max(1, ...days.map((day) => day.rows.length));
  const soon = model.closing(2 * DAY).length;
  const summary = `${count(soon, "window closes", "windows close")} within 48 hours, ${number(closed.length)} have closed.`;
  const columns = days.map((day) =>
    el(
      "div",
      { class: "day", title: `${day.long}: ${day.rows.length}` },
      el("span", { class: "column" }, el("b", {}, day.rows.length ? number(day.rows.length) : ""), stack(day.rows, day.rows.length / most, "height")),
      el("span", { class: "name" }, day.short),
      el("span", { class: "name" }, day.number),
    ),
  );
  redraw(
    place,
    legend(days.flatMap((day) => day.rows)),
    el("div", { class: "days", role: "img", "aria-label": summary }, ...columns),
    closed.length ? el("p", { class: "soft small" }, `${count(closed.length, "window has closed", "windows have closed")}: the users must request again.`) : "",
    asTable("Windows closing, by day", ["Day", "All", ...PLAN_HEADS], [
      ...days.map((day) => [day.long, number(day.rows.length), ...planCells(day.rows)]),
      ["Closed", number(closed.length), ...planCells(closed)],
    ]),
  );
}

function daysFrom(now) {
  const names = new Intl.DateTimeFormat("en-GB", { weekday: "short" });
  const dates = new Intl.DateTimeFormat("en-GB", { weekday: "long", day: "numeric", month: "long" });
  const days = Array.from({ length: DAYS + 1 }, (_, n) => {
    const from = new Date(now);
    from.setHours(0, 0, 0, 0);
    from.setDate(from.getDate() + n); // not n times 24 hours: clocks are changed
    const long = ["Today", "Tomorrow"][n] ?? dates.format(from);
    return { from: from.getTime(), rows: [], short: names.format(from), number: String(from.getDate()), long };
  });
  return Object.assign(days, { [DAYS]: { ...days[DAYS], short: "later", number: "", long: "Later" } });
}

/** Draw how many requests fail in each access package; `choose` is told which one is clicked. */
function drawPackages(place, packages, choose) {
  const rows = packages.flatMap((one) => one.rows);
  const rest = packages.slice(BARS).flatMap((one) => one.rows);
  const most = packages[0]?.rows.length ?? 1;
  const shown = packages.slice(0, BARS).map((one) => {
    const button = el("button", { type: "button", class: "link one cut", dir: "auto" }, one.name);
    button.addEventListener("click", () => choose(one.id));
    return bar(button, one.rows, most);
  });
  if (rest.length) {
    const others = count(packages.length - BARS, "other package");
    shown.push(bar(el("span", { class: "soft" }, others), rest, Math.max(most, rest.length)));
  }
  const lines = packages.map((one) => [one.name, number(one.rows.length), number(one.rows.filter((row) => row.removal).length), ...planCells(one.rows)]);
  redraw(
    place,
    legend(rows),
    el("ul", { class: "bars" }, ...shown),
    asTable("Failed requests, by access package", ["Access package", "All", "Removals", ...PLAN_HEADS], lines),
  );
}

function bar(name, rows, most) {
  return el("li", {}, name, el("span", { class: "track", "aria-hidden": "true" }, stack(rows, rows.length / most, "width")), el("b", {}, number(rows.length)));
}
