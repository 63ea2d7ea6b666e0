// Reprocesses what the reader asked for: a few at once, each followed to its end.
// Not for: asking the reader, or showing what came of it; `changed` is told of every step.

const AT_ONCE = 4; // POSTs under way
const LOOKS_AT_ONCE = 2; // status calls under way: each costs a call to Graph
const TRIES = 3; // of one request, when it was not taken because of throttling or the connection
const LONGEST_WAIT = 300; // seconds between two looks at the same request
const PROBE_SECONDS = 3;

// These would meet every other request of the run in the same way.
const HOPELESS = new Set(["unauthorized", "forbidden", "misconfigured"]);

/** Lets so many at a time through. */
class Gate {
  #free;
  #queue = [];

  constructor(free) {
    this.#free = free;
  }

  async through(action) {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise((go) => this.#queue.push(go));
    try {
      return await action();
    } finally {
      const next = this.#queue.shift();
      if (next) next();
      else this.#free += 1;
    }
  }
}

/**
 * What the reader asked to reprocess since the last `clear`.
 *
 * An entry's `step` is waiting, sending, following, done, problem or stopped; `text` says it.
 */
class Run {
  entries = new Map();
  waitsFor = ""; // why nothing is sent at the moment
  #changed;
  #waiting = [];
  #senders = 0;
  #looks = new Gate(LOOKS_AT_ONCE);
  #stop = new AbortController();
  #hold = null;

  constructor(changed) {
    this.#changed = changed;
  }

  /** Add requests to what is under way; one that is under way already stays as it is. */
  add(rows) {
    if (this.#stop.signal.aborted) this.#stop = new AbortController();
    for (const row of rows) {
      const step = this.entries.get(row.id)?.step;
      if (step === "waiting" || step === "sending" || step === "following") continue;
      const entry = { row, step: "", text: "", state: "", tries: 0 };
      this.entries.set(row.id, entry);
      this.#waiting.push(entry);
      this.#set(entry, "waiting", "Waiting");
    }
    while (this.#senders < AT_ONCE && this.#waiting.length) this.#sendAll(this.#stop.signal);
  }

  count(...steps) {
    return [...this.entries.values()].filter((entry) => steps.includes(entry.step)).length;
  }

  get isSending() {
    return this.count("waiting", "sending") > 0;
  }

  get isOver() {
    return !this.isSending && !this.count("following");
  }

  /** Send nothing more; when all is sent, follow nothing more. What was sent cannot be taken back. */
  stop() {
    if (this.isSending) {
      this.#release("Not sent: you stopped");
      return;
    }
    this.#stop.abort();
    for (const entry of this.entries.values()) {
      if (entry.step === "following") this.#set(entry, "stopped", "On its way; no longer followed");
    }
  }

  /** Forget all of it; what is under way ends unseen. */
  clear() {
    this.entries.clear();
    this.#release("");
    this.#stop.abort();
  }

  #release(why) {
    for (const entry of this.#waiting.splice(0)) this.#set(entry, "stopped", why);
    this.#hold?.release();
  }

  #set(entry, step, text, state = entry.state) {
    if (this.entries.get(entry.row.id) !== entry) return; // forgotten meanwhile
    Object.assign(entry, { step, text, state });
    entry.row.run = entry;
    this.#changed(entry);
  }

  async #sendAll(signal) {
    this.#senders += 1;
    try {
      while (this.#waiting.length) {
        if (this.#hold) await this.#hold.over;
        const entry = this.#waiting.shift();
        if (entry) await this.#send(entry, signal);
      }
    } finally {
      this.#senders -= 1;
    }
  }

  async #send(entry, signal) {
    this.#set(entry, "sending", "Sending …");
    entry.tries += 1;
    try {
      this.#take(entry, await reprocess(entry.row.id), signal);
    } catch (problem) {
      this.#failed(entry, problem);
    }
  }

  #take(entry, said, signal) {
    const state = said.state ?? entry.state;
    const text = worded(OUTCOMES, said.outcome) || stateName(state);
    if (said.next) {
      this.#set(entry, "following", text, "delivering");
      this.#follow(entry, said, signal);
    } else if (["delivered", "alreadyDelivered"].includes(said.outcome)) {
      this.#set(entry, "done", text, "delivered");
    } else {
      this.#set(entry, "problem", text, state);
    }
  }

  #failed(entry, problem) {
    if (!(problem instanceof Problem)) throw problem;
    const { name } = problem;
    if ((name === "throttled" || name === "no-connection") && entry.tries < TRIES) {
      this.#waiting.unshift(entry);
      this.#set(entry, "waiting", "Waiting");
      if (name === "throttled") this.#pause(problem.wait || 30);
      else this.#untilBack();
      return;
    }
    this.#set(entry, "problem", this.#told(problem), problem.state || entry.state);
    if (HOPELESS.has(name)) this.#release(`Not sent: ${problemTitle(name)}`);
  }

  #told({ name, detail, state }) {
    if (name === "refused" && detail) return detail;
    const title = problemTitle(name);
    if (name === "not-reprocessable" && state) return `${title}: ${stateName(state)}`;
    const more = ["graph-denied", "graph-failed", "misconfigured"].includes(name) ? detail : "";
    return `${title}. ${more || problemAdvice(name)}`.trim();
  }

  /** A told wait is everybody's: nothing is sent before it is over. */
  #pause(seconds) {
    this.#holdUntil(`Graph asks to wait. Goes on in ${count(Math.ceil(seconds), "second")}.`, (over) =>
      setTimeout(over, seconds * 1000),
    );
  }

  /** While the app cannot be reached nothing is sent: every request would be lost in the same way. */
  #untilBack() {
    this.#holdUntil("The app cannot be reached. Goes on when it is back.", (over) => {
      const probe = () => call("/api/health").then(over, () => this.#hold && setTimeout(probe, PROBE_SECONDS * 1000));
      setTimeout(probe, PROBE_SECONDS * 1000);
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
        this.#changed(null);
        go();
      };
    });
    this.#hold = hold;
    this.#changed(null);
    wait(hold.release);
  }

  /** Look as often as the app says, and less often the longer it takes. */
  async #follow(entry, said, signal) {
    let { next, wait } = said;
    while (await passed(wait, signal)) {
      try {
        const now = await this.#looks.through(() => ask(next, "GET"));
        if (signal.aborted) return;
        if (!now.next) return this.#take(entry, now, signal);
        next = now.next;
        wait = Math.max(now.wait, Math.min(wait * 1.5, LONGEST_WAIT));
      } catch (problem) {
        if (!["no-connection", "throttled", "graph-timeout", "graph-failed"].includes(problem.name)) {
          return this.#failed(entry, problem);
        }
        wait = Math.max(problem.wait, Math.min(wait * 2, LONGEST_WAIT));
      }
    }
  }
}

/** Resolves to true after this time, or to false as soon as it is stopped. */
function passed(seconds, signal) {
  return new Promise((go) => {
    const timer = setTimeout(() => go(!signal.aborted), seconds * 1000);
    signal.addEventListener("abort", () => (clearTimeout(timer), go(false)), { once: true });
  });
}
