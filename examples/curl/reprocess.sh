#!/bin/sh
# Has one request reprocessed and waits for the end of the delivery.
#   REDELIVER_URL=https://<app>.azurewebsites.net REDELIVER_KEY=<key> ./reprocess.sh REQUEST_ID
# Prints the last answer. Exit code 0: the access is there; 1: it is not; 2: called wrongly.
set -eu
: "${REDELIVER_URL:?should be https://<app>.azurewebsites.net}" "${REDELIVER_KEY:?should be a function key}"
[ $# -eq 1 ] || { echo "usage: $0 REQUEST_ID" >&2; exit 2; }

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# The key goes in through standard input: a command line can be read by others on the machine.
call() {
    printf 'header = "x-functions-key: %s"\n' "$REDELIVER_KEY" |
        curl --silent --show-error --config - --max-time 90 \
            --dump-header "$folder/headers" --output "$folder/body" --write-out '%{http_code}' "$@"
}
header() { tr -d '\r' <"$folder/headers" | awk -F ': ' -v name="$1" 'tolower($1) == name { print $2 }'; }

# Without --data a POST has no Content-Length, which Azure's front end may refuse (411).
status=$(call --data '' "$REDELIVER_URL/api/requests/$1/reprocess")
while [ "$status" = 202 ]; do
    location=$(header location)
    sleep "$(header retry-after)"
    status=$(call "$location")
done
cat "$folder/body"
echo
grep -Eq '"outcome": *"(delivered|alreadyDelivered)"' "$folder/body"
