// The table: only the rows in view are in the page, so that thousands of them scroll at ease.
// Not for: choosing and ordering rows (rows.js).
//
// Rows have one height and are placed by it, as children of a body that is as high as all of them.
// Roles are written out, since table elements that are laid out as a grid may lose theirs. The row
// that has the focus stays, wherever it is scrolled to.

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
const MARGIN = 8; // rows kept above and below the window
const LEAST = 20; // rows kept where the window shows none: who reads on by ear gets to them
const PRINTED = 500; // rows on paper

class Table {
  selected = new Set();
  #rows = [];
  #made = new Map();
  #places = new Map();
  #body;
  #all;
  #sorts = {};
  #now;
  #on;
  #height = 0;
  #lastTicked = -1;
  #printing = false;

  /** `on`: what is to happen for sort(column), select(), reprocess(row), more(row). */
  constructor(table, now, on) {
    this.#now = now;
    this.#on = on;
    this.#body = table.querySelector("tbody");
    table.querySelector("thead").append(this.#head());
    let asked = false;
    const later = () => {
      if (asked) return;
      asked = true;
      requestAnimationFrame(() => ((asked = false), this.place()));
    };
    addEventListener("scroll", later, { passive: true });
    addEventListener("resize", later, { passive: true });
    addEventListener("beforeprint", () => this.#print(true));
    addEventListener("afterprint", () => this.#print(false));
    this.#body.addEventListener("keydown", (event) => this.#key(event));
  }

  #head() {
    this.#all = el("input", { type: "checkbox" });
    this.#all.addEventListener("change", () => this.#selectAll(this.#all.checked));
    const cells = Object.entries(COLUMNS).map(([column, name]) => {
      const button = el("button", { type: "button" }, name);
      button.addEventListener("click", () => this.#on.sort(column));
      this.#sorts[column] = el("th", { role: "columnheader", scope: "col", class: column, "data-name": name }, button);
      return this.#sorts[column];
    });
    const tick = el("th", { role: "columnheader", scope: "col", class: "tick" }, el("label", {}, this.#all, el("b", {}, "Select all shown")));
    const act = el("th", { role: "columnheader", scope: "col", class: "act" }, el("span", { class: "unseen" }, "Reprocess"));
    return el("tr", { role: "row", "aria-rowindex": "1" }, tick, ...cells, act);
  }

  /** Show these rows in this order. */
  show(rows, sort) {
    this.#rows = rows;
    this.#places = new Map(rows.map((row, place) => [row.id, place]));
    this.#lastTicked = -1;
    for (const [column, th] of Object.entries(this.#sorts)) {
      const order = { [column]: "ascending", [`-${column}`]: "descending" }[sort];
      mark(th, "aria-sort", order ?? "none");
    }
    mark(this.#body.parentElement, "aria-rowcount", String(rows.length + 1));
    this.place();
    this.#showTicks();
  }

  /** Show what has changed of the rows in view; time passes as well. */
  paint() {
    for (const made of this.#made.values()) this.#paintRow(made);
  }

  paintOne(row) {
    const made = this.#made.get(row.id);
    if (made) this.#paintRow(made);
  }

  /** Put the rows in view into the page, and take all others out of it. */
  place() {
    const rows = this.#rows;
    this.#height = this.#rowHeight();
    this.#body.style.height = `${rows.length * this.#height}px`;
    const [first, end] = this.#range();
    const wanted = rows.slice(first, end);
    const focused = this.#focusedId();
    const kept = this.#places.get(focused);
    if (kept !== undefined && kept < first) wanted.unshift(rows[kept]);
    if (kept !== undefined && kept >= end) wanted.push(rows[kept]);
    const ids = new Set(wanted.map((row) => row.id));
    const spare = [];
    for (const [id, made] of this.#made) {
      if (ids.has(id)) continue;
      made.tr.remove();
      spare.push(made);
      this.#made.delete(id);
    }
    this.#insert(wanted, spare);
  }

  /**
   * Put these rows in order, with spare elements as far as there are any. An element that is in its
   * place is not moved: moving it would take the focus from it.
   */
  #insert(wanted, spare) {
    let at = this.#body.firstElementChild;
    for (const row of wanted) {
      const made = this.#made.get(row.id) ?? spare.pop() ?? this.#make();
      this.#made.set(row.id, made);
      made.row = row;
      if (made.tr === at) at = at.nextElementSibling;
      else this.#body.insertBefore(made.tr, at);
      const place = this.#places.get(row.id);
      made.tr.style.top = `${place * this.#height}px`;
      mark(made.tr, "aria-rowindex", String(place + 2));
      this.#paintRow(made);
    }
  }

  #range() {
    const count = this.#rows.length;
    if (this.#printing) return [0, Math.min(count, PRINTED)];
    const top = -this.#body.getBoundingClientRect().top;
    const first = Math.floor(top / this.#height) - MARGIN;
    const end = Math.ceil((top + innerHeight) / this.#height) + MARGIN;
    return [Math.max(0, Math.min(first, count - LEAST)), Math.min(count, Math.max(end, LEAST))];
  }

  #rowHeight() {
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    return parseFloat(getComputedStyle(this.#body).getPropertyValue("--row")) * rem;
  }

  #print(on) {
    this.#printing = on;
    const left = this.#rows.length - PRINTED;
    say(byId("print-more"), left > 0 ? `${count(left, "more row")} are not printed; the CSV has them all.` : "");
    this.place();
  }

  // -- one row --

  #make() {
    const part = (name, ...children) => el("td", { role: "cell", class: name }, ...children);
    const two = () => [el("span", { class: "one", dir: "auto" }), el("span", { class: "two", dir: "auto" })];
    const tick = el("input", { type: "checkbox", class: "row-tick" });
    const more = el("button", { type: "button", class: "link one row-more", dir: "auto" });
    const act = el("button", { type: "button", class: "row-act" });
    const tr = el("tr", { role: "row" }, el("td", { role: "cell", class: "tick" }, tick));
    tr.append(el("th", { role: "rowheader", scope: "row", class: "who" }, more, el("span", { class: "two", dir: "auto" })));
    for (const name of Object.keys(COLUMNS).slice(1)) tr.append(part(name, ...(name === "plan" ? [swatch(""), ...two()] : two())));
    tr.append(el("td", { role: "cell", class: "act" }, act));
    const made = { row: null, tr, tick, more, act, cells: {} };
    for (const cell of tr.querySelectorAll("[class]")) if (cell.className in COLUMNS) made.cells[cell.className] = cell;
    tick.addEventListener("click", (event) => this.#tick(made.row, tick.checked, event.shiftKey));
    more.addEventListener("click", () => this.#on.more(made.row));
    act.addEventListener("click", () => act.getAttribute("aria-disabled") !== "true" && this.#on.reprocess(made.row));
    return made;
  }

  #paintRow({ row, tr, tick, more, act, cells }) {
    const texts = cellTexts(row, this.#now());
    for (const [name, [one, two]] of Object.entries(texts)) {
      say(cells[name].querySelector(".one"), one);
      say(cells[name].querySelector(".two"), two);
    }
    const whom = `${isolated(row.who)}, ${isolated(row.package)}`;
    const left = row.ends - this.#now();
    mark(more, "aria-label", `${isolated(row.who)}: details`);
    mark(cells.plan.querySelector(".swatch"), "class", `swatch ${row.plan}`);
    mark(cells.left, "class", left > 0 && left <= 2 * DAY ? "left soon" : "left");
    mark(cells.type, "class", row.removal ? "type removal" : "type");
    mark(cells.state, "class", `state ${row.run?.step ?? (row.state === "partiallyDelivered" ? "partly" : "failed")}`);
    mark(tr, "class", this.selected.has(row.id) ? "selected" : "");
    mark(tick, "aria-label", `Select ${whom}`);
    tick.checked = this.selected.has(row.id);
    const busy = { waiting: "Waiting", sending: "Sending", following: "On its way", done: "Delivered" }[row.run?.step];
    say(act, busy ?? "Reprocess");
    mark(act, "aria-label", `${busy ?? "Reprocess"}: ${whom}`);
    mark(act, "aria-disabled", String(Boolean(busy)));
  }

  // -- selecting --

  #tick(row, on, isRange) {
    const place = this.#places.get(row.id);
    const from = isRange && this.#lastTicked >= 0 ? this.#lastTicked : place;
    for (const one of this.#rows.slice(Math.min(from, place), Math.max(from, place) + 1)) this.#set(one, on);
    this.#lastTicked = place;
    this.#selectionChanged();
  }

  #selectAll(on) {
    for (const row of this.#rows) this.#set(row, on);
    this.#selectionChanged();
  }

  select(ids) {
    this.selected = new Set(ids);
    this.#selectionChanged();
  }

  #set(row, on) {
    if (on) this.selected.add(row.id);
    else this.selected.delete(row.id);
  }

  #selectionChanged() {
    this.paint();
    this.#showTicks();
    this.#on.select();
  }

  #showTicks() {
    const ticked = this.#rows.filter((row) => this.selected.has(row.id)).length;
    this.#all.checked = ticked > 0 && ticked === this.#rows.length;
    this.#all.indeterminate = ticked > 0 && ticked < this.#rows.length;
  }

  // -- the keyboard: up and down go to the same control of the row above or below --

  #focusedId() {
    const tr = document.activeElement?.closest("tbody tr");
    for (const [id, made] of this.#made) if (made.tr === tr) return id;
    return undefined;
  }

  #key(event) {
    const kind = ["row-tick", "row-more", "row-act"].find((one) => event.target.classList.contains(one));
    const place = this.#places.get(this.#focusedId());
    const last = this.#rows.length - 1;
    const page = Math.max(1, Math.floor(innerHeight / this.#height) - 2);
    const moves = { ArrowUp: -1, ArrowDown: 1, PageUp: -page, PageDown: page, Home: -last, End: last };
    if (!kind || place === undefined || !(event.key in moves)) return;
    event.preventDefault();
    const to = Math.min(Math.max(place + moves[event.key], 0), last);
    this.#reveal(to);
    this.#made.get(this.#rows[to].id)?.tr.querySelector(`.${kind}`).focus({ preventScroll: true });
  }

  /** Scroll so that this row is between the head of the table and the bar below. */
  #reveal(place) {
    const top = this.#body.getBoundingClientRect().top + place * this.#height;
    const above = top - 3 * this.#height;
    const below = top + 4 * this.#height - innerHeight;
    if (above < 0) scrollBy(0, above);
    else if (below > 0) scrollBy(0, below);
    this.place();
  }
}

/** What each cell says: what matters, and below it what explains it. */
function cellTexts(row, now) {
  const { item, run } = row;
  const left = row.ends - now;
  return {
    who: [row.who, row.contact],
    package: [row.package, ""],
    type: row.removal ? ["Removal", "somebody still has access"] : ["Access", worded(TYPES, row.type)],
    state: [stateName(run?.state || row.state), run ? run.text : ownWords(item)],
    left: [timeLeft(left), Number.isNaN(left) || left < 0 ? "" : `until ${dateTime(row.ends)}`],
    attempts: [number(row.attempts), ""],
    last: [
      Number.isNaN(row.last) ? "never" : ago(now - row.last),
      item.lastRefusal ? `refused: ${item.lastRefusal}` : worded(LAST_OUTCOMES, item.lastOutcome),
    ],
    next: nextTexts(row, now),
    plan: [PLANS[row.plan]?.name ?? row.plan, ""],
  };
}

function nextTexts(row, now) {
  if (row.plan === "due") return ["next sweep", ""];
  if (Number.isNaN(row.next)) return ["none", row.plan === "cooling" ? "the window closes before" : ""];
  return row.next <= now ? ["next sweep", ""] : [`in ${span(row.next - now)}`, dateTime(row.next)];
}

/** Graph's own words about the state, where they say more than the state does. */
function ownWords(item) {
  const own = item.statusText ?? "";
  return own.toLowerCase() === String(item.state ?? "").toLowerCase() ? "" : own;
}
