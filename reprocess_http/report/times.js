// Numbers and times as a reader reads them, in the reader's own time zone.
// Not for: what they are about.

const NUMBER = new Intl.NumberFormat("en-GB");
const DATE_TIME = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
// With date and zone, for paper and whoever gets it.
const STAMP = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "long" });
const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

function number(n) {
  return NUMBER.format(n);
}

/** "1 request", "2,000 requests". */
function count(n, one, many = `${one}s`) {
  return `${number(n)} ${n === 1 ? one : many}`;
}

/** A length of time in its largest whole unit, hours up to two days: what is left is never more. */
function span(ms) {
  if (ms < MINUTE) return "less than a minute";
  if (ms < HOUR) return count(Math.floor(ms / MINUTE), "minute");
  if (ms < 2 * DAY) return count(Math.floor(ms / HOUR), "hour");
  return count(Math.floor(ms / DAY), "day");
}

function ago(ms) {
  return ms < MINUTE ? "just now" : `${span(ms)} ago`;
}

function timeLeft(ms) {
  if (Number.isNaN(ms)) return "not known";
  return ms > 0 ? `${span(ms)} left` : `closed ${ago(-ms)}`;
}

function dateTime(at) {
  return Number.isNaN(at) ? "" : DATE_TIME.format(at);
}

/** Keeps a name from turning around the text beside it, where there is no element to do so. */
function isolated(text) {
  return `\u2068${text}\u2069`;
}
