// The table. Up to ALL_SHOWN rows are all in the page, so that the browser finds in them; of more,
// only those in view are, so that thousands scroll at ease. On paper it is all of them.
// Not for: choosing and ordering rows (view.js), or what a row says (cells.js).
//
// Rows have one height and are placed by it, as children of a body that is as high as all of them.
// Roles are written out, since table elements that are laid out as a grid may lose theirs. The row
// that has the focus stays, wherever it is scrolled to.

const ALL_SHOWN = 500;
const MARGIN = 8; // rows kept above and below the window
const LEAST = 20; // rows kept where the window shows none: who reads on by ear gets to them

class Table {
  selected = new Set();
  #rows = [];
  #made = new Map();
  #places = new Map();
  #body;
  #all;
  #sorts = {};
  #on;
  #height = 0;
  #lastTicked = ""; // request id
  #printing = false;

  /** `on`: what is to happen for sort(column), select(), reprocess(row), more(row). */
  constructor(table, on) {
    this.#on = on;
    this.#body = table.querySelector("tbody");
    table.querySelector("thead").append(this.#head());
    const later = oncePerFrame(() => this.place());
    addEventListener("scroll", () => this.#rows.length > ALL_SHOWN && later(), { passive: true });
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

  /** The rows that are shown, in their order. */
  get rows() {
    return this.#rows;
  }

  /** Show these rows in this order; the one at the top of the window stays where it is, if it can. */
  show(rows, sort) {
    const anchor = this.#anchor();
    this.#rows = rows;
    this.#places = new Map(rows.map((row, place) => [row.id, place]));
    for (const [column, th] of Object.entries(this.#sorts)) {
      const order = { [column]: "ascending", [`-${column}`]: "descending" }[sort];
      mark(th, "aria-sort", order ?? "none");
    }
    mark(this.#body.parentElement, "aria-rowcount", String(rows.length + 1));
    this.#body.style.height = `${rows.length * this.#rowHeight()}px`;
    this.#return(anchor);
    this.place();
    this.#showTicks();
  }

  /** The first row in the window and how far it is from the top; undefined above the table. */
  #anchor() {
    const top = this.#body.getBoundingClientRect().top;
    if (top >= 0 || !this.#height) return undefined;
    const first = Math.ceil(-top / this.#height);
    const ids = this.#rows.slice(first).map((row) => row.id);
    return { ids, offset: top + first * this.#height };
  }

  #return(anchor) {
    const place = this.#places.get(anchor?.ids.find((id) => this.#places.has(id)));
    if (place === undefined) return;
    const by = this.#body.getBoundingClientRect().top + place * this.#height - anchor.offset;
    if (Math.abs(by) >= 1) scrollBy({ top: by, behavior: "instant" });
  }

  /** Show what has changed of the rows in the page; time passes as well. */
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
      const made = this.#made.get(row.id) ?? spare.pop() ?? makeRow(this.#on, (...how) => this.#tick(...how));
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

  #paintRow(made) {
    paintRow(made, this.selected.has(made.row.id));
  }

  #range() {
    const n = this.#rows.length;
    if (this.#printing || n <= ALL_SHOWN) return [0, n];
    const top = -this.#body.getBoundingClientRect().top;
    const first = Math.floor(top / this.#height) - MARGIN;
    const end = Math.ceil((top + innerHeight) / this.#height) + MARGIN;
    return [Math.max(0, Math.min(first, n - LEAST)), Math.min(n, Math.max(end, LEAST))];
  }

  #rowHeight() {
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    return parseFloat(getComputedStyle(this.#body).getPropertyValue("--row")) * rem;
  }

  #print(on) {
    this.#printing = on;
    this.place();
  }

  // -- selecting --

  #tick(row, on, isRange) {
    const place = this.#places.get(row.id);
    const from = isRange ? (this.#places.get(this.#lastTicked) ?? place) : place;
    for (const one of this.#rows.slice(Math.min(from, place), Math.max(from, place) + 1)) this.#set(one, on);
    this.#lastTicked = row.id;
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
    if (!kind || place === undefined || !Object.hasOwn(moves, event.key)) return;
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
