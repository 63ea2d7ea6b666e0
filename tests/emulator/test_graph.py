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
STATE = "state eq 'delivered'"


@pytest.fixture(name="graph")
def _graph():
    return fresh()


@pytest.mark.parametrize(("path", "query"), [
    (LEGACY.replace("beta", "v1.0"), None),
    (PATH.replace("G", "g"), None),
    (f"{PATH}/{IDS[0]}/history", None),
    (PATH.replace("v1.0", "v2.0"), None),
    (f"{PATH}/not-a-guid", None),
    (f"{PATH}/{IDS[0]}", {"$select": "id"}),  # nobody here sends one
    (PATH, {"$orderby": "id"}),
    (PATH, {"$top": "0"}),
    (PATH, {"$select": "requestState"}),
    (PATH, {"$expand": "target"}),
    (PATH, [("$select", "id"), ("$select", "state")]),
    (PATH, {"$filter": "requestState eq 'DeliveryFailed'"}),
    (BETA, {"$filter": "state eq 'deliveryFailed'"}),
    (PATH, {"$filter": "state ne 'delivered'"}),
    (PATH, {"$filter": "state eq 'DeliveryFailed'"}),
    (PATH, {"$filter": f"{STATE} and"}),
    (PATH, {"$filter": f"{STATE} and x"}),
    (PATH, {"$filter": f"({STATE})({STATE})"}),
    (PATH, {"$filter": f"accessPackage/id eq '{PACKAGES[0]}'"}),  # without $expand=accessPackage
], ids=str)  # fmt: skip
def test_a_path_or_option_that_graph_does_not_know_is_400(graph, path, query):
    """Other segments and versions, the other version's names, what is undocumented or broken."""
    assert error(graph.get(path, query))[:2] == BAD


def test_an_unknown_id_is_404_and_a_wrong_method_405(graph):
    """A reprocess is a POST."""
    paths = f"{PATH}/{UNKNOWN}", f"{PATH}/{IDS[0]}/reprocess"

    assert [(404, "ResourceNotFound"), (405, "MethodNotAllowed")] == [
        error(graph.get(path))[:2] for path in paths
    ]


def test_a_skiptoken_belongs_to_its_query(graph):
    """Made up or taken to another query or path it is 400; unaltered it goes on."""
    graph.turn(pageSize=1)
    token = graph.list(select="id").json()["@odata.nextLink"].partition("$skiptoken=")[2]

    assert ids(graph.list(skiptoken=token, select="id")) == [1]
    for path, query in [
        (PATH, {"$skiptoken": token}),
        (BETA, {"$skiptoken": token, "$select": "id"}),
        (PATH, {"$skiptoken": f"{token}x", "$select": "id"}),
    ]:
        assert error(graph.get(path, query))[:2] == BAD


# -- who may --


def test_a_token_that_is_not_of_this_cloud_and_now_is_refused(graph):
    """401 InvalidAuthenticationToken before all else, also before a batch is read."""
    other = Identity("x").issue("https://graph.microsoft.com", [WRITE], 3600, START)[0]
    for header, message in [
        (None, "Access token is empty."),
        ("Bearer abc", "CompactToken parsing failed."),
        (f"Bearer {other}", "Access token validation failure. Invalid signature."),
        (f"Bearer {graph.token(seconds=-1)}", "Lifetime validation failed, the token is expired."),
        (f"Bearer {graph.token(audience='https://graph.microsoft.us')}",
         "Access token validation failure. Invalid audience."),
    ]:  # fmt: skip
        graph.headers = {} if header is None else {"Authorization": header}
        for path in ("/v1.0/users", "/v1.0/$batch"):
            assert error(graph.get(path)) == (401, "InvalidAuthenticationToken", message)


@pytest.mark.parametrize(
    ("role", "reads", "writes"), [(READ, 200, 403), (WRITE, 200, 202), ("User.Read.All", 403, 403)]
)
def test_app_roles_decide(graph, role, reads, writes):
    """Read.All reads, ReadWrite.All does both, anything else nothing; in a batch as well."""
    graph.be(role)

    found = statuses(graph.batch(get_item("1", 1), post_item("2", 1)))

    assert {"1": reads, "2": writes} == found
    assert [reads, writes] == [one.status_code for one in (graph.list(), graph.reprocess())]


def test_catalog_roles_list_only_by_access_package(graph):
    """Only a filter that confines the whole list to packages of permitted catalogs is answered."""
    graph.be(catalogs=[CATALOGS[0]])
    one, other = (f"accessPackage/id eq '{package}'" for package in PACKAGES[:2])
    expected = {
        STATE: 403,
        one: 200,
        f"{one} or {other}": 403,
        f"{one} or {STATE}": 403,
        f"{one} and ({STATE} or state eq 'denied')": 200,
        f"accessPackage/id eq '{UNKNOWN}'": 403,
    }

    found = {text: graph.list(expand="accessPackage", filter=text).status_code for text in expected}

    assert found == expected
    assert [200, 403] == [graph.read(n).status_code for n in (0, 1)]
    assert [202, 403] == [graph.reprocess(n).status_code for n in (0, 1)]


@pytest.mark.parametrize(("header", "query", "status"), [
    (SECRET.upper(), {}, 401),
    (SECRET, {"api-version": "2017-09-01"}, 400),
    (SECRET, {"resource": "https://graph.microsoft.com/.default"}, 400),
    (SECRET, {"client_id": UNKNOWN}, 400),
])  # fmt: skip
def test_the_identity_endpoint_is_as_strict_as_app_services(graph, header, query, status):
    """Header exact, version and resource given, client id known."""
    assert status == graph.identity_answer(header, **query).status_code


# -- reprocess, alone and in a $batch --


def test_a_reprocess_where_it_cannot_be_is_refused(graph):
    """On its way already, wrong state, window closed: 400 (codes and texts are ours)."""
    graph.turn(staleSeconds=5)
    graph.reprocess()  # what is shown stays stale
    graph.put({"completedDateTime": "2026-08-06T11:59:59Z"}, {"state": "delivered"}, first=3)

    assert [error(graph.reprocess(n)) for n in (0, 3, 4)] == [
        (400, "InvalidRequestState", text)
        for text in (
            "The request is being delivered.",
            "The request was completed too long ago to be reprocessed.",
            "A request in state delivered cannot be reprocessed.",
        )
    ]


@pytest.mark.parametrize("change", [
    {"body": None},
    {"headers": {"Content-Type": "text/plain"}},
    {"url": "https://graph.microsoft.com/v1.0/identityGovernance"},
    {"url": "/$batch"},
], ids=str)  # fmt: skip
def test_a_faulty_item_fails_alone(graph, change):
    """A POST without body or Content-Type, an absolute url, a batch inside: 400."""
    assert {"1": 400, "2": 202} == statuses(graph.batch(post_item("1") | change, post_item("2", 1)))
    assert graph.state() == "deliveryFailed"


@pytest.mark.parametrize(("payload", "code"), [
    ({"requests": [post_item(str(n)) for n in range(21)]}, "MaximumValueExceeded"),
    ({"requests": [post_item("1"), post_item("1", 1)]}, "BadRequest"),
    ({"requests": [post_item("1"), post_item(2)]}, "BadRequest"),
    ({"requests": [post_item("1"), post_item("2", dependsOn=["1"])]}, "BadRequest"),
    ({"requests": []}, "BadRequest"),
    (None, "BadRequest"),
])  # fmt: skip
def test_a_malformed_batch_fails_as_a_whole(graph, payload, code):
    """Over twenty, ids doubled or no text, nothing in it: nothing is carried out."""
    assert error(graph.call("POST", "/v1.0/$batch", json=payload))[:2] == (400, code)
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


def test_a_retry_after_is_never_too_early(graph):
    """Rounded up in every form."""
    forms = {"int": "4", "decimal": "3.334", "date": "Thu, 20 Aug 2026 12:00:05 GMT", "none": None}
    for form, header in forms.items():
        graph.turn(throttle={"perSecond": 0.3, "level": 0, "retryAfter": form})

        assert header == graph.list().headers.get("Retry-After")


def test_a_misspelt_switch_or_fault_is_refused(graph):
    """Else a test would prove nothing without anybody noticing."""
    with pytest.raises(Wrong, match="settings has no field 'pagesize'"):
        graph.turn(pagesize=1)
    with pytest.raises(Wrong, match="'on' must be one of reprocess, read"):
        graph.fault("lists", "html")
    with pytest.raises(Wrong, match="fault on token: 'kind' must be status"):
        graph.fault("token", "html")
