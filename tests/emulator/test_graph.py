"""The emulated Graph refuses what Graph refuses: without that, no test beside it proves a thing.

Not for: what it does when it is called rightly, its switches and its faults: every test beside it
shows those (e2e/, faults/). Where each rule is from: emulator/query.py, service.py, batch.py.
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from emulator.checks import Wrong
from emulator.identity import Identity
from tests.support.emulated_graph import (
    BETA,
    CATALOGS,
    IDS,
    LEGACY,
    PACKAGES,
    PATH,
    READ,
    ROOT,
    SECRET,
    START,
    UNKNOWN,
    WRITE,
    error,
    fresh,
    get_item,
    ids,
    post_item,
    statuses,
)

BAD = (400, "BadRequest")


@pytest.fixture(name="graph")
def _graph():
    return fresh()


# -- paths, methods, options --


@pytest.mark.parametrize(("method", "path", "expected"), [
    ("GET", LEGACY.replace("beta", "v1.0"), (*BAD, "segment 'accessPackageA")),
    ("GET", PATH.lower(), (*BAD, "segment 'identitygovernance'")),
    ("GET", f"{PATH}/{IDS[0]}/history", (*BAD, "segment 'history'")),
    ("GET", "/v2.0/users", (*BAD, "Invalid version: v2.0")),
    ("GET", f"{PATH}/not-a-guid", (*BAD, "not a valid GUID")),
    ("GET", f"{PATH}/{UNKNOWN}", (404, "ResourceNotFound", "was not found")),
    ("POST", f"{PATH}/{UNKNOWN}/reprocess", (404, "ResourceNotFound", "was not found")),
    ("GET", f"{PATH}/{IDS[0]}/reprocess", (405, "MethodNotAllowed", "not allowed")),
    ("POST", f"{PATH}/{IDS[0]}", (405, "MethodNotAllowed", "not allowed")),
    ("DELETE", PATH, (405, "MethodNotAllowed", "not allowed")),
    ("GET", "/beta/$batch", (405, "MethodNotAllowed", "not allowed")),
])  # fmt: skip
def test_a_path_or_method_that_is_not_there(graph, method, path, expected):
    """Unknown segments are 400, unknown ids 404, ids that are none 400, wrong methods 405."""
    status, code, message = error(graph.call(method, path))

    assert (status, code) == expected[:2]
    assert expected[2] in message


@pytest.mark.parametrize(("path", "query"), [
    *((f"{PATH}/{IDS[0]}", {name: "1"}) for name in ("$filter", "$top", "api-version")),
    (f"{PATH}/{IDS[0]}", {"$select": "requestState"}),
    *((f"{PATH}/{IDS[0]}", {"$expand": text}) for text in ("target", "assignment)", "*")),
    *((PATH, {name: "1"}) for name in ("$orderby", "$count", "$skip", "$search", "filter")),
    *((PATH, {"$top": text}) for text in ("0", "many")),
    (PATH, [("$select", "id"), ("$select", "state")]),
], ids=str)  # fmt: skip
def test_an_option_that_graph_does_not_know(graph, path, query):
    """The other version's names, undocumented options, broken syntax, one twice."""
    assert error(graph.get(path, query))[:2] == BAD


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (PATH, "requestState eq 'DeliveryFailed'"),
        (BETA, "state eq 'deliveryFailed'"),
        (PATH, "completedDateTime gt 2026-08-01T00:00:00Z"),
        (PATH, "state in ('deliveryFailed','partiallyDelivered')"),
        (PATH, "state ne 'delivered'"),
        (PATH, "not (state eq 'delivered')"),
        (PATH, "state eq 'DeliveryFailed'"),
        (PATH, "requestType eq 'userAdd'"),
        (PATH, "state eq 'delivered' and"),
        (PATH, "(" * 500 + "state eq 'delivered'" + ")" * 500),
        (PATH, f"accessPackage/id eq '{PACKAGES[0]}'"),  # without $expand=accessPackage
    ],
)
def test_a_filter_that_graph_does_not_take(graph, path, text):
    """Other properties and operators, the other version's names, unknown states, broken syntax."""
    assert error(graph.get(path, {"$filter": text}))[:2] == BAD


def test_a_skiptoken_belongs_to_its_query(graph):
    """Altered, made up, or taken to another query or path: 400; unaltered it goes on."""
    graph.turn(pageSize=1)
    token = graph.list(select="id").json()["@odata.nextLink"].partition("$skiptoken=")[2]
    assert ids(graph.list(skiptoken=token, select="id")) == [1]
    swapped = ("B" if token[20] == "A" else "A").join((token[:20], token[21:]))

    for path, query in [
        (PATH, {"$skiptoken": token}),
        (BETA, {"$skiptoken": token, "$select": "id"}),
        (PATH, {"$skiptoken": swapped, "$select": "id"}),
        (PATH, {"$skiptoken": "é%%", "$select": "id"}),
    ]:
        message = "The $skiptoken is not valid for this query."
        assert error(graph.get(path, query)) == (*BAD, message)


# -- who may --


def test_a_token_that_is_not_of_this_cloud_and_now(graph):
    """401 InvalidAuthenticationToken before all else."""
    other = Identity("x").issue("https://graph.microsoft.com", [WRITE], 3600, START)[0]
    expired, foreign = graph.token(seconds=-1), graph.token(audience="https://graph.microsoft.us")
    bad = [
        (None, "Access token is empty."),
        ("Basic abc", "Access token is empty."),
        ("Bearer abc", "CompactToken parsing failed."),
        (f"Bearer {other}", "Access token validation failure. Invalid signature."),
        (f"Bearer {expired}", "Lifetime validation failed, the token is expired."),
        (f"Bearer {foreign}", "Access token validation failure. Invalid audience."),
    ]

    for path in (PATH, "/v1.0/users", "/v1.0/$batch"):
        for header, message in bad:
            graph.headers = {} if header is None else {"Authorization": header}
            answer = graph.get(path)
            assert error(answer) == (401, "InvalidAuthenticationToken", message)
            assert answer.headers["WWW-Authenticate"].startswith("Bearer ")


@pytest.mark.parametrize(
    ("roles", "reads", "writes"),
    [((READ,), 200, 403), ((WRITE,), 200, 202), (("User.Read.All",), 403, 403), ((), 403, 403)],
)
def test_app_roles_decide(graph, roles, reads, writes):
    """Read.All reads, ReadWrite.All does both, anything else nothing; in a batch as well."""
    graph.be(*roles)

    found = statuses(graph.batch(get_item("1", 1), post_item("2", 1)))

    assert {"1": reads, "2": writes} == found
    assert [reads, reads, writes] == [
        one.status_code for one in (graph.list(), graph.read(), graph.reprocess())
    ]


def test_catalog_roles_list_only_by_access_package(graph):
    """Only a filter that confines the whole list to packages of permitted catalogs is answered."""
    graph.be(catalogs=[CATALOGS[0].upper()])
    one, other = (f"accessPackage/id eq '{package}'" for package in PACKAGES[:2])
    expected = {
        None: 403,
        "state eq 'deliveryFailed'": 403,
        one: 200,
        other: 403,
        f"{one} or {other}": 403,
        f"{one} or state eq 'deliveryFailed'": 403,
        f"{one} and (state eq 'deliveryFailed' or state eq 'partiallyDelivered')": 200,
        f"accessPackage/id eq '{UNKNOWN}'": 403,
    }

    found = {
        text: graph.list(expand="accessPackage", **({"filter": text} if text else {})).status_code
        for text in expected
    }

    assert found == expected
    assert [200, 403] == [graph.read(n).status_code for n in (0, 1)]
    assert [202, 403] == [graph.reprocess(n).status_code for n in (0, 1)]


@pytest.mark.parametrize(("header", "query", "status"), [
    (None, {}, 401),
    (SECRET.upper(), {}, 401),
    (SECRET, {"api-version": "2017-09-01"}, 400),
    (SECRET, {"resource": "https://graph.microsoft.com/.default"}, 400),
    (SECRET, {"client_id": UNKNOWN}, 400),
])  # fmt: skip
def test_the_identity_endpoint_is_as_strict_as_app_services(graph, header, query, status):
    """Header exact, version and resource given, client id known."""
    assert status == graph.identity_answer(header, **query).status_code


# -- reprocess --


def test_a_reprocess_where_it_cannot_be(graph):
    """On its way already, wrong state, window closed: 400 (codes and texts are ours)."""
    graph.turn(staleSeconds=5)
    graph.reprocess()
    graph.put({"completedDateTime": "2026-08-06T11:59:59Z"}, {"state": "delivered"}, first=3)
    assert "deliveryFailed" == graph.read().json()["state"]  # what is shown is stale

    assert [error(graph.reprocess(n)) for n in (0, 2, 3, 4)] == [
        (400, "InvalidRequestState", text)
        for text in (
            "The request is being delivered.",
            "A request in state pendingApproval cannot be reprocessed.",
            "The request was completed too long ago to be reprocessed.",
            "A request in state delivered cannot be reprocessed.",
        )
    ]


# -- $batch --


@pytest.mark.parametrize("change", [
    {"body": None},
    {"headers": None},
    {"headers": {"Content-Type": "text/plain"}},
    {"url": "https://graph.microsoft.com/v1.0/identityGovernance"},
    {"url": PATH},
    {"url": "/$batch"},
], ids=str)  # fmt: skip
def test_a_faulty_item_fails_alone(graph, change):
    """A POST without body or Content-Type, an absolute or versioned url, a batch inside: 400."""
    item = {name: value for name, value in {**post_item("1"), **change}.items() if value}

    assert statuses(graph.batch(item, post_item("2", 1))) == {"1": 400, "2": 202}
    assert graph.state() == "deliveryFailed"


@pytest.mark.parametrize(("payload", "code"), [
    ({"requests": [post_item(str(n)) for n in range(21)]}, "MaximumValueExceeded"),
    ({"requests": [post_item("1"), post_item("1", 1)]}, "BadRequest"),
    ({"requests": [post_item("")]}, "BadRequest"),
    ({"requests": [post_item(1)]}, "BadRequest"),
    ({"requests": [{"id": "1", "url": ROOT}]}, "BadRequest"),
    ({"requests": [{"id": "1", "method": "GET"}]}, "BadRequest"),
    ({"requests": [post_item("1"), post_item("2", dependsOn=["1"])]}, "BadRequest"),
    ({"requests": []}, "BadRequest"),
    (None, "BadRequest"),
])  # fmt: skip
def test_a_malformed_batch_fails_as_a_whole(graph, payload, code):
    """Over twenty, ids missing, doubled or no text, no method or url: nothing is carried out."""
    answer = graph.call("POST", "/v1.0/$batch", json=payload)

    assert error(answer)[:2] == (400, code)
    assert graph.state() == "deliveryFailed"


# -- throttling --


def test_a_limit_gives_its_burst_at_once_and_refills_by_the_second(graph):
    """A refused call takes nothing, more than the burst is never saved, each batch item counts."""
    graph.turn(throttle={"perSecond": 2, "burst": 4, "level": 1})
    passed = []
    for seconds in (0, 0.5, 1000):
        graph.now += timedelta(seconds=seconds)
        passed.append([graph.list().status_code for _ in range(5)].count(200))
    graph.now += timedelta(seconds=0.5)

    assert [1, 1, 4] == passed
    assert {"1": 200, "2": 429} == statuses(graph.batch(get_item("1"), get_item("2")))


@pytest.mark.parametrize(("form", "header"), [
    ("int", "4"),
    ("decimal", "3.334"),
    ("date", "Thu, 20 Aug 2026 12:00:05 GMT"),
    ("none", None),
])  # fmt: skip
def test_a_retry_after_is_never_too_early(graph, form, header):
    """Rounded up in every form."""
    graph.turn(throttle={"perSecond": 0.3, "level": 0, "retryAfter": form})

    assert header == graph.list().headers.get("Retry-After")


# -- what a test asks of the emulator itself --


def test_a_misspelt_switch_or_fault_is_refused(graph):
    """Else a test would prove nothing without anybody noticing."""
    with pytest.raises(Wrong, match="settings has no field 'pagesize'"):
        graph.turn(pagesize=1)
    with pytest.raises(Wrong, match="'on' must be one of reprocess, read"):
        graph.fault("lists", "html")
