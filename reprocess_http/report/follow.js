// Looks where a few sent requests are until they have ended: as often as the app says, and less
// often the longer it takes.
// Not for: hundreds of them; the list tells of those with one call.

const FIRST_LOOK = 1; // seconds after it was sent

class Follower {
  #ended;
  #followed = new Set();
  #free = LOOKS_AT_ONCE;
  #queue = [];

  /** `ended(entry, {outcome, state} or {problem})`: where a request has got to. */
  constructor(ended) {
    this.#ended = ended;
  }

  get size() {
    return this.#followed.size;
  }

  has(entry) {
    return this.#followed.has(entry);
  }

  stop() {
    this.#followed.clear();
  }

  async add(entry) {
    if (this.has(entry)) return;
    this.#followed.add(entry);
    let next = ownPath(entry.link);
    let wait = FIRST_LOOK;
    for (;;) {
      await new Promise((go) => setTimeout(go, wait * SECOND));
      try {
        const said = await this.#inTurn(() => this.has(entry) && look(next));
        if (!this.has(entry)) return;
        if (!said.next) return this.#end(entry, said);
        next = said.next;
        wait = Math.max(said.wait, Math.min(wait * 1.5, LONGEST_WAIT));
      } catch (problem) {
        if (!this.has(entry)) return;
        if (!["no-connection", "throttled", "graph-timeout", "graph-failed"].includes(problem.name)) {
          return this.#end(entry, { problem });
        }
        wait = Math.max(problem.wait, Math.min(wait * 2, LONGEST_WAIT));
      }
    }
  }

  #end(entry, said) {
    this.#followed.delete(entry);
    this.#ended(entry, said);
  }

  /** Run this when fewer than LOOKS_AT_ONCE others are under way. */
  async #inTurn(action) {
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
