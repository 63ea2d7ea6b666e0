"""graph/calls.py: which calls there are, how failed requests are listed, and what a call returns.

Not for: how a call is sent (test_graph_client.py), or what a request is (test_graph_request.py).
"""

from __future__ import annotations

import json
from urllib.parse import unquote

import pytest

import graph
import settings as app_settings
from graph.tokens import TokenClaims
from settings import load
from tests.support.emulated_graph import PACKAGES
from tests.support.scripted_transport import ID, NOW, REQUESTS, ROOT, World, entity, reply

DATE = "Tue, 24 Nov 2026 10:00:00 GMT"
OTHER = ID[:-1] + "8"
GRAPH = ROOT.removesuffix("/v1.0")
STATES = "(state eq 'deliveryFailed' or state eq 'partiallyDelivered')"


def page(*found, link=None):
    return reply(
        200, {"value": list(found)} | ({"@odata.nextLink": link} if link else {}), Date=DATE
    )


def listed(script, *packages, names=False):
    """List over a scripted Graph."""
    world = World(script)
    return world, list(world.graph.failed(world.deadline(), *packages, names=names))


def queries(world):
    return [unquote(url.partition("?")[2]) for _, url in world.calls]


# -- requests --


def test_reprocess_and_read_are_calls_below_the_request():
    world = World([reply(202, Date=DATE, request_id="g-1"), reply(200, entity(), Date=DATE)])

    (accepted,) = world.graph.reprocess_each([ID], world.deadline())
    (read,) = world.graph.read_each([ID], world.deadline())

    assert [("POST", f"{REQUESTS}/{ID}/reprocess"), ("GET", f"{REQUESTS}/{ID}")] == world.calls
    client_id = world.transport.sent[0].headers["client-request-id"]
    assert graph.Accepted(NOW, "g-1", client_id) == accepted
    assert (ID, "deliveryFailed", NOW) == (read.id, read.state, read.read_at)


@pytest.mark.parametrize(("method", "tail"), [("GET", ""), ("POST", "/reprocess")])
def test_many_are_one_batch_of_the_same_calls(method, tail):
    """Methods are written in capitals: Graph's page on batching has them so."""
    world = World([reply(200, {"responses": [{"id": n, "status": 500} for n in "01"]})])
    call = world.graph.reprocess_each if tail else world.graph.read_each

    assert [graph.GraphFailed] * 2 == [type(e) for e in call([ID, OTHER], world.deadline())]
    items = json.loads(world.transport.sent[0].body)["requests"]
    urls = [f"{REQUESTS}/{one}{tail}".removeprefix(ROOT) for one in (ID, OTHER)]
    assert [(method, url) for url in urls] == [(item["method"], item["url"]) for item in items]


def test_the_identity_is_what_a_token_says():
    """Our clock and waits are those of Graph's calls."""
    world = World([])
    world.credential.roles = ["a"]

    assert TokenClaims(None, ("a",)) == world.graph.identity(world.deadline())
    assert (world.sleep, world.our_clock) == (world.graph.sleep, world.graph.now)


@pytest.mark.parametrize("body", [{}, entity() | {"id": OTHER}, entity("")])
def test_an_answer_that_is_not_the_request_asked_for_says_nothing(body):
    """Nor does one without a state."""
    world = World([reply(200, body, request_id="g-1")])

    with pytest.raises(graph.GraphFailed, match="or lacks 'state'") as caught:
        world.graph.read(ID, world.deadline())

    assert (True, "g-1") == (caught.value.outcome_unknown, caught.value.graph_request_id)


def test_reading_one_retries_and_reading_each_does_not():
    world = World([reply(500), reply(200, entity()), reply(500)])

    assert ID == world.graph.read(ID.upper(), world.deadline()).id
    (failed,) = world.graph.read_each([ID], world.deadline())
    assert isinstance(failed, graph.GraphFailed)


# -- lists --


def test_the_list_asks_for_both_states_and_follows_its_pages():
    link = f"{ROOT}/next?$skiptoken=1"
    world, found = listed([page(entity(), link=link), page(entity("partiallyDelivered"))])

    assert [("deliveryFailed", NOW), ("partiallyDelivered", NOW)] == [
        (one.state, one.read_at) for one in found
    ]
    fields = "id,state,requestType,completedDateTime"
    assert [f"$select={fields}&$filter={STATES}&$top=500", "$skiptoken=1"] == queries(world)
    assert ("GET", link) == world.calls[1]


def test_beta_has_other_names_and_paths():
    path = "accessPackageAssignmentRequests"
    world = World([page()], GRAPH_API_VERSION="beta", GRAPH_REQUESTS_PATH=path)
    list(world.graph.failed(world.deadline()))

    states = "(requestState eq 'DeliveryFailed' or requestState eq 'PartiallyDelivered')"
    query = f"$select=id,requestState,requestType,completedDate&$filter={states}&$top=500"
    url = f"{GRAPH}/beta/identityGovernance/entitlementManagement/{path}?{query}"
    assert [("GET", url)] == [(method, unquote(url)) for method, url in world.calls]


@pytest.mark.parametrize(("names", "expand"), [(False, "accessPackage"), (True, "accessPackage,requestor")])  # fmt: skip
def test_a_package_is_listed_in_the_form_that_catalog_roles_may_use(names, expand):
    """Where Graph does not say the package, it is the one that was asked for."""
    told = entity() | {"id": OTHER, "accessPackage": {"id": PACKAGES[1]}}
    world, found = listed([page(entity(), told)], PACKAGES[0], names=names)

    package = f"accessPackage/id eq '{PACKAGES[0]}' and "
    assert [f"$expand={expand}&$filter={package}{STATES}&$top=500"] == queries(world)
    assert PACKAGES[:2] == [one.access_package_id for one in found]


@pytest.mark.parametrize(("names", "refused", "last"), [
    (False, 1, ["or"]),
    (False, 2, ["", ""]),
    (True, 0, ["names or top"]),
    (True, 1, ["names or"]),
    (True, 2, ["names", "names"]),
    (True, 3, ["or top"]),
    (True, 5, ["", ""]),
])  # fmt: skip
def test_what_graph_refuses_of_the_list_is_left_out_and_that_is_remembered(names, refused, last):
    """First `$top`, then the filter on both states, then the names."""
    words = {"names": "requestor", "or": " or ", "top": "$top=500"}
    world = World([*[reply(400)] * refused, *[page(entity())] * 4])

    for _ in range(2):
        assert len(last) == len(list(world.graph.failed(world.deadline(), names=names)))

    forms = [" ".join(w for w, text in words.items() if text in q) for q in queries(world)]
    assert [last, last] == [forms[refused : refused + len(last)], forms[refused + len(last) :]]
    assert len(forms) == len(set(forms[:refused])) + 2 * len(last)


def test_a_list_that_graph_refuses_in_every_form_is_refused_in_its_first_words():
    """And nothing is remembered of it."""
    world = World([*[reply(400, {"error": {"code": str(n)}}) for n in range(3)], page(entity())])

    with pytest.raises(graph.GraphRefused) as caught:
        list(world.graph.failed(world.deadline()))

    assert "0" == caught.value.code
    assert 1 == len(list(world.graph.failed(world.deadline())))
    assert "$top=500" in queries(world)[-1]


@pytest.mark.parametrize("script", [[reply(409)], [page(entity(), link=f"{ROOT}/next"), reply(400)]])  # fmt: skip
def test_only_the_first_page_is_asked_for_in_another_form_and_only_after_a_400(script):
    """An expired nextLink, for one, ends the list; what was read before is there."""
    world, found = World(script), []

    with pytest.raises(graph.GraphRefused):
        found.extend(world.graph.failed(world.deadline()))

    assert len(script) == len(world.calls)
    assert len(script) - 1 == len(found)


@pytest.mark.parametrize(("pages", "again"), [([499], False), ([500], True), ([501], False), ([300, 200], False)])  # fmt: skip
def test_a_single_page_that_is_exactly_full_is_read_once_more_without_top(pages, again):
    """It may mean the whole list."""
    script = [
        page(*[entity()] * size, link=f"{ROOT}/next{n}" if n + 1 < len(pages) else None)
        for n, size in enumerate(pages)
    ]
    world, found = listed([*script, page(*[entity()] * 3)])

    assert sum(pages) + 3 * again == len(found)
    assert again is ("top" not in queries(world)[-1] and len(pages) == 1)


def test_what_is_no_request_in_a_list_is_passed_over():
    """Without an id nothing can be done; without a state it is shown."""
    items = ["x", None, {"state": "deliveryFailed"}, {"id": ID, "state": None}]

    assert [(ID, "")] == [(one.id, one.state) for one in listed([page(*items)])[1]]


@pytest.mark.parametrize(("script", "detail"), [
    ([reply(200, {"value": {}})], "Graph answered a list without 'value'"),
    ([page(link=7)], "Graph's nextLink leads to no further page"),
    ([page(link=f"{ROOT}/{n}") for n in "aba"], "Graph's nextLink leads to no further page"),
    ([page(link="https://x.example/v1.0/x")], "Graph's nextLink leaves the Graph root; it was not followed"),
])  # fmt: skip
def test_a_list_that_cannot_be_read_to_its_end_fails(script, detail):
    """An empty list is one; nothing at all is not, and a circle has no end."""
    with pytest.raises(graph.GraphFailed, match=f"^{detail}$"):
        listed(script)


# -- one for the process --


@pytest.mark.parametrize(("at_once", "connections"), [("64", 64), ("8", 32)])
def test_a_process_has_one_graph(monkeypatch, at_once, connections):
    """With one credential and one session, and enough connections."""
    graph.shared.cache_clear()
    monkeypatch.setattr(app_settings, "current", lambda: load({"GRAPH_CONCURRENCY": at_once}))

    one = graph.shared()

    assert one is graph.shared()
    assert connections == one._client._session.get_adapter("https://x")._pool_maxsize
    graph.shared.cache_clear()
