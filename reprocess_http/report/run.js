// Reprocesses what the reader asked for, in chunks: a small one first, then large ones.
// Not for: asking the reader, or showing it; `changed` is called at every step.
//
// The app claims before it sends, so a chunk whose answer was lost may be sent again: what was
// accepted is then answered as on its way. A chunk that the app has is finished without this tab.

const FIRST_CHUNK = 20; // what would meet every request of the run is soon known
const CHUNK = 200;
const TRIES = 3; // of one chunk, when it was not taken because of throttling or the connection
const FOLLOWED = 20; // sent requests of a run that are looked at one by one; of more the list tells
const LOOKS_AT_ONCE = 2; // status calls under way: each costs a call to Graph
const LONGEST_WAIT = 300; // seconds between two looks at the same request
const PROBE_SECONDS = 3;

// How far a result has come; every other one is a problem.
const STEPS = { accepted: "sent", alreadyDelivering: "sent", alreadyDelivered: "done", deferred: "left", notSent: "unsent" };
// Problems of a whole chunk of which nothing was sent, or that may be sent again.
const NOTHING_SENT = new Set(["unauthorized", "forbidden", "misconfigured", "attempts-unreadable", "invalid-parameter", "throttled", "no-connection"]);

const LOST = "The app cannot be reached. It may have this already; sending it again does no harm.";

/**
 * What the reader asked to reprocess since the last `clear`.
 *
 * An entry's `step` is waiting, sending, sent, done (delivered, or no longer failed), problem, left
 * (to the next sweep) or unsent; `kind` is the app's outcome or problem, `text` says it. `at` is the
 * app's time of the step.
 */
class Run {
  entries = new Map();
  waitsFor = ""; // why nothing is sent at the moment
  isSending = false;
  #queue = [];
  #changed;
  #ended;
  #follower;
  #chunk = FIRST_CHUNK;
  #isStopped = false;
  #lost = 0; // chunks in a row that were not taken
  #hold = null;

  /** `changed(entries)`: after each step; `ended()`: nothing is left to be sent. */
  constructor(changed, ended) {
    this.#changed = changed;
    this.#ended = ended;
    this.#follower = new Follower((entry, said) => this.#takeLook(entry, said));
  }

  /** Add requests to what is under way; one that is under way already stays as it is. */
  add(rows) {
    const added = [];
    this.#isStopped = false;
    for (const row of rows) {
      if (["waiting", "sending"].includes(this.entries.get(row.id)?.step)) continue;
      const entry = { row, isOpen: true };
      this.entries.set(row.id, entry);
      added.push(entry);
    }
    this.#queue.push(...added);
    this.#set(added, "waiting", "Waiting");
    if (!this.isSending && this.#queue.length) this.#sendAll();
  }

  of(...steps) {
    return [...this.entries.values()].filter((entry) => steps.includes(entry.step));
  }

  count(...steps) {
    return this.of(...steps).length;
  }

  get refused() {
    return this.of("problem").filter((entry) => entry.kind === "refused");
  }

  get isFollowing() {
    return this.#follower.size > 0;
  }

  /** Whether closing the tab would keep something from being sent. */
  get hasUnsent() {
    return this.#queue.length > 0;
  }

  /** Send nothing more. The chunk under way is finished: what was sent cannot be taken back. */
  stop() {
    this.#isStopped = true;
    this.#release("You stopped before it was sent");
    this.#follower.stop();
  }

  /** Forget all of it; what is under way ends unseen. */
  clear() {
    this.stop();
    this.entries.clear();
    this.#chunk = FIRST_CHUNK;
  }

  /** Compare with a newer list what was sent and is not followed: it has left the list, or failed again. */
  compare(reading) {
    if (!reading.isWhole || reading.body.listComplete === false) return;
    const sent = this.of("sent").filter((entry) => reading.asOf > entry.at && !this.#follower.has(entry));
    this.#set(sent.filter(({ row }) => !reading.byId.has(row.id)), "done", "No longer failed");
    const again = sent.filter(({ row, at }) => reading.byId.get(row.id)?.failedAt > at);
    this.#set(again, "problem", OUTCOMES.deliveryFailed, { kind: "deliveryFailed" });
  }

  async #sendAll() {
    this.isSending = true;
    while (this.#queue.length) {
      if (this.#hold) await this.#hold.over;
      const chunk = this.#queue.splice(0, this.#chunk);
      if (chunk.length) await this.#send(chunk);
    }
    this.isSending = false;
    this.#changed([]);
    this.#follow();
    this.#ended();
  }

  async #send(chunk) {
    this.#set(chunk, "sending", "Sending …");
    try {
      const results = await reprocess(chunk.map((entry) => entry.row.id));
      this.#lost = 0;
      this.#chunk = CHUNK;
      const entries = chunk.filter((entry) => this.entries.get(entry.row.id) === entry);
      for (const entry of entries) this.#takeResult(entry, results.get(entry.row.id));
      this.#changed(entries);
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      this.#failed(chunk, problem);
    }
  }

  #takeResult(entry, result) {
    const kind = result?.problem ?? result?.outcome ?? "no-answer";
    const step = Object.hasOwn(STEPS, kind) ? STEPS[kind] : "problem";
    const said = Object.hasOwn(OUTCOMES, kind) ? OUTCOMES[kind] : problemText(kind, result ?? {});
    const state = { sent: "delivering", done: "delivered" }[step] ?? result?.state ?? "";
    const link = step === "sent" ? (result.location ?? "") : "";
    Object.assign(entry, { kind, step, state, link, text: said, at: appTime(), isOpen: false });
  }

  /** A chunk was not answered as a whole: try it again, or leave it and the rest. */
  #failed(chunk, problem) {
    const { name } = problem;
    const mayPass = name === "throttled" || name === "no-connection";
    this.#lost += 1;
    if (mayPass && this.#lost < TRIES && !this.#isStopped) {
      const still = chunk.filter((entry) => this.entries.get(entry.row.id) === entry);
      this.#queue.unshift(...still);
      this.#set(still, "waiting", "Waiting");
      if (name === "throttled") this.#pause(problem.wait || 30);
      else this.#untilBack();
      return;
    }
    this.#lost = 0;
    const text = name === "no-connection" ? LOST : problemText(name, problem);
    this.#set(chunk, NOTHING_SENT.has(name) ? "unsent" : "problem", text, { kind: name });
    this.#release(problemText(name, problem));
  }

  #release(why) {
    this.#set(this.#queue.splice(0), "unsent", why, { kind: "notSent" });
    this.#hold?.release();
  }

  /** Set these to a step, but not what was forgotten meanwhile. */
  #set(entries, step, text, more = {}) {
    const known = entries.filter((entry) => this.entries.get(entry.row.id) === entry);
    const state = { sending: "delivering", done: "delivered" }[step] ?? "";
    const isOpen = step === "waiting" || step === "sending";
    for (const entry of known) Object.assign(entry, { step, text, state, isOpen, at: appTime() }, more);
    if (known.length) this.#changed(known);
  }

  #follow() {
    const sent = this.of("sent");
    if (sent.length > FOLLOWED) return;
    for (const entry of sent) if (entry.link) this.#follower.add(entry);
  }

  #takeLook(entry, { outcome, state, problem }) {
    if (problem) return this.#set([entry], "problem", problemText(problem.name, problem), { kind: problem.name });
    const isDone = outcome === "delivered" || outcome === "alreadyDelivered";
    return this.#set([entry], isDone ? "done" : "problem", worded(OUTCOMES, outcome) || stateName(state), { kind: outcome, state: isDone ? "delivered" : state });
  }

  /** A wait that Graph asks for is waited for before anything else is sent. */
  #pause(seconds) {
    this.#holdUntil(`Graph asks to wait. Goes on in ${count(Math.ceil(seconds), "second")}.`, (over) =>
      setTimeout(over, seconds * SECOND),
    );
  }

  /** While the app cannot be reached nothing is sent: every chunk would be lost in the same way. */
  #untilBack() {
    this.#holdUntil("The app cannot be reached. Goes on when it is back.", (over) => {
      const probe = () => call("/api/health").then(over, () => this.#hold && setTimeout(probe, PROBE_SECONDS * SECOND));
      setTimeout(probe, PROBE_SECONDS * SECOND);
    });
  }

  #holdUntil(why, wait) {
    if (this.#hold) return;
    this.waitsFor = why;
    const hold = {};
    hold.over = new Promise((go) => {
      hold.release = () => {
        if (this.#hold !== hold) return;
        this.#hold = null;
        this.waitsFor = "";
        this.#changed([]);
        go();
      };
    });
    this.#hold = hold;
    this.#changed([]);
    wait(hold.release);
  }
}

/** Say a problem of one request in a sentence or two. */
function problemText(name, { detail = "", state = "" }) {
  if (name === "refused" && detail) return detail;
  const title = problemTitle(name);
  if (name === "not-reprocessable" && state) return `${title}: ${stateName(state)}`;
  const more = ["graph-denied", "graph-failed", "misconfigured"].includes(name) ? detail : "";
  return `${title}. ${more || problemAdvice(name)}`.trim();
}
