// What the reader asks for: the question before, what comes of it, and all about one request.
// Not for: calling the app (run.js does).

/** Ask once. Resolves to whether the reader wants it. */
function confirmed(rows, now) {
  const one = rows.length === 1;
  say(byId("ask-title"), `Reprocess ${one ? "this request" : `${number(rows.length)} requests`}?`);
  byId("ask-whom").replaceChildren(
    ...(one ? [el("bdi", {}, rows[0].who), " – ", el("bdi", {}, rows[0].package)] : []),
  );
  const facts = [
    "Microsoft Entra tries to deliver again now, whatever the plan says.",
    ...told(rows.filter((row) => row.removal).length, one, "is a removal: somebody still has access.", "are removals: somebody still has access."),
    ...told(rows.filter((row) => row.ends <= now).length, one, "has a closed window: Graph will most likely refuse.", "have a closed window: Graph will most likely refuse these."),
  ];
  byId("ask-facts").replaceChildren(...facts.map((text) => el("li", {}, text)));
  say(byId("ask-yes"), one ? "Reprocess" : `Reprocess ${number(rows.length)}`);
  return answered(byId("ask"), "yes");
}

function told(n, one, single, several) {
  if (!n) return [];
  return [one ? `It ${single}` : `${number(n)} ${n === 1 ? single : several}`];
}

let dismiss = () => {};

/**
 * Show a dialog until it is closed; its focus goes back to where it came from by itself.
 *
 * `close` comes late, perhaps when the dialog is open again: so the answer is taken when it is given.
 */
function answered(dialog, value) {
  dismiss();
  dialog.showModal();
  return new Promise((go) => {
    const listening = new AbortController();
    const end = (isYes) => {
      listening.abort();
      go(isYes);
    };
    dismiss = () => end(false);
    dialog.addEventListener("submit", (event) => end(event.submitter?.value === value), listening);
    dialog.addEventListener("close", () => dialog.open || end(false), listening);
  });
}

/** Show all that is known of one request. Resolves to whether the reader wants to reprocess it. */
function details(row, now) {
  const { item } = row;
  const facts = {
    "Access package": row.package,
    Mail: item.requestorEmail,
    Type: [row.removal && "Removal: somebody still has access", worded(TYPES, row.type)].filter(Boolean).join(". "),
    State: [stateName(row.run?.state || row.state), ownWords(item)].filter(Boolean).join(": "),
    Window: [timeLeft(row.ends - now), dateTime(row.ends)].filter(Boolean).join(", "),
    Plan: PLANS[row.plan] ? `${PLANS[row.plan].name}: ${PLANS[row.plan].means}` : row.plan,
    "Next attempt": nextTexts(row, now).filter(Boolean).join(", "),
    Attempts: number(row.attempts),
    "Last attempt": [dateTime(row.last), worded(LAST_OUTCOMES, item.lastOutcome)].filter(Boolean).join(", "),
    "Graph said": item.lastRefusal,
    "Asked for": dateTime(Date.parse(item.createdAt)),
    Failed: dateTime(Date.parse(item.completedAt)),
    "Your reprocess": row.run?.text,
    "Request id": row.id,
    "Requestor id": item.requestorId,
    "Access package id": item.accessPackageId,
  };
  const known = Object.entries(facts).filter(([, text]) => text);
  byId("more-title").replaceChildren(el("bdi", {}, row.who));
  byId("more-facts").replaceChildren(
    ...known.flatMap(([name, text]) => [el("dt", {}, name), el("dd", {}, el("bdi", {}, text))]),
  );
  return answered(byId("more"), "reprocess");
}

/** The panel below the table: each outcome as it comes. */
class Panel {
  #run;
  #lines = new Map();
  #asked = false;
  #said = "";

  constructor() {
    byId("run-fold").addEventListener("click", () => this.#fold(!byId("run-body").hidden));
    byId("run-only").addEventListener("change", () => this.#later());
    byId("run-stop").addEventListener("click", () => {
      this.#run.stop();
      byId("run-title").focus(); // the button may be gone now
    });
  }

  /** Show this run; `changed` below is told of each step. */
  open(run) {
    this.#run = run;
    show(byId("run"));
    this.#fold(false);
    this.#later();
  }

  close() {
    show(byId("run"), false);
    byId("run-list").replaceChildren();
    this.#lines.clear();
  }

  /** One entry has changed, or (null) why nothing is sent. */
  changed(entry) {
    if (entry) this.#line(entry);
    this.#later();
  }

  #fold(folded) {
    show(byId("run-body"), !folded);
    mark(byId("run-fold"), "aria-expanded", String(!folded));
    say(byId("run-fold"), folded ? "Show" : "Hide");
  }

  #line(entry) {
    const { row } = entry;
    if (!this.#lines.has(row.id)) {
      const line = el("li", {}, el("span", { class: "whom" }, el("bdi", {}, row.who), " – ", el("bdi", {}, row.package)), el("span", { class: "came", dir: "auto" }));
      this.#lines.set(row.id, line);
      byId("run-list").append(line);
    }
    const line = this.#lines.get(row.id);
    mark(line, "class", entry.step);
    say(line.lastElementChild, entry.text);
  }

  /** Many steps within one frame are shown at once. */
  #later() {
    if (this.#asked) return;
    this.#asked = true;
    requestAnimationFrame(() => {
      this.#asked = false;
      this.#show();
    });
  }

  #show() {
    const run = this.#run;
    const all = run.entries.size;
    const open = run.count("waiting", "sending");
    const following = run.count("following");
    const counts = [
      [run.count("done"), "delivered"],
      [following, "on their way"],
      [run.count("problem"), "with a problem"],
      [run.count("stopped"), "stopped"],
      [open, "to be sent"],
    ].filter(([n]) => n);
    const text = counts.map(([n, what]) => `${number(n)} ${what}`).join(", ");
    say(byId("run-title"), run.isOver ? `Reprocessed ${number(all)}` : `Reprocessing ${number(all)}`);
    say(byId("run-counts"), text);
    byId("run-progress").max = all;
    byId("run-progress").value = all - open - following;
    show(byId("run-stop"), !run.isOver);
    show(byId("run-close"), run.isOver);
    say(byId("run-stop"), open ? "Stop" : "Stop following");
    show(byId("run-wait"), Boolean(run.waitsFor));
    say(byId("run-wait"), run.waitsFor);
    byId("run-list").classList.toggle("only", byId("run-only").checked);
    this.#tell(run, text);
  }

  /** A screen reader hears the begin, what holds it up and the end, not each of hundreds. */
  #tell(run, text) {
    const now = run.isOver ? `Done: ${text}` : run.waitsFor || "Reprocessing";
    if (now === this.#said || !run.entries.size) return;
    this.#said = now;
    announce(now);
  }
}
