// What each control of the page does, and what begins by itself. The last part: it starts the page.
// Not for: what it takes to do it.

const SEARCH_PAUSE = 120; // ms after the last key before the rows are chosen anew
const TICK = 20_000; // ms after which "5 minutes ago" is written anew

async function start(rows) {
  if (!rows.length || !(await confirmed(rows, list.now()))) return;
  if (run.isOver) {
    run.clear();
    panel.close();
  }
  run.add(rows);
  panel.open(run);
  table.select([...table.selected].filter((id) => !run.entries.has(id)));
}

byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  functionKey = byId("key").value.trim();
  byId("key").value = "";
  load();
});
byId("again").addEventListener("click", () => again());
byId("leave").addEventListener("click", () => {
  if (!functionKey) return location.assign("/.auth/logout?post_logout_redirect_uri=%2Fapi%2Freport");
  functionKey = "";
  showDoor();
});
byId("refresh").addEventListener("click", load);
byId("download").addEventListener("click", async () => {
  try {
    await download(queryOf(wanted));
    const rest = wanted.search || wanted.closes ? " Search and window are not applied to it." : "";
    announce(`The file was saved.${rest}`);
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    showBroken(problem, "The file could not be fetched", "");
  }
});
byId("skip").addEventListener("click", () => byId("table-title").focus());
byId("closing-tile").addEventListener("click", () => want({ closes: wanted.closes === "48h" ? "" : "48h" }));
byId("removals-tile").addEventListener("click", () => want({ type: wanted.type === "removal" ? "" : "removal" }));
byId("clear").addEventListener("click", () => {
  want({ ...wantedFrom(""), sort: wanted.sort });
  byId("search").focus(); // this button is gone now
});
byId("search").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => want({}), SEARCH_PAUSE);
});
for (const name of ["package", "type", "state", "closes", "sort"]) {
  byId(name).addEventListener("change", () => want({ [name]: byId(name).value }));
}
byId("reprocess-selected").addEventListener("click", () => start(list.rows.filter((row) => table.selected.has(row.id))));
byId("clear-selection").addEventListener("click", () => {
  table.select([]);
  byId("table-title").focus();
});
byId("run-close").addEventListener("click", () => {
  run.clear();
  panel.close();
  byId("table-title").focus();
});
addEventListener("hashchange", () => {
  want(wantedFrom(location.hash));
});
addEventListener("beforeunload", (event) => run.isSending && event.preventDefault());
setInterval(() => {
  if (document.hidden || byId("list").hidden) return;
  showAge();
  showSweep(list.lastSweep, list.now());
  table.paint();
}, TICK);

byId("words").append(...Object.values(PLANS).flatMap(({ name, means }) => [el("dt", {}, name), el("dd", {}, means)]));
// Whoever opened the page with ?code=… by habit: the key is not needed there, and must not stay.
if (location.search) history.replaceState(null, "", location.pathname + location.hash);
load();
