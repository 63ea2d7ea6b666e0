// The view on paper and as a file: exactly the rows that are shown, with date and time zone.
// Not for: the whole list for a script; that is GET /api/requests with `Accept: text/csv`.

const FILE_COLUMNS = "requestId requestType removal state statusText cause accessPackageId accessPackageName requestorId requestorName requestorEmail createdAt firstFailedAt completedAt windowEndsAt hoursLeft attempts lastAttemptAt lastOutcome nextAttemptAt plan".split(" ");
const SEPARATORS = /([,;|\t-\r])/; // where a spreadsheet may begin a new cell that we did not

/** The rows as CSV (RFC 4180), with a byte order mark for Excel, lines as the app writes them. */
function toCsv(rows) {
  const line = (cells) => `${cells.map(quoted).join(",")}\r\n`;
  const cells = ({ item, run }) => FILE_COLUMNS.map((name) => cell(name === "state" && run?.state ? run.state : item[name]));
  return `\ufeff${line(FILE_COLUMNS)}${rows.map((row) => line(cells(row))).join("")}`;
}

function cell(value) {
  return typeof value === "string" ? withoutFormula(value) : String(value ?? "");
}

function quoted(text) {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** A name may be a formula: an apostrophe makes it text, also behind blanks and what is unseen. */
function withoutFormula(text) {
  const isFormula = (part) => /^[\s\p{C}\p{Z}"]*[=+\-@\u2212]/u.test(part.normalize("NFKC"));
  const safe = text.split(SEPARATORS).map((part) => (isFormula(part) ? `'${part}` : part)).join("");
  return /^[\p{C}\p{Zl}\p{Zp}]/u.test(safe) ? `'${safe}` : safe;
}

/** Save the rows as a file, whose name says of when they are and whether any are missing. */
function saveCsv(rows, model, filtered) {
  const link = el("a", { download: fileName(model, filtered) });
  link.href = URL.createObjectURL(new Blob([toCsv(rows)], { type: "text/csv" }));
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), MINUTE); // the browser is saving it meanwhile
}

function fileName(model, filtered) {
  const at = new Date(model.asOf);
  const two = (n) => String(n).padStart(2, "0");
  const offset = -at.getTimezoneOffset();
  const zone = `${offset < 0 ? "-" : "+"}${two(Math.floor(Math.abs(offset) / 60))}${two(Math.abs(offset) % 60)}`;
  const when = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}T${two(at.getHours())}${two(at.getMinutes())}${zone}`;
  const isWhole = model.isWhole && model.body.listComplete !== false;
  return `failed-requests-${when}${filtered ? "-filtered" : ""}${isWhole ? "" : "-incomplete"}.csv`;
}

/** Say on paper of when it is, in which zone, and what was chosen: it shows no controls. */
function writePaperHead(model, words, shown) {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  say(byId("paper"), [`As of ${STAMP.format(model.asOf)} (${zone}).`, shown + ".", words && `Chosen: ${words}.`].filter(Boolean).join(" "));
}
