// The two dialogs: the question before a run, and all that is known of one request.
// Not for: the run itself (run.js, panel.js).

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

/** Ask once. Resolves to whether the reader wants it. */
function confirmed(rows, isDryRun) {
  const one = rows.length === 1;
  const some = (n, single, several) => (!n ? "" : one ? `It ${single}` : `${number(n)} ${n === 1 ? single : several}`);
  say(byId("ask-title"), `Reprocess ${one ? "this request" : `${number(rows.length)} requests`}?`);
  byId("ask-whom").replaceChildren(...(one ? [el("bdi", {}, rows[0].who), " – ", el("bdi", {}, rows[0].package)] : []));
  const closed = rows.filter((row) => row.ends <= appTime()).length;
  const facts = [
    "Microsoft Entra tries to deliver again now, whatever the plan says.",
    some(rows.filter((row) => row.removal).length, "is a removal: the user still has access.", "are removals: the users still have access."),
    some(closed, "has a closed window: Graph will most likely refuse.", "have a closed window: Graph will most likely refuse these."),
  ].filter(Boolean);
  byId("ask-facts").replaceChildren(...facts.map((text) => el("li", {}, text)));
  show(byId("ask-dry"), isDryRun);
  say(byId("ask-yes"), one ? "Reprocess" : `Reprocess ${number(rows.length)}`);
  return answered(byId("ask"), "yes");
}

/** Show all that is known of one request. Resolves to whether the reader wants to reprocess it. */
function details(row, portalUrl) {
  const { item } = row;
  const facts = {
    "Access package": row.package,
    Mail: item.requestorEmail,
    Type: [row.removal && !isDelivered(row) && "Removal: the user still has access", worded(TYPES, row.type)].filter(Boolean).join(". "),
    State: [stateName(row.run?.state || row.state), ownWords(item)].filter(Boolean).join(": "),
    Cause: item.cause === item.statusText ? "" : item.cause,
    Window: [timeLeft(row.ends - appTime()), dateTime(row.ends)].filter(Boolean).join(", "),
    Plan: Object.hasOwn(PLANS, row.plan) ? `${PLANS[row.plan].name}: ${PLANS[row.plan].means}` : row.plan,
    "Next attempt": nextTexts(row, appTime()).filter(Boolean).join(", "),
    Attempts: number(row.attempts),
    Requested: dateTime(Date.parse(item.createdAt)),
    "First failed": dateTime(Date.parse(item.firstFailedAt)),
    "Last failed": dateTime(row.failedAt),
    "Your reprocess": row.run?.text,
  };
  const ids = { "Request id": row.id, "Requestor id": item.requestorId, "Access package id": item.accessPackageId };
  byId("more-title").replaceChildren(el("bdi", {}, row.who));
  byId("more-facts").replaceChildren(
    ...Object.entries(facts).filter(([, text]) => text).flatMap(([name, text]) => [el("dt", {}, name), el("dd", {}, el("bdi", {}, text))]),
    ...Object.entries(ids).filter(([, id]) => id).flatMap(([name, id]) => [el("dt", {}, name), el("dd", {}, el("code", {}, id), " ", copyButton(name, id))]),
  );
  showHistory(item);
  show(byId("more-portal"), Boolean(portalUrl));
  if (portalUrl) mark(byId("more-portal"), "href", portalUrl);
  return answered(byId("more"), "reprocess");
}

/** Our last attempts, newest first: time, caller, outcome, and Graph's words. */
function showHistory(item) {
  const history = item.history ?? [];
  show(byId("more-history"), history.length > 0);
  byId("more-attempts").replaceChildren(
    ...history.map(({ at, by, outcome, words }) =>
      el(
        "li",
        { class: outcome },
        el("span", { class: "soft" }, dateTime(Date.parse(at))),
        el("span", {}, el("b", {}, worded(ATTEMPTS, outcome)), by ? " · " : "", by ? el("bdi", {}, by) : ""),
        words ? el("q", { dir: "auto" }, words) : "",
      ),
    ),
  );
}

function copyButton(name, text) {
  const button = el("button", { type: "button", class: "copy", "aria-label": `Copy the ${name.toLowerCase()}` }, "Copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      say(button, "Copied");
    } catch {
      getSelection().selectAllChildren(button.previousElementSibling); // for Ctrl-C
      say(button, "Press Ctrl-C");
    }
    announce(button.textContent);
  });
  return button;
}
