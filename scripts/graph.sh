# What scripts/permission and scripts/callers share: calls to Microsoft Graph as the one who is
# signed in to az, and app roles given and taken away.
# shellcheck shell=sh

stop() {
    echo "$1" >&2
    exit 1
}

# Whether all of a text is like a pattern. grep alone would be content with one of its lines.
is_like() {
    [ -n "$1" ] && [ "$(printf %s "$1" | grep -Ex "$2")" = "$1" ]
}

need_guids() {
    for id in "$@"; do
        is_like "$id" '[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}' ||
            stop "'$id' is not an id: it should look like 00000000-0000-0000-0000-000000000000"
    done
}

# Finds Graph: that of az's cloud (az cloud set), unless GRAPH_ROOT names another one.
# US Gov L5 needs GRAPH_ROOT=https://dod-graph.microsoft.us, which az knows no cloud for.
find_graph() {
    GRAPH_ROOT=${GRAPH_ROOT:-$(az cloud show --query endpoints.microsoftGraphResourceId --output tsv)}
    GRAPH_ROOT=${GRAPH_ROOT%/}
    [ -n "$GRAPH_ROOT" ] || stop "az does not say where Microsoft Graph is"
}

# Calls Graph: METHOD, path, then more for az rest.
graph() {
    method=$1 path=$2
    shift 2
    az rest --method "$method" --url "$GRAPH_ROOT/v1.0/$path" --resource "$GRAPH_ROOT" \
        --output tsv "$@" || stop "Graph did not take it: $method $path"
}

# The same, for what was just made: Entra answers 400 and 404 until it has spread. Waits two minutes.
graph_when_spread() {
    left=24
    until answer=$(graph "$@" 2>/dev/null); do
        left=$((left - 1))
        [ "$left" -gt 0 ] || { graph "$@"; return; } # once more, to show what az says
        sleep 5
    done
    printf '%s' "$answer"
}

# The next three take PRINCIPAL, OWNER and ROLE: who has a role, as a path like users/ID, the service
# principal that the role is one of, and the role's id.
app_role_assignment() {
    graph GET "$1/appRoleAssignments" --url-parameters "\$filter=resourceId eq $2" \
        --query "value[?resourceId=='$2' && appRoleId=='$3'].id"
}

add_app_role() {
    assignment=$(app_role_assignment "$@") || exit 1
    [ -z "$assignment" ] || { echo "It has this role already."; return; }
    graph POST "$1/appRoleAssignments" --body \
        "{\"principalId\": \"${1#*/}\", \"resourceId\": \"$2\", \"appRoleId\": \"$3\"}" >/dev/null
    echo "It has this role now. Tokens issued before lack it, for up to a day."
}

remove_app_role() {
    assignment=$(app_role_assignment "$@") || exit 1
    [ -n "$assignment" ] || { echo "It does not have this role."; return; }
    graph DELETE "$1/appRoleAssignments/$assignment"
    echo "It does not have this role any more. Tokens issued before carry it, for up to a day."
}
