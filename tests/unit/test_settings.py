"""settings.py: what is read from which app setting, and what is said when it is wrong.

Not for: what each type may be (test_setting_types.py), what the app answers when it is
misconfigured (tests/e2e).
"""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import pytest

import settings
from reprocess_timer.sweep import CLOSING_SECONDS

ROOT = Path(__file__).resolve().parents[2]
ID = "7999249e-249e-7999-9e24-99799e249979"
OTHER = "11111111-2222-3333-4444-555555555555"
KEY = "AccountName=acc1;AccountKey=hunter2"
AZURE = {"WEBSITE_INSTANCE_ID": "4d2f"}
ACCOUNT_URI = "https://acc1.table.core.windows.net"
CONNECTION = "AzureWebJobsStorage"
TABLE, NAME, BLOB, CREDENTIAL, CLIENT_ID = (
    f"{CONNECTION}__{one}"
    for one in ("tableServiceUri", "accountName", "blobServiceUri", "credential", "clientId")
)
DECLARED = settings.Settings.declared()
NAMES = [one.name for one in DECLARED]
NO_ACCOUNT = (
    "AzureWebJobsStorage__accountName, or another setting that names the storage account, should "
    "be set: on Azure no attempts are kept in memory"
)


def problems(environ):
    """Return what is said of these settings: nothing when they are right."""
    try:
        settings.load(environ)
    except settings.SettingsError as error:
        return error.problems
    return []


@pytest.mark.parametrize("blank", ["", " \t\r\n", "\u00a0"])
def test_a_blank_setting_is_unset(blank):
    """The portal stores an emptied setting as an empty one; a default may be set as well."""
    assert settings.load({}) == settings.load(dict.fromkeys(NAMES, blank))
    assert settings.load({}) == settings.load(
        {one.name: f"{blank}{one.default} " for one in DECLARED}
    )


@pytest.mark.parametrize(("cloud", "root", "storage"), [
    ("global", "https://graph.microsoft.com", "core.windows.net"),
    ("UsGov", "https://graph.microsoft.us", "core.usgovcloudapi.net"),
    ("usgov-dod", "https://dod-graph.microsoft.us", "core.usgovcloudapi.net"),
    ("china", "https://microsoftgraph.chinacloudapi.cn", "core.chinacloudapi.cn"),
])  # fmt: skip
@pytest.mark.parametrize("endpoint", ["", "http://127.0.0.1:1"])
def test_a_cloud_sets_root_audience_and_storage_together(cloud, root, storage, endpoint):
    """A token for one cloud never goes to another; on loopback it is still the cloud's own."""
    loaded = settings.load({"GRAPH_CLOUD": cloud, "GRAPH_ENDPOINT": endpoint, NAME: "acc1"})

    assert (endpoint or root, root + "/.default") == (loaded.graph_root, loaded.token_scope)
    assert f"https://acc1.table.{storage}" == loaded.storage_table_uri


# What is wrong


def test_all_problems_are_named_at_once():
    """One error has one sentence for each wrong setting, in the order of the table.

    That no other error is raised, and nothing of a secret is shown, is asked of any text by
    tests/fuzz/configuration.py.
    """
    is_wrong = [one for one in DECLARED if one.name not in {TABLE, BLOB, CONNECTION}]
    found = problems({"SWEEP_DRYRUN": "1"} | {one.name: " no such value " for one in is_wrong})

    assert "SWEEP_DRYRUN is not a setting of this app; did you mean SWEEP_DRY_RUN?" == found.pop()
    assert [one.name + (" " if one.secret else " is 'no such value' but ") for one in is_wrong] == [
        one.partition("should be ")[0] for one in found
    ]


@pytest.mark.parametrize(("environ", "problem"), [
    ({"GRAPH_CLOUD": "mars?"}, "GRAPH_CLOUD is 'mars?' but should be one of global, usgov, usgov-dod, china"),
    ({"HTTP_AUTH_LEVEL": "Anonymous" * 99}, f"HTTP_AUTH_LEVEL is {('Anonymous' * 99)[:80]!r} but should be function or anonymous"),
    ({"SWEEP_SCHEDULE": "0 0 22-6 * * *"},
     "SWEEP_SCHEDULE is '0 0 22-6 * * *' but should be written with ranges that run forwards, as 22-23,0-6: the host reads 22-6 as 6-22"),
    ({"STATUS_LINK_SECRET": "hunter2"}, "STATUS_LINK_SECRET should be at least 32 bytes long"),
    ({CONNECTION: "hunter2", **AZURE},
     "AzureWebJobsStorage should be a storage account's connection string, whole and with its key, or unset with AzureWebJobsStorage__accountName in its place"),
    ({TABLE: "https://acc1.table.core.windows.net/?sv=1&sig=hunter2"},  # an address may have been pasted with a signature
     "AzureWebJobsStorage__tableServiceUri is 'https://acc1.table.core.windows.net/' but should be https://<account>.table.core.windows.net, or your cloud's form of it"),
    ({NAME: "https://acc1.table.core.windows.net/?sv=1&sig=hunter2"},
     "AzureWebJobsStorage__accountName is 'https://acc1.table.core.windows.net/' but should be a storage account's name, 3 to 24 small letters and digits"),
])  # fmt: skip
def test_a_problem_says_what_is_wrong_and_what_would_be_right(environ, problem):
    """Of a secret nothing is shown."""
    assert [problem] == problems(environ)


@pytest.mark.parametrize("name", NAMES)
def test_a_reference_that_was_not_resolved_is_no_value(name):
    """Anybody could guess that "secret"; a role or an account is none either."""
    (problem,) = problems(
        {name: "@microsoft.KeyVault(SecretUri=https://vault.example/of-32-bytes)"}
    )

    assert problem.startswith(f"{name} is a reference that the platform has not resolved: ")


@pytest.mark.parametrize(("environ", "problem"), [
    ({"GRAPH_REQUESTS_PATH": "accesspackageassignmentrequests"},
     "GRAPH_REQUESTS_PATH is 'accesspackageassignmentrequests' but should be assignmentRequests, or GRAPH_API_VERSION should be beta"),
    ({"SWEEP_COOLDOWN_MINUTES": "2000"}, "SWEEP_COOLDOWN_MAX_MINUTES is '1440' but should be at least SWEEP_COOLDOWN_MINUTES (2000)"),
    ({"SWEEP_WINDOW_DAYS": "1", "SWEEP_MIN_AGE_MINUTES": "1440"},
     "SWEEP_MIN_AGE_MINUTES is '1440' but should be less than SWEEP_WINDOW_DAYS (1 days)"),
    ({"SWEEP_WINDOW_DAYS": "1", "SWEEP_COOLDOWN_MINUTES": "1440"},
     "SWEEP_COOLDOWN_MINUTES is '1440' but should be less than SWEEP_WINDOW_DAYS (1 days)"),
    ({"SWEEP_WINDOW_DAYS": "1", "SWEEP_COOLDOWN_MINUTES": "2000"},  # and not that the longest cool-down should be longer still
     "SWEEP_COOLDOWN_MINUTES is '2000' but should be less than SWEEP_WINDOW_DAYS (1 days)"),
])  # fmt: skip
def test_conflicts_are_problems(environ, problem):
    """Two settings that cannot both be meant are refused."""
    assert [problem] == problems(environ)
    assert [] == problems({"SWEEP_WINDOW_DAYS": "1", "SWEEP_COOLDOWN_MINUTES": "1439"})


@pytest.mark.parametrize("environ", [
    {"GRAPH_API_VERSION": "bata", "GRAPH_REQUESTS_PATH": "accessPackageAssignmentRequests"},
    {"SWEEP_COOLDOWN_MINUTES": "1h", "SWEEP_COOLDOWN_MAX_MINUTES": "30"},
])  # fmt: skip
def test_a_wrong_setting_conflicts_with_nothing(environ):
    """Nobody has to change a setting because of a default that is not meant."""
    assert [next(iter(environ))] == [one.split(" ", 1)[0] for one in problems(environ)]


@pytest.mark.parametrize(("name", "meant"), [
    ("WEBHOOK_SECRET", "WEBHOOK_SECRETS"), ("webhook_secrets", "WEBHOOK_SECRETS"),
    ("Sweep_DryRun", "SWEEP_DRY_RUN"), ("STATUS_LINK_SECRETS", "STATUS_LINK_SECRET"),
    ("NOTIFY_URI", "NOTIFY_URL"), ("CALLER_ID", "CALLER_ROLE"), ("graph_cloud", "GRAPH_CLOUD"),
    ("GRAPH_CLOUDS", "GRAPH_CLOUD"), ("ATTEMPT_TABLE", "ATTEMPTS_TABLE"), *((f"{one}_QQQQQQQQQQQQ", "") for one in ("SWEEP", "WEBHOOK", "STATUS_LINK")),
])  # fmt: skip
def test_a_misspelt_name_is_refused(name, meant):
    """It must not leave the door open, or a dry run run; the value is not shown."""
    hint = f"; did you mean {meant}?" if meant else ""

    assert [f"{name} is not a setting of this app{hint}"] == problems({name: "hunter2"})
    assert [] == problems({name: " "})


@pytest.mark.parametrize("name", ["NOTIFY_SOCKET", "GRAPH_PORT", "SWEEP", "WEBSITE_SITE_NAME", "notify"])  # fmt: skip
def test_names_of_other_programs_are_left_alone(name):
    """Systemd's among them; of GRAPH_... only names nearly like one of ours are meant for us."""
    assert [] == problems({name: "x"})


# The storage account


@pytest.mark.parametrize(("environ", "found"), [
    ({}, (None, "", None)),
    ({TABLE: f"{ACCOUNT_URI}/", NAME: "acc2"}, (ACCOUNT_URI, "", None)),
    ({NAME: "acc1", BLOB: "https://acc2.blob.core.windows.net"}, (ACCOUNT_URI, "", None)),
    ({BLOB: "https://acc1.blob.core.windows.net/"}, (ACCOUNT_URI, "", None)),
    ({CONNECTION: KEY, CREDENTIAL: "managedidentity", NAME: " "}, (None, KEY, None)),
    # What is not used is not read: Terraform writes broken connection strings beside it.
    ({NAME: "acc1", CONNECTION: "AccountKey=", **AZURE}, (ACCOUNT_URI, "", None)),
    ({TABLE: ACCOUNT_URI, BLOB: "https://files.example/"}, (ACCOUNT_URI, "", None)),
    # Of a user-assigned identity, whatever AZURE_CLIENT_ID says.
    ({NAME: "acc1", CLIENT_ID: ID.upper()}, (ACCOUNT_URI, "", ID)),
    ({NAME: "acc1", "AZURE_CLIENT_ID": OTHER}, (ACCOUNT_URI, "", None)),
    # .NET reads these names in any case; of two spellings the documented one counts.
    ({NAME.upper(): "acc1", CLIENT_ID.lower(): ID}, (ACCOUNT_URI, "", ID)),
    ({NAME.lower(): "acc2", NAME: "acc1"}, (ACCOUNT_URI, "", None)),
    ({NAME.lower(): "acc1", NAME: ""}, (ACCOUNT_URI, "", None)),
    ({CONNECTION.lower(): KEY}, (None, KEY, None)),
])  # fmt: skip
def test_the_account_is_found_by_the_first_setting_that_names_it(environ, found):
    """Table service, name, blob service, connection string, in this order."""
    loaded = settings.load(environ)

    assert found == (loaded.storage_table_uri, loaded.storage_connection, loaded.storage_client_id)


@pytest.mark.parametrize(("environ", "is_missing"), [
    ({}, True),
    ({CREDENTIAL: "managedidentity", CLIENT_ID: ID}, True),
    ({"AzureWebJobsStorage__queueServiceUri": "https://acc1.queue.core.windows.net/"}, True),
    ({NAME.lower(): "acc1"}, False),
    ({CONNECTION: KEY}, False),
])  # fmt: skip
def test_on_azure_attempts_are_never_in_memory(environ, is_missing):
    """There memory ends with the instance, and each has its own; elsewhere it is good enough."""
    expected = [NO_ACCOUNT] if is_missing else []

    assert [] == problems({**environ, "WEBSITE_INSTANCE_ID": " "})
    for name in ("WEBSITE_INSTANCE_ID", "WEBSITE_POD_NAME", "LEGION_SERVICE_HOST"):
        assert expected == problems({**environ, name: "x"})


# What the host reads, and this process's settings


@pytest.fixture
def process(monkeypatch):
    """Give a process that has read nothing, and has no setting."""
    for name in [*NAMES, *AZURE]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(settings, "_host_values", {})
    settings._load_once.cache_clear()
    yield monkeypatch
    settings._load_once.cache_clear()


def current_problems():
    with pytest.raises(settings.SettingsError) as caught:
        settings.current()
    assert str(caught.value) == "; ".join(caught.value.problems)
    return caught.value.problems


@pytest.mark.parametrize("text", ["", "function", "Anonymous", "admin", " anonymous "])
def test_the_level_is_function_unless_plainly_anonymous(process, text):
    """A missing or misspelt level closes the door; a misspelt one is misconfigured as well."""
    process.setenv("HTTP_AUTH_LEVEL", text)

    assert settings.auth_level() == ("anonymous" if text == " anonymous " else "function")


@pytest.mark.parametrize(
    ("text", "schedule"), [("*/5 * * * *", "*/5 * * * *"), ("Weds", "0 */15 * * * *")]
)
def test_the_schedule_is_the_default_when_it_is_wrong(process, text, schedule):
    """The app loads, and says what is wrong."""
    process.setenv("SWEEP_SCHEDULE", text)

    assert schedule == settings.sweep_schedule()


def test_the_settings_of_the_process_are_read_once(process):
    """What changes later in the environment is another process's. Every call asks for them."""
    process.setenv("SWEEP_MAX_REQUESTS", "7")
    first = settings.current()
    process.setenv("SWEEP_MAX_REQUESTS", "8")

    assert settings.load({"SWEEP_MAX_REQUESTS": "7"}) == first is settings.current()


def test_a_failure_is_not_kept(process):
    """The next call reads again. Where the host read no level, none is compared."""
    process.setenv("GRAPH_CLOUD", "mars")
    process.setenv("HTTP_AUTH_LEVEL", "anonymous")
    assert 1 == len(current_problems())
    process.setenv("GRAPH_CLOUD", "china")

    assert settings.current().graph_cloud == "china"


LEVEL, SCHEDULE = "HTTP_AUTH_LEVEL", "SWEEP_SCHEDULE"
changed = "{} is {!r} now, but the host read {!r} at startup: restart the app".format
OPENED = changed(LEVEL, "anonymous", "function")


@pytest.mark.parametrize(("at_load", "has_read", "now", "said"), [
    ({}, False, {LEVEL: "anonymous", SCHEDULE: "0 0 * * * *"}, [OPENED, changed(SCHEDULE, "0 0 * * * *", "0 */15 * * * *")]),
    ({}, True, {LEVEL: "anonymous"}, [OPENED]),
    ({LEVEL: "anonymous"}, True, {LEVEL: ""}, [changed(LEVEL, "function", "anonymous")]),
    ({}, False, {LEVEL: "anonymous", "SWEEP_DRY_RUN": "yes"}, ["SWEEP_DRY_RUN is 'yes' but should be true or false", OPENED]),
])  # fmt: skip
def test_settings_that_the_host_read_otherwise_are_refused(process, at_load, has_read, now, said):
    """On Flex Consumption settings may be missing while the app is loaded, and come later."""
    for name, text in at_load.items():
        process.setenv(name, text)
    level, _ = settings.auth_level(), settings.sweep_schedule()
    if has_read:
        settings.current()
    for name, text in now.items():
        process.setenv(name, text)

    assert (said, level) == (current_problems(), settings.auth_level())
    for name in now:
        process.setenv(name, at_load.get(name, ""))
    assert settings.current().http_auth_level == level


@pytest.mark.parametrize(("environ", "role"), [
    ({}, "Requests.Reprocess"), ({"CALLER_ROLE": " Other.Role "}, "Other.Role"),
    ({"CALLER_ROLE": "two words"}, None), ({"CALLER_ROLE": "@Microsoft.KeyVault(SecretUri=x)"}, None),
])  # fmt: skip
def test_a_wrong_role_is_nobodys(environ, role):
    """The door stays closed rather than falling back to the default role; nothing else matters."""
    assert role == settings.caller_role({"GRAPH_CLOUD": "mars", **environ})


# What is written down elsewhere


def meanings():
    """Return what each setting means, by attribute: the comment `#:` above it in the class."""
    found = re.findall(
        r"((?:^    #: .*\n)+)^    (\w+): ", inspect.getsource(settings.Settings), re.MULTILINE
    )
    return {name: " ".join(text.replace("#:", "").split()) for text, name in found}


def limits(name):
    """Return least and most of a number, as the table has them behind the meaning."""
    found = re.search(r"a whole number from (.*)", "".join(problems({name: "x"})))
    return f" ({found[1]})" if found else ""


def test_the_documents_have_the_table_of_the_settings():
    """Row by row as they are declared: name, default, meaning, and the limits of a number."""
    text = (ROOT / "docs/settings.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    meaning = meanings()

    assert [
        f"| `{one.name}` | {f'`{one.default}` ' if one.default else ''}| "
        f"{meaning[one.attribute]}{limits(one.name)} |"
        for one in DECLARED
    ] == rows


def test_a_sweep_ends_before_the_host_ends_it():
    """The largest budget leaves a minute of host.json's functionTimeout, and a sweep closes in it."""
    timeout = json.loads((ROOT / "host.json").read_text())["functionTimeout"]
    hours, minutes, seconds = (int(one) for one in timeout.split(":"))

    assert CLOSING_SECONDS < 60
    assert f" (1 to {hours * 3600 + minutes * 60 + seconds - 60})" == limits("SWEEP_BUDGET_SECONDS")


def test_the_sample_of_local_settings_is_right():
    """Every name in it is a setting or the host's, and they can all be meant; it changes nothing."""
    sample = json.loads((ROOT / "local.settings.sample.json").read_text())["Values"]

    assert {"FUNCTIONS_WORKER_RUNTIME"} == set(sample) - {*NAMES}
    assert settings.load(sample).sweep_dry_run is True
