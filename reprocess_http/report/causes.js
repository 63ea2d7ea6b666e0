// What to fix: failed requests by what they have in common, most first.
// Not for: finding what that is; the app does (GET /api/requests, `causes`).

const CAUSES_SHOWN = 5; // more are a click away

/** The causes of the rows, in the app's order; while any is kept, in the order before. */
function causesOf(model, keptIds, before) {
  const found = new Map();
  if (keptIds.length) for (const one of before) found.set(one.id, { ...one });
  for (const one of model.body.causes ?? []) found.set(one.causeId, causeOf(one));
  if (!model.isWhole) return [...found.values()];
  for (const cause of found.values()) cause.rows = [];
  for (const row of model.live) found.get(row.causeId)?.rows.push(row);
  for (const cause of found.values()) weigh(cause);
  return [...found.values()].filter((one) => one.count || keptIds.includes(one.id));
}

function causeOf(said) {
  const { causeId, kind, cause, count: n, removals, accessPackages, requestors, firstWindowEndsAt } = said;
  const title = { package: `Access package ${cause}`, person: `User ${cause}`, unknown: "No reason known" }[kind] ?? cause;
  return { id: causeId, kind, title, rows: [], count: n, removals, packages: accessPackages, requestors, ends: Date.parse(firstWindowEndsAt) };
}

/** Count what is left of a cause, by the rows that still fail. */
function weigh(cause) {
  const { rows } = cause;
  const now = appTime();
  const ends = rows.map((row) => row.ends).filter((end) => end > now);
  Object.assign(cause, {
    count: rows.length,
    removals: rows.filter((row) => row.removal).length,
    packages: new Set(rows.map((row) => row.packageId).filter((id) => id !== NO_PACKAGE)).size,
    requestors: new Set(rows.map((row) => row.requestor).filter(Boolean)).size,
    ends: ends.length ? Math.min(...ends) : NaN,
    last: Math.max(...rows.map((row) => row.failedAt).filter((at) => at <= now)),
    ready: rows.filter((row) => !isOnItsWay(row) && !(row.ends <= now)),
  });
}

/** Draw the causes; `on`: what is to happen for reprocess(rows) and choose(id). */
class Causes {
  #place;
  #on;
  #made = new Map();
  #drawn = [[], [], "", ""];
  #isLong = false;

  constructor(place, on) {
    this.#place = place;
    this.#on = on;
    byId("causes-more").addEventListener("click", () => {
      this.#isLong = !this.#isLong;
      this.draw(...this.#drawn);
    });
  }

  /** Draw these causes; those in `keptIds` are shown wherever they stand. */
  draw(causes, keptIds, chosenId, portalUrl) {
    this.#drawn = [causes, keptIds, chosenId, portalUrl];
    const isLonger = causes.length > CAUSES_SHOWN + 1;
    const shown = causes.filter(({ id }, place) => this.#isLong || !isLonger || place < CAUSES_SHOWN || keptIds.includes(id));
    for (const id of this.#made.keys()) if (!shown.some((one) => one.id === id)) this.#remove(id);
    shown.forEach((cause, place) => {
      const made = this.#made.get(cause.id) ?? this.#make(cause);
      if (this.#place.children[place] !== made.line) this.#place.insertBefore(made.line, this.#place.children[place] ?? null);
      this.#paint(made, cause, chosenId, portalUrl);
    });
    show(byId("causes-more"), isLonger);
    say(byId("causes-more"), this.#isLong ? "Show fewer" : `Show all ${number(causes.length)}`);
    show(byId("causes-section"), causes.length > 0);
  }

  #remove(id) {
    this.#made.get(id).line.remove();
    this.#made.delete(id);
  }

  #make({ id, kind }) {
    const part = (name, tag = "span") => el(tag, { class: name });
    const made = {
      title: el("button", { type: "button", class: "link cut cause-title", dir: "auto" }),
      basis: part("soft small"),
      count: el("strong"),
      where: part("cause-where"),
      removals: part("cause-removals"),
      when: part("cause-when"),
      act: el("button", { type: "button" }),
      portal: el("a", { target: "_blank", rel: "noopener noreferrer", class: "outside" }, "Portal"),
    };
    made.line = el(
      "li",
      { class: `cause ${kind}` },
      el("span", { class: "cause-count" }, made.count, el("span", { class: "unseen" }, " requests: ")),
      el("div", { class: "cause-what" }, made.title, made.basis),
      el("div", { class: "cause-facts" }, el("span", {}, made.where, made.removals), made.when),
      el("div", { class: "cause-do" }, made.act, made.portal),
    );
    made.title.addEventListener("click", () => this.#on.choose(id));
    made.act.addEventListener("click", () => made.act.ariaDisabled !== "true" && this.#on.reprocess(made.cause.ready));
    this.#made.set(id, made);
    return made;
  }

  #paint(made, cause, chosenId, portalUrl) {
    made.cause = cause;
    const { title, count: n, removals, packages, requestors, ready = [] } = cause;
    say(made.count, number(n));
    say(made.title, title);
    mark(made.title, "aria-pressed", String(cause.id === chosenId));
    made.line.classList.toggle("chosen", cause.id === chosenId);
    const since = Number.isFinite(cause.last) ? `; last ${ago(appTime() - cause.last)}` : "";
    const moving = cause.rows.filter(isOnItsWay).length;
    const under = moving ? `; ${number(moving)} on their way` : "";
    say(made.basis, `${sentenceCase(worded(CAUSES, cause.kind))}${since}${under}`);
    const where = [packages ? count(packages, "package") : "unknown package", requestors ? count(requestors, "user") : "unknown requestor"].join(", ");
    say(made.where, n ? where : "none fails any more");
    say(made.removals, removals ? ` · ${count(removals, "removal")}` : "");
    const left = cause.ends - appTime();
    say(made.when, !n ? "" : left > 0 ? `next window closes in ${span(left)}` : "windows have closed");
    made.when.classList.toggle("soon", left > 0 && left <= 2 * DAY);
    const text = ready.length ? `Reprocess these ${number(ready.length)}` : moving ? "On their way" : n ? "None can be tried" : "Done";
    say(made.act, ready.length === 1 ? "Reprocess this one" : text);
    mark(made.act, "aria-label", `${made.act.textContent}: ${isolated(title)}`);
    mark(made.act, "aria-disabled", String(!ready.length));
    show(made.portal, Boolean(portalUrl));
    if (portalUrl) mark(made.portal, "href", portalUrl);
    mark(made.portal, "aria-label", `Portal, for the whole text of ${isolated(title)}`);
  }
}

function sentenceCase(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
