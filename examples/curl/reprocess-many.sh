#!/bin/sh
# Has many requests reprocessed in one call: those named, or all that fail for one cause.
#   REDELIVER_URL=https://<app>.azurewebsites.net REDELIVER_KEY=<key> ./reprocess-many.sh REQUEST_ID...
#   REDELIVER_URL=... REDELIVER_KEY=... ./reprocess-many.sh --cause CAUSE_ID
# Prints the answer and waits for no delivery. Exit code 0: each request is on its way, delivered, or
# left to the next sweep; 1: at least one is not; 2: called wrongly.
set -eu
: "${REDELIVER_URL:?should be https://<app>.azurewebsites.net}" "${REDELIVER_KEY:?should be a function key}"
[ $# -ge 1 ] || { echo "usage: $0 REQUEST_ID... | --cause CAUSE_ID" >&2; exit 2; }

# The key goes in through standard input: a command line can be read by others on the machine.
call() {
    printf 'header = "x-functions-key: %s"\n' "$REDELIVER_KEY" |
        curl --silent --show-error --config - --max-time 90 "$@"
}

if [ "$1" = --cause ]; then
    list=$(call --fail-with-body "$REDELIVER_URL/api/requests?cause=$2&limit=1000") || { echo "$list"; exit 1; }
    ids=$(printf '%s' "$list" | grep -Eo '"requestId": *"[^"]+"' | sed 's/.*: *//')
    [ -n "$ids" ] || { echo "no request fails for this cause"; exit 0; }
else
    ids=$(printf '"%s"\n' "$@")
fi

body="{\"requestIds\": [$(printf '%s' "$ids" | tr '\n' ',')]}"
answer=$(call --fail-with-body --data "$body" "$REDELIVER_URL/api/requests/reprocess") || { echo "$answer"; exit 1; }
echo "$answer"
! printf '%s' "$answer" | grep -Eq '"problem": *"|"outcome": *"notSent"'
