// The panel below the table: what a run has done, problems first.
// Not for: sending (run.js).

// The groups of a run in the order in which they are listed.
const GROUPS = {
  problem: ["With a problem", "problem"],
  unsent: ["Not sent", "unsent"],
  left: ["Left to the next sweep", "left"],
  sent: ["Sent", "sent", "done"],
  waiting: ["To be sent", "sending", "waiting"],
};
const SAID = ["sent", "problem", "left", "unsent", "waiting"]; // in the order in which they are counted

class Panel {
  #run;
  #later = oncePerFrame(() => this.#draw());
  #said = "";

  constructor(run) {
    this.#run = run;
    byId("run-fold").addEventListener("click", () => this.#fold(!byId("run-body").hidden));
    byId("run-stop").addEventListener("click", () => {
      run.stop();
      byId("run-title").focus(); // the button may be gone now
      this.#later();
    });
    for (const [id, step] of [["run-again", () => run.refused], ["run-rest", () => run.of("unsent")]]) {
      byId(id).addEventListener("click", () => {
        run.add(step().map((entry) => entry.row));
        byId("run-title").focus();
      });
    }
  }

  open() {
    show(byId("run"));
    this.#fold(false);
    this.changed();
  }

  close() {
    show(byId("run"), false);
    byId("run-list").replaceChildren();
  }

  get isOpen() {
    return !byId("run").hidden;
  }

  /** Something of the run has changed; many steps within one frame are shown at once. */
  changed() {
    this.#later();
  }

  #fold(folded) {
    show(byId("run-body"), !folded);
    mark(byId("run-fold"), "aria-expanded", String(!folded));
    say(byId("run-fold"), folded ? "Show" : "Hide");
  }

  #draw() {
    const run = this.#run;
    if (!this.isOpen || !run.entries.size) return;
    const all = run.entries.size;
    const groups = Object.entries(GROUPS).map(([name, [title, ...steps]]) => ({ name, title, entries: run.of(...steps) })).filter((group) => group.entries.length);
    const open = run.count("waiting", "sending");
    const done = run.count("done");
    const said = SAID.map((name) => groups.find((group) => group.name === name)).filter(Boolean);
    const text = said.map(({ entries, title }) => `${number(entries.length)} ${title.toLowerCase()}`).join(", ");
    say(byId("run-title"), run.isSending ? `Reprocessing ${number(all)}: ${number(all - open)} answered` : text);
    say(byId("run-counts"), [run.isSending ? text : "", done && `${number(done)} of these ${done === 1 ? "no longer fails" : "no longer fail"}`].filter(Boolean).join("; "));
    mark(byId("run-progress"), "max", String(all));
    byId("run-progress").value = all - open;
    show(byId("run-progress"), run.isSending);
    this.#drawButtons(run);
    show(byId("run-wait"), Boolean(run.waitsFor));
    say(byId("run-wait"), run.waitsFor);
    this.#drawList(groups);
    this.#tell(run, text);
  }

  #drawButtons(run) {
    const refused = run.refused.length;
    const unsent = run.count("unsent");
    show(byId("run-stop"), run.hasUnsent || (!run.isSending && run.isFollowing));
    say(byId("run-stop"), run.isSending ? "Stop" : "Stop following");
    show(byId("run-again"), !run.isSending && refused > 0);
    say(byId("run-again"), `Again for the ${number(refused)} that ${refused === 1 ? "was" : "were"} refused`);
    show(byId("run-rest"), !run.isSending && unsent > 0);
    say(byId("run-rest"), unsent === 1 ? "Send the one that was not sent" : `Send the rest (${number(unsent)})`);
    show(byId("run-close"), !run.isSending);
  }

  #drawList(groups) {
    const top = byId("run-list").scrollTop;
    byId("run-list").replaceChildren(
      ...groups.map(({ name, title, entries }) =>
        el(
          "li",
          {},
          el("h3", {}, `${title} (${number(entries.length)})`),
          el("ul", { class: name }, ...entries.map(entryLine)),
        ),
      ),
    );
    byId("run-list").scrollTop = top;
  }

  /** A screen reader hears the begin, what holds it up and the end, not each of hundreds. */
  #tell(run, text) {
    const now = run.isSending ? run.waitsFor || "Reprocessing" : `Done: ${text}`;
    if (now === this.#said) return;
    this.#said = now;
    announce(now);
  }
}

function entryLine({ row, step, text }) {
  const whom = el("span", { class: "whom cut" }, el("bdi", {}, row.who), " – ", el("bdi", {}, row.package));
  return el("li", { class: step }, whom, el("span", { class: "came cut", dir: "auto" }, text));
}
