"""settings.py and setting_kinds.py: what each setting may be, and what is said when it is not.

Not for: what the app answers when it is misconfigured (tests/e2e does that).
"""

import dataclasses
import json
import re
import threading
from pathlib import Path

import pytest
from azure.data.tables import TableClient
from hypothesis import given
from hypothesis import strategies as st

import settings

ROOT = Path(__file__).resolve().parent.parent
ID = "7999249e-249e-7999-9e24-99799e249979"
OTHER = "11111111-2222-3333-4444-555555555555"
PLAIN = "a secret of 24 bytes, yes".replace(",", ";")
STANDARD = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
KEY = "AccountName=acc1;AccountKey=hunter2"
AZURE = {"WEBSITE_INSTANCE_ID": "4d2f"}
TABLE, NAME, BLOB, CONNECTION, CREDENTIAL, CLIENT_ID = (
    "AzureWebJobsStorage" + rest
    for rest in (
        "__tableServiceUri",
        "__accountName",
        "__blobServiceUri",
        "",
        "__credential",
        "__clientId",
    )
)
NAMES = [one.name for one in settings.Settings.declared()]
WHOLE = "a whole number from"
REFERENCE = (
    "is a reference that the platform has not resolved: check the vault, the secret's name, and "
    "that the app's identity may read it"
)
CONNECTION_SHOULD_BE = (
    "AzureWebJobsStorage should be a storage account's connection string, whole and with its key, "
    "or unset with AzureWebJobsStorage__accountName in its place"
)


def problems(environ):
    """Return what is said of these settings: nothing when they are right."""
    try:
        settings.load(environ)
    except settings.SettingsError as error:
        said = error
    else:
        return []
    assert str(said) == "; ".join(said.problems)
    return said.problems


def storage(environ):
    """Return table service, connection string and client id: who calls which table."""
    loaded = settings.load(environ)
    return loaded.storage_table_uri, loaded.storage_connection, loaded.storage_client_id


# Defaults, and what is unset


def test_nothing_set_is_a_working_default():
    """Without any setting the app calls the global Graph v1.0, and keeps attempts in memory."""
    loaded = settings.load({})

    assert {
        "graph_cloud": "global",
        "graph_api_version": "v1.0",
        "graph_requests_path": "assignmentRequests",
        "graph_endpoint": None,
        "azure_client_id": None,
        "http_auth_level": "function",
        "caller_role": "Requests.Reprocess",
        "webhook_secrets": (),
        "webhook_request_id_pointer": "/requestId",
        "http_budget_seconds": 60,
        "status_retry_after_seconds": 30,
        "status_link_secret": "",
        "status_link_hours": 24,
        "sweep_schedule": "0 */15 * * * *",
        "sweep_dry_run": False,
        "sweep_access_packages": (),
        "sweep_window_days": 14,
        "sweep_min_age_minutes": 15,
        "sweep_cooldown_minutes": 60,
        "sweep_cooldown_max_minutes": 1440,
        "sweep_max_attempts": 20,
        "sweep_max_requests": 10000,
        "sweep_budget_seconds": 1500,
        "graph_batch_size": 20,
        "graph_concurrency": 8,
        "attempts_table": "reprocessAttempts",
        "storage_table_service": None,
        "storage_account": "",
        "storage_blob_service": None,
        "storage_connection": "",
        "storage_credential": "",
        "storage_client_id": None,
        "notify_url": "",
        "notify_format": "cloudevents",
    } == dataclasses.asdict(loaded)
    assert (None, "https://graph.microsoft.com", "https://graph.microsoft.com/.default") == (
        loaded.storage_table_uri,
        loaded.graph_root,
        loaded.token_scope,
    )


@pytest.mark.parametrize("blank", ["", "  ", "\t\r\n", "\u00a0"])
@pytest.mark.parametrize("name", NAMES)
def test_a_blank_setting_is_unset(name, blank):
    """The portal stores an emptied setting as an empty one."""
    assert settings.load({}) == settings.load({name: blank})


@pytest.mark.parametrize("one", settings.Settings.declared(), ids=lambda one: one.name)
def test_a_default_may_be_set_as_well(one):
    """What the README gives as a default can be copied into the app settings."""
    assert settings.load({}) == settings.load({one.name: f" {one.default} "})


# What is right


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("GRAPH_CLOUD", "UsGov-DoD", "usgov-dod"),
        ("GRAPH_API_VERSION", " Beta ", "beta"),
        ("GRAPH_REQUESTS_PATH", "ASSIGNMENTREQUESTS", "assignmentRequests"),
        ("GRAPH_ENDPOINT", "http://127.0.0.1:1", "http://127.0.0.1:1"),
        ("GRAPH_ENDPOINT", "https://[::1]:2", "https://[::1]:2"),
        ("GRAPH_ENDPOINT", "http://localhost:3/", "http://localhost:3"),
        ("GRAPH_ENDPOINT", "http://127.9.9.9", "http://127.9.9.9"),
        ("AZURE_CLIENT_ID", ID.upper(), ID),
        ("HTTP_AUTH_LEVEL", "anonymous", "anonymous"),
        ("CALLER_ROLE", "Mine", "Mine"),
        ("CALLER_ROLE", "x" * 120, "x" * 120),
        ("WEBHOOK_SECRETS", f"{STANDARD} , {PLAIN},{STANDARD}", (STANDARD, PLAIN)),
        ("WEBHOOK_SECRETS", "é" * 12, ("é" * 12,)),
        ("WEBHOOK_SECRETS", STANDARD + "==", (STANDARD + "==",)),
        ("WEBHOOK_REQUEST_ID_POINTER", "/a/0/~0~1/", "/a/0/~0~1/"),
        ("HTTP_BUDGET_SECONDS", "1", 1),
        ("HTTP_BUDGET_SECONDS", "200", 200),
        ("STATUS_RETRY_AFTER_SECONDS", "3600", 3600),
        ("STATUS_LINK_SECRET", "s" * 32, "s" * 32),
        ("STATUS_LINK_HOURS", "720", 720),
        ("SWEEP_SCHEDULE", "0  0 8-18/2 * JAN MON,FRI", "0  0 8-18/2 * JAN MON,FRI"),
        ("SWEEP_SCHEDULE", "00 */5,59 23 31 december 1-Fri", "00 */5,59 23 31 december 1-Fri"),
        ("SWEEP_DRY_RUN", "True", True),
        ("SWEEP_DRY_RUN", "FALSE", False),
        ("SWEEP_ACCESS_PACKAGES", f"{ID.upper()}, {OTHER},{ID}", (ID, OTHER)),
        ("SWEEP_WINDOW_DAYS", "365", 365),
        ("SWEEP_MIN_AGE_MINUTES", "0", 0),
        ("SWEEP_COOLDOWN_MINUTES", "1440", 1440),
        ("SWEEP_COOLDOWN_MAX_MINUTES", "43200", 43200),
        ("SWEEP_MAX_ATTEMPTS", "1000", 1000),
        ("SWEEP_MAX_REQUESTS", "1000000", 1000000),
        ("SWEEP_BUDGET_SECONDS", "1740", 1740),
        ("GRAPH_BATCH_SIZE", "01", 1),
        ("GRAPH_CONCURRENCY", "64", 64),
        ("ATTEMPTS_TABLE", "Attempts2", "Attempts2"),
        ("NOTIFY_URL", "https://example.org", "https://example.org"),
        (
            "NOTIFY_URL",
            "https://x.logic.azure.com:443/workflows/1/paths/invoke?sp=%2Ftriggers&sig=a-b_c",
            "https://x.logic.azure.com:443/workflows/1/paths/invoke?sp=%2Ftriggers&sig=a-b_c",
        ),
        ("NOTIFY_URL", "http://localhost:8080/?x=@", "http://localhost:8080/?x=@"),
        ("NOTIFY_URL", "http://127.0.0.1/hook", "http://127.0.0.1/hook"),
        ("NOTIFY_FORMAT", "Teams", "teams"),
    ],
)
def test_what_is_right_is_read(name, text, value):
    """Under the setting's own name in lower case; nothing else changes."""
    assert dataclasses.replace(settings.load({}), **{name.lower(): value}) == settings.load(
        {name: text}
    )


@pytest.mark.parametrize(
    ("cloud", "root"),
    [
        ("global", "https://graph.microsoft.com"),
        ("usgov", "https://graph.microsoft.us"),
        ("usgov-dod", "https://dod-graph.microsoft.us"),
        ("china", "https://microsoftgraph.chinacloudapi.cn"),
    ],
)
@pytest.mark.parametrize("endpoint", ["", "http://127.0.0.1:1"])
def test_a_cloud_sets_root_and_audience_together(cloud, root, endpoint):
    """A token for one cloud never goes to another; on loopback it is still the cloud's own."""
    loaded = settings.load({"GRAPH_CLOUD": cloud, "GRAPH_ENDPOINT": endpoint})

    assert (endpoint or root, root + "/.default") == (loaded.graph_root, loaded.token_scope)


# What is wrong


def test_all_problems_are_named_at_once():
    """One error has one sentence for each wrong setting, in the order of the README."""
    environ = {
        "SWEEP_DRYRUN": "true",
        "NOTIFY_FORMAT": "slack",
        "SWEEP_SCHEDULE": "hourly",
        "HTTP_AUTH_LEVEL": "none",
        "WEBHOOK_SECRETS": "hunter2",
        "AZURE_CLIENT_ID": "me",
        "GRAPH_CLOUD": "mars",
        "SWEEP_COOLDOWN_MAX_MINUTES": "30",
        **AZURE,
    }

    assert [
        "GRAPH_CLOUD is 'mars' but should be one of global, usgov, usgov-dod, china",
        "AZURE_CLIENT_ID is 'me' but should be a GUID",
        "HTTP_AUTH_LEVEL is 'none' but should be function or anonymous",
        (
            "WEBHOOK_SECRETS should be secrets of at least 24 bytes each, or whsec_ and the base64 "
            "of 24 to 64 bytes; what is wrong is secret 1"
        ),
        (
            "SWEEP_SCHEDULE is 'hourly' but should be an NCRONTAB expression of six fields "
            "(second, minute, hour, day, month, day of the week), as 0 */15 * * * *"
        ),
        "NOTIFY_FORMAT is 'slack' but should be one of cloudevents, teams",
        "SWEEP_COOLDOWN_MAX_MINUTES is '30' but should be at least SWEEP_COOLDOWN_MINUTES (60)",
        "SWEEP_DRYRUN is not a setting of this app; did you mean SWEEP_DRY_RUN?",
        (
            "AzureWebJobsStorage__accountName, or another setting that names the storage account, "
            "should be set: on Azure no attempts are kept in memory"
        ),
    ] == problems(environ)


@pytest.mark.parametrize(
    ("name", "texts", "should_be"),
    [
        ("GRAPH_API_VERSION", ["1.0", "v2"], "one of v1.0, beta"),
        (
            "GRAPH_REQUESTS_PATH",
            ["requests"],
            "one of assignmentRequests, accessPackageAssignmentRequests",
        ),
        ("AZURE_CLIENT_ID", [ID + "0", f"{ID},{OTHER}"], "a GUID"),
        (
            "HTTP_AUTH_LEVEL",
            ["Anonymous", "admin", "function anonymous"],
            "function or anonymous",
        ),
        (
            "CALLER_ROLE",
            ["two words", "x" * 121, "ä"],
            "the value of an app role, without blanks",
        ),
        (
            "WEBHOOK_REQUEST_ID_POINTER",
            ["requestId", "/a~2b", "/a~", "$.requestId", "/" + "a" * 500],
            "a JSON Pointer (RFC 6901) such as /issue/fields/requestId",
        ),
        (
            "HTTP_BUDGET_SECONDS",
            ["0", "201", "-1", "6e1", "1.5", "٣", "1" * 9999],
            f"{WHOLE} 1 to 200",
        ),
        ("STATUS_RETRY_AFTER_SECONDS", ["0", "3601"], f"{WHOLE} 1 to 3600"),
        ("STATUS_LINK_HOURS", ["0", "721"], f"{WHOLE} 1 to 720"),
        (
            "SWEEP_SCHEDULE",
            [
                "hourly",
                "*/15 * * * *",
                "0 0 0 1 1 0 0",
                "0 0\n0 1 1 0",
                "0 0 * * * ?",
                "60 * * * * *",
                "* 60 * * * *",
                "* * 24 * * *",
                "* * * 32 * *",
                "* * * 0 * *",
                "* * * * 13 *",
                "* * * * * 7",
                "* * * * * day",
                "*/0 * * * * *",
                "1- * * * * *",
                ",1 * * * * *",
            ],
            (
                "an NCRONTAB expression of six fields (second, minute, hour, day, month, day of the "
                "week), as 0 */15 * * * *"
            ),
        ),
        ("SWEEP_DRY_RUN", ["1", "yes", "on", "0"], "true or false"),
        (
            "SWEEP_ACCESS_PACKAGES",
            ["Sales", f"{ID},", f"{ID};{OTHER}", ",".join([ID] * 1001)],
            "GUIDs, comma separated, at most 1000",
        ),
        ("SWEEP_WINDOW_DAYS", ["0", "366"], f"{WHOLE} 1 to 365"),
        ("SWEEP_MIN_AGE_MINUTES", ["-1", "10081"], f"{WHOLE} 0 to 10080"),
        ("SWEEP_COOLDOWN_MINUTES", ["0", "10081"], f"{WHOLE} 1 to 10080"),
        ("SWEEP_COOLDOWN_MAX_MINUTES", ["0", "43201"], f"{WHOLE} 1 to 43200"),
        ("SWEEP_MAX_ATTEMPTS", ["0", "1001"], f"{WHOLE} 1 to 1000"),
        ("SWEEP_MAX_REQUESTS", ["0", "1000001"], f"{WHOLE} 1 to 1000000"),
        ("SWEEP_BUDGET_SECONDS", ["0", "1741"], f"{WHOLE} 1 to 1740"),
        ("GRAPH_BATCH_SIZE", ["0", "21"], f"{WHOLE} 1 to 20"),
        ("GRAPH_CONCURRENCY", ["0", "65"], f"{WHOLE} 1 to 64"),
        (
            "ATTEMPTS_TABLE",
            ["no-dashes", "ab", "2tables", "a" * 64],
            "3 to 63 letters and digits, beginning with a letter",
        ),
        (
            NAME,
            ["acc1.evil.example/", "Acc1", "ac", "a" * 25],
            "a storage account's name, 3 to 24 small letters and digits",
        ),
        (CREDENTIAL, ["workloadidentity", "true"], "managedidentity"),
        (CLIENT_ID, ["me"], "a GUID"),
        ("NOTIFY_FORMAT", ["slack"], "one of cloudevents, teams"),
    ],
)
def test_what_is_wrong_is_named_with_what_would_be_right(name, texts, should_be):
    """One sentence, with the value cut short; and nothing else is wrong because of it."""
    for text in texts:
        said = [f"{name} is {text[:80]!r} but should be {should_be}"]
        assert said == problems({name: text}), text


@pytest.mark.parametrize(
    ("name", "texts", "problem"),
    [
        (
            "WEBHOOK_SECRETS",
            [
                f"{PLAIN},hunter2",
                f"{PLAIN},",
                f"{PLAIN},whsec_c2hvcnQ=",
                f"{PLAIN},whsec_" + "!" * 40,
                f"{PLAIN},whsec_" + "A" * 88,
                f"{PLAIN},\udc80" + "x" * 22,
            ],
            (
                "should be secrets of at least 24 bytes each, or whsec_ and the base64 of 24 to 64 "
                "bytes; what is wrong is secret 2"
            ),
        ),
        (
            "WEBHOOK_SECRETS",
            [f"hunter2,{PLAIN},hunter3"],
            (
                "should be secrets of at least 24 bytes each, or whsec_ and the base64 of 24 to 64 "
                "bytes; what is wrong is secret 1, 3"
            ),
        ),
        (
            "WEBHOOK_SECRETS",
            [",".join(f"{PLAIN}{n}" for n in range(11))],
            "should be at most 10 secrets",
        ),
        ("STATUS_LINK_SECRET", ["x" * 31, "é" * 15], "should be at least 32 bytes long"),
        (
            "NOTIFY_URL",
            [
                "hunter2",
                "http://example.org/?sig=hunter2",
                "http://127.0.0.1.evil.example",
                "http://2130706433",
                "https://user:hunter2@example.org",
                "https://hunter2@example.org",
                "https://example.org/#hunter2",
                "https://example.org#hunter2",
                "https://example.org\\@evil.example",
                "https://example.org/a b",
                "https://exa\nmple.org",
                "https://",
                "https:///hunter2",
                "https://...",
                "https://example.org:0",
                "https://example.org:65536",
                "https://example.org:x",
                "https://exämple.org",
                "https://[::1",
                "ftp://example.org",
                "//example.org",
                "HTTPS//example.org",
            ],
            (
                "should be https://<host>/... without user and fragment (http for a loopback "
                "address only)"
            ),
        ),
        (
            CONNECTION,
            [
                "hunter2-hunter2",
                "AccountName=a;AccountKez=hunter2",
                "AccountName=;AccountKey=hunter2",
                "AccountName=a;AccountKey=",
                "AccountName=a;AccountKey",
                "DefaultEndpointsProtocol=https;AccountName=a;EndpointSuffix=core.windows.net",
                "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=;EndpointSuffix=x",
                "AccountName=a;AccountKey=hunter2;x",
                "AccountName=a;AccountKey=hunter2;=x",
                "AccountName=a;AccountKey=hunter2;accountname=b",
                "SharedAccessSignature=hunter2",
                "BlobEndpoint=https://a.blob.core.windows.net;SharedAccessSignature=hunter2",
                ";;",
            ],
            CONNECTION_SHOULD_BE.removeprefix("AzureWebJobsStorage "),
        ),
    ],
)
def test_of_a_secret_it_is_told_what_is_wrong_and_nothing_of_its_value(name, texts, problem):
    """Of several it is told by position."""
    for text in texts:
        assert [f"{name} {problem}"] == problems({name: text}), text


@pytest.mark.parametrize(
    "reference",
    [
        "@Microsoft.KeyVault(SecretUri=https://vault.example/secrets/the-name-of-a-secret)",
        "@microsoft.keyvault(VaultName=vault;SecretName=the-name-of-a-long-secret)",
        "@Microsoft.AppConfiguration(Endpoint=https://x.azconfig.io; Key=the-name-of-a-secret)",
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_a_reference_that_was_not_resolved_is_no_value(name, reference):
    """Anybody could guess that "secret"; a role or an account is none either."""
    assert [f"{name} {REFERENCE}"] == problems({name: reference})


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://evil.example",
        "http://127.0.0.1.evil.example:1",
        "http://10.0.0.1",
        "http://localhost@evil.example",
        "http://evil.example@localhost",
        "http://localhost:1/path",
        "http://localhost:1//",
        "http://localhost:1?x",
        "http://localhost:99999",
        "http://localhost:0",
        "http://localhost\\@evil.example",
        "http://local\thost",
        "ftp://127.0.0.1",
        "127.0.0.1:1",
        "http://[::1",
        "http://2130706433",
        "/",
    ],
)
def test_the_endpoint_is_loopback_or_refused(endpoint):
    """A token cannot be led away by GRAPH_ENDPOINT."""
    assert [
        (
            f"GRAPH_ENDPOINT is {endpoint!r} but should be unset, or "
            "http(s)://<loopback address>:<port> without a path"
        )
    ] == problems({"GRAPH_ENDPOINT": endpoint})


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        (
            {"GRAPH_REQUESTS_PATH": "accesspackageassignmentrequests"},
            (
                "GRAPH_REQUESTS_PATH is 'accesspackageassignmentrequests' but should be "
                "assignmentRequests, or GRAPH_API_VERSION should be beta"
            ),
        ),
        (
            {"SWEEP_COOLDOWN_MINUTES": "2000"},
            (
                "SWEEP_COOLDOWN_MAX_MINUTES is '1440' but should be at least "
                "SWEEP_COOLDOWN_MINUTES (2000)"
            ),
        ),
        (
            {"SWEEP_WINDOW_DAYS": "1", "SWEEP_MIN_AGE_MINUTES": "1440"},
            "SWEEP_MIN_AGE_MINUTES is '1440' but should be less than SWEEP_WINDOW_DAYS (1 days)",
        ),
    ],
)
def test_contradictions_are_problems(environ, problem):
    """Two settings that cannot both be meant are refused."""
    assert [problem] == problems(environ)


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        (
            {
                "GRAPH_REQUESTS_PATH": "accessPackageAssignmentRequests",
                "GRAPH_API_VERSION": "bata",
            },
            ["GRAPH_API_VERSION"],
        ),
        (
            {"SWEEP_COOLDOWN_MINUTES": "1h", "SWEEP_COOLDOWN_MAX_MINUTES": "30"},
            ["SWEEP_COOLDOWN_MINUTES"],
        ),
        (
            {"SWEEP_WINDOW_DAYS": "1", "SWEEP_MIN_AGE_MINUTES": "a day"},
            ["SWEEP_MIN_AGE_MINUTES"],
        ),
    ],
)
def test_a_wrong_setting_contradicts_nothing(environ, named):
    """Nobody is told to change a setting because of a default that is not meant."""
    assert named == [one.split(" ", 1)[0] for one in problems(environ)]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("WEBHOOK_SECRET", "; did you mean WEBHOOK_SECRETS?"),
        ("STATUS_LINK_SECRETS", "; did you mean STATUS_LINK_SECRET?"),
        ("webhook_secrets", "; did you mean WEBHOOK_SECRETS?"),
        ("sweep_dry_run", "; did you mean SWEEP_DRY_RUN?"),
        ("Sweep_DryRun", "; did you mean SWEEP_DRY_RUN?"),
        ("NOTIFY_URI", "; did you mean NOTIFY_URL?"),
        ("graph_cloud", "; did you mean GRAPH_CLOUD?"),
        ("Http_Auth_Level", "; did you mean HTTP_AUTH_LEVEL?"),
        ("azure_client_id", "; did you mean AZURE_CLIENT_ID?"),
        ("CALLER_ROLES", "; did you mean CALLER_ROLE?"),
        ("CALLER_ID", "; did you mean CALLER_ROLE?"),
        ("GRAPH_CLOUDS", "; did you mean GRAPH_CLOUD?"),
        ("HTTP_BUDGET_SECOND", "; did you mean HTTP_BUDGET_SECONDS?"),
        ("ATTEMPT_TABLE", "; did you mean ATTEMPTS_TABLE?"),
        ("STATUS_RETRY_AFTER_SECOND", "; did you mean STATUS_RETRY_AFTER_SECONDS?"),
        ("SWEEP_QQQQQQQQQQQQQQ", ""),
    ],
)
def test_a_misspelt_name_is_refused(name, hint):
    """It must not leave the door open, or a dry run run; the name is told, the value is not."""
    assert [f"{name} is not a setting of this app{hint}"] == problems({name: "hunter2"})


@pytest.mark.parametrize(
    "name", ["NOTIFY_SOCKET", "GRAPH_PORT", "SWEEP", "WEBSITE_SITE_NAME", "notify", "PATH"]
)
def test_other_programs_names_are_theirs(name):
    """Systemd's among them; of GRAPH_... only names nearly like one of ours are meant for us."""
    assert [] == problems({name: "x"})


def test_a_misspelt_name_that_is_blank_is_unset():
    """As any other setting that was emptied."""
    assert [] == problems({"SWEEP_DRYRUN": " "})


# The storage account


@pytest.mark.parametrize(
    ("environ", "found"),
    [
        ({}, (None, "", None)),
        ({NAME: "acc1"}, ("https://acc1.table.core.windows.net", "", None)),
        (
            {NAME: "acc1", "GRAPH_CLOUD": "USGOV"},
            ("https://acc1.table.core.usgovcloudapi.net", "", None),
        ),
        (
            {NAME: "acc1", "GRAPH_CLOUD": "usgov-dod"},
            ("https://acc1.table.core.usgovcloudapi.net", "", None),
        ),
        (
            {NAME: "acc1", "GRAPH_CLOUD": "china"},
            ("https://acc1.table.core.chinacloudapi.cn", "", None),
        ),
        (
            {TABLE: "https://acc1.table.core.windows.net/", NAME: "acc2"},
            ("https://acc1.table.core.windows.net", "", None),
        ),
        (
            {TABLE: "https://ACC1.z12.Table.storage.azure.net"},
            ("https://acc1.z12.table.storage.azure.net", "", None),
        ),
        (
            {TABLE: "https://acc1-secondary.table.core.windows.net"},
            ("https://acc1-secondary.table.core.windows.net", "", None),
        ),
        (
            {TABLE: "http://127.0.0.1:10002/devstoreaccount1"},
            ("http://127.0.0.1:10002/devstoreaccount1", "", None),
        ),
        (
            {TABLE: "https://localhost:10002/devstoreaccount1/"},
            ("https://localhost:10002/devstoreaccount1", "", None),
        ),
        (
            {BLOB: "https://acc1.blob.core.windows.net/"},
            ("https://acc1.table.core.windows.net", "", None),
        ),
        (
            {BLOB: "https://acc1.z00.blob.storage.azure.net", "GRAPH_CLOUD": "global"},
            ("https://acc1.z00.table.storage.azure.net", "", None),
        ),
        (
            {BLOB: "https://acc1.blob.core.chinacloudapi.cn/"},
            ("https://acc1.table.core.chinacloudapi.cn", "", None),
        ),
        (
            {NAME: "acc1", BLOB: "https://acc2.blob.core.windows.net"},
            ("https://acc1.table.core.windows.net", "", None),
        ),
        ({CONNECTION: KEY}, (None, KEY, None)),
        ({CONNECTION: KEY, CREDENTIAL: "managedidentity"}, (None, KEY, None)),
        ({CONNECTION: KEY, NAME: " "}, (None, KEY, None)),
    ],
)
def test_the_account_is_found_by_the_first_setting_that_names_it(environ, found):
    """Table service, name, blob service, connection string, in this order."""
    assert found == storage(environ)


@pytest.mark.parametrize(
    "environ",
    [
        {NAME: "acc1"},
        {TABLE: "https://acc1.table.core.windows.net"},
        {BLOB: "https://acc1.blob.core.windows.net/"},
    ],
)
@pytest.mark.parametrize(
    "connection", ["", KEY, "AccountName=acc1;AccountKey=", "hunter2", "@Microsoft.KeyVault(x)"]
)
def test_beside_an_identity_s_setting_the_connection_string_is_not_used(environ, connection):
    """Nor is it looked at: Terraform writes broken ones there."""
    found = storage({**environ, CONNECTION: connection, **AZURE})

    assert ("https://acc1.table.core.windows.net", "", None) == found


def test_what_is_not_used_is_not_refused():
    """A blob service behind a domain of one's own is for the host, given the table service."""
    environ = {TABLE: "https://acc1.table.core.windows.net", BLOB: "https://files.example/"}

    assert ("https://acc1.table.core.windows.net", "", None) == storage(environ)


@pytest.mark.parametrize(
    "change", [str.upper, str.lower, str.swapcase, lambda name: name.replace("Uri", "URI")]
)
def test_the_storage_names_are_found_in_any_case(change):
    """.NET reads them so, and published instructions write them so."""
    by_blob = {
        BLOB: "https://acc1.blob.core.windows.net/",
        CLIENT_ID: ID,
        CREDENTIAL: "ManagedIdentity",
    }

    assert (
        ("https://acc1.table.core.windows.net", "", ID),
        ("https://acc1.table.core.windows.net", "", None),
        ("https://acc2.table.core.windows.net", "", None),
        (None, KEY, None),
    ) == (
        storage({change(name): value for name, value in by_blob.items()}),
        storage({change(NAME): "acc1"}),
        storage({change(TABLE): "https://acc2.table.core.windows.net"}),
        storage({change(CONNECTION): KEY}),
    )


def test_of_two_spellings_the_documented_one_counts():
    """One that is blank counts as little as elsewhere."""
    assert ("acc1", "acc2") == (
        settings.load({NAME.lower(): "acc2", NAME: "acc1"}).storage_account,
        settings.load({NAME.lower(): "acc2", NAME: ""}).storage_account,
    )


@pytest.mark.parametrize("credential", [{}, {CREDENTIAL: "managedidentity"}])
@pytest.mark.parametrize("graph", [{}, {"AZURE_CLIENT_ID": OTHER}])
@pytest.mark.parametrize(("given", "used"), [({}, None), ({CLIENT_ID: ID.upper()}, ID)])
def test_the_identity_for_storage_is_the_one_that_the_host_takes(credential, graph, given, used):
    """The system-assigned one unless __clientId names another, whatever AZURE_CLIENT_ID says."""
    loaded = settings.load({NAME: "acc1", **credential, **graph, **given})

    assert (used, graph.get("AZURE_CLIENT_ID")) == (
        loaded.storage_client_id,
        loaded.azure_client_id,
    )


@pytest.mark.parametrize(
    "uri",
    [
        "https://evil.example",
        "http://acc1.table.core.windows.net",
        "https://acc1.table.core.windows.net.evil.example",
        "https://acc1.table.core.windows.net@evil.example",
        "https://evil.example/acc1.table.core.windows.net",
        "https://acc1.blob.core.windows.net",
        "https://acc1.table.core.windows.net/path",
        "https://acc1.table.core.windows.net:444",
        "https://acc1.table.core.windows.net//",
        "https://.table.core.windows.net",
        "https://10.0.0.1:10002/devstoreaccount1",
        "http://127.0.0.1:10002",
        "http://127.0.0.1:10002/a/b",
        "/",
    ],
)
def test_a_token_cannot_be_led_away_from_azure_storage(uri):
    """Anything but a table service of a known cloud, or of this machine, is refused."""
    assert [
        (
            f"{TABLE} is {uri!r} but should be https://<account>.table.core.windows.net, or your "
            "cloud's form of it"
        )
    ] == problems({TABLE: uri})


@pytest.mark.parametrize(
    "uri",
    [
        "https://files.example",
        "http://acc1.blob.core.windows.net",
        "https://acc1.table.core.windows.net",
        "https://acc1.blob.core.windows.net.evil.example",
        "https://acc1.blob.core.windows.net/container",
        "http://127.0.0.1:10000/devstoreaccount1",
    ],
)
def test_a_table_service_is_derived_from_a_blob_service_only(uri):
    """Where that cannot be, it is said how to name the table service itself."""
    assert [
        (
            f"{BLOB} is {uri!r} but should be https://<account>.blob.core.windows.net, or your "
            "cloud's form of it; else AzureWebJobsStorage__tableServiceUri should be set as well"
        )
    ] == problems({BLOB: uri})


@pytest.mark.parametrize("name", [TABLE, BLOB])
def test_a_signature_in_a_service_s_address_is_not_told(name):
    """Somebody may have pasted an address with a SAS."""
    (problem,) = problems({name: "https://acc1.table.core.windows.net/?sv=1&sig=hunter2"})

    assert "'https://acc1.table.core.windows.net/' but" in problem
    assert "hunter2" not in problem


@pytest.mark.parametrize(
    "connection",
    [
        KEY,
        f"DefaultEndpointsProtocol=https;{KEY}==;EndpointSuffix=core.windows.net;",
        f"{KEY};TableEndpoint=http://127.0.0.1:10002/acc1;",
        "TableEndpoint=https://acc1.table.core.windows.net;SharedAccessSignature=sv=1&sig=x",
        "AccountName=acc1;SharedAccessSignature=sv=1&sig=x",
        "accountname=acc1;ACCOUNTKEY=hunter2",
        "UseDevelopmentStorage=true",
        "usedevelopmentstorage=TRUE",
    ],
)
def test_a_connection_string_that_is_taken_is_one_that_the_client_takes(connection):
    """What is right here is not found wrong at the first use."""
    loaded = settings.load({CONNECTION: connection})

    assert connection == loaded.storage_connection
    TableClient.from_connection_string(connection, "attempts").close()


@pytest.mark.parametrize(
    ("environ", "is_lacking"),
    [
        ({}, True),
        ({CONNECTION: " "}, True),
        ({CREDENTIAL: "managedidentity", CLIENT_ID: ID}, True),
        ({"AzureWebJobsStorage__queueServiceUri": "https://acc1.queue.core.windows.net/"}, True),
        ({NAME.lower(): "acc1"}, False),
        ({TABLE: "https://acc1.table.core.windows.net"}, False),
        ({BLOB: "https://acc1.blob.core.windows.net/"}, False),
        ({CONNECTION: KEY}, False),
    ],
)
def test_on_azure_attempts_are_never_in_memory(environ, is_lacking):
    """There memory ends with the instance, and each has its own; elsewhere it is good enough."""
    sentence = (
        "AzureWebJobsStorage__accountName, or another setting that names the storage account, "
        "should be set: on Azure no attempts are kept in memory"
    )

    assert ([], [], [sentence] if is_lacking else []) == (
        problems(environ),
        problems({**environ, "WEBSITE_INSTANCE_ID": ""}),
        problems({**environ, **AZURE}),
    )
    assert problems({**environ, **AZURE}) == problems({**environ, "LEGION_SERVICE_HOST": "x"})
    assert problems({**environ, **AZURE}) == problems({**environ, "WEBSITE_POD_NAME": "x"})


def test_a_wrong_connection_string_is_one_problem_on_azure():
    """It is not said to be missing as well."""
    assert [CONNECTION_SHOULD_BE] == problems({CONNECTION: "hunter2", **AZURE})


# Secrets

SECRETS = {
    "WEBHOOK_SECRETS": f"{PLAIN},{STANDARD}",
    "STATUS_LINK_SECRET": "s" * 32,
    "NOTIFY_URL": "https://example.org/?sig=hunter2",
    CONNECTION: KEY,
}


def test_secrets_are_not_in_the_settings_text():
    """A secret is not told by logging the settings; all else is."""
    loaded = settings.load(SECRETS)
    hidden = {"webhook_secrets", "status_link_secret", "notify_url", "storage_connection"}
    shown = [name for name in dataclasses.asdict(loaded) if name not in hidden]

    assert (shown, (PLAIN, STANDARD)) == (
        re.findall(r"[(\s]([a-z_]+)=", repr(loaded)),
        loaded.webhook_secrets,
    )
    for secret in (PLAIN, STANDARD, "s" * 32, "example.org", "hunter2"):
        assert secret not in repr(loaded)


texts = st.one_of(
    st.text(max_size=100),
    st.from_regex(r"(https?://)?[a-z0-9.\-:@/?#\[\]]{0,40}", fullmatch=True),
    st.from_regex(r"[A-Za-z]{0,12}=[^;]{0,9}(;[A-Za-z]{0,12}=[^;]{0,9}){0,4};?", fullmatch=True),
    st.from_regex(r"(whsec_)?[A-Za-z0-9+/=,]{0,90}", fullmatch=True),
    st.from_regex(r"-?[0-9]{1,12}(,[0-9]{1,3})?", fullmatch=True),
)


names = st.one_of(
    st.sampled_from([*NAMES, *(name.lower() for name in NAMES), "WEBSITE_INSTANCE_ID"]),
    st.from_regex(r"(SWEEP|webhook|STATUS_LINK|NOTIFY)_[A-Z_]{0,20}", fullmatch=True),
    st.text(max_size=20),
)


@given(st.dictionaries(names, texts))
def test_whatever_is_set_there_are_settings_or_a_settings_error(environ):
    """No value of any setting ends in another error."""
    role = settings.caller_role(environ)
    try:
        loaded = settings.load(environ)
    except settings.SettingsError as error:
        said = error.problems
    else:
        said = None
        assert role == loaded.caller_role
        assert not (loaded.storage_table_uri and loaded.storage_connection)
    assert said is None or (said and all(0 < len(one) < 1000 for one in said))


MARK = "hunter2"


@given(
    st.dictionaries(
        st.sampled_from([*SECRETS]),
        st.tuples(texts, texts).map(MARK.join),
        min_size=1,
    )
)
def test_whatever_a_secret_is_nothing_of_it_is_told(environ):
    """Neither in what is wrong with it, nor in the settings' text when it is right."""
    try:
        told = repr(settings.load(environ))
    except settings.SettingsError as error:
        told = f"{error} {error!r} {error.problems}"

    assert MARK not in told


# What the host is told, and this process's settings


@pytest.fixture
def process(monkeypatch):
    """Give a process that has read nothing, told the host nothing, and has no setting."""
    for name in [*NAMES, "WEBSITE_INSTANCE_ID"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(settings, "_told", {})
    settings._read_once.cache_clear()
    yield monkeypatch
    settings._read_once.cache_clear()


def current_problems():
    with pytest.raises(settings.SettingsError) as caught:
        settings.current()
    return caught.value.problems


@pytest.mark.parametrize(
    ("text", "level", "said"),
    [
        (None, "function", []),
        ("", "function", []),
        (" anonymous ", "anonymous", []),
        ("function", "function", []),
        (
            "Anonymous",
            "function",
            ["HTTP_AUTH_LEVEL is 'Anonymous' but should be function or anonymous"],
        ),
        ("admin", "function", ["HTTP_AUTH_LEVEL is 'admin' but should be function or anonymous"]),
    ],
)
def test_the_level_is_function_unless_plainly_anonymous(process, text, level, said):
    """A missing or misspelt level closes the door; a misspelt one is misconfigured as well."""
    environ = {} if text is None else {"HTTP_AUTH_LEVEL": text}
    for name, value in environ.items():
        process.setenv(name, value)

    assert (level, said) == (settings.auth_level(), problems(environ))


@pytest.mark.parametrize(
    ("text", "schedule"),
    [
        ("", "0 */15 * * * *"),
        ("0 0 * * * *", "0 0 * * * *"),
        ("hourly", "0 */15 * * * *"),
    ],
)
def test_the_schedule_is_the_default_when_it_is_wrong(process, text, schedule):
    """The app loads, and says what is wrong."""
    process.setenv("SWEEP_SCHEDULE", text)

    assert schedule == settings.sweep_schedule()


def test_the_settings_of_the_process_are_read_once(process):
    """What changes later in the environment is another process's."""
    process.setenv("SWEEP_MAX_REQUESTS", "7")
    first = settings.current()
    process.setenv("SWEEP_MAX_REQUESTS", "8")

    assert first is settings.current()
    assert settings.load({"SWEEP_MAX_REQUESTS": "7"}) == first


def test_many_threads_are_given_the_same_settings(process):
    """At the first call as well, when several come at once: one reads, the others wait for it."""
    read, given, second = [], [], threading.Event()

    def load(environ):
        read.append(environ)
        if len(read) > 1:
            second.set()
        second.wait(0.05)  # so that a second reader would be seen
        return settings.Settings(**dict.fromkeys(one.name for one in fields))

    fields = dataclasses.fields(settings.Settings)
    process.setattr(settings, "load", load)
    threads = [threading.Thread(target=lambda: given.append(settings.current())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (1, 8, 1) == (len(read), len(given), len({id(one) for one in given}))


def test_a_failure_is_not_kept(process):
    """The next call reads again."""
    process.setenv("GRAPH_CLOUD", "mars")
    said = current_problems()
    process.setenv("GRAPH_CLOUD", "china")

    assert (["GRAPH_CLOUD is 'mars' but should be one of global, usgov, usgov-dod, china"]) == said
    assert settings.current().graph_cloud == "china"


LEVEL_CHANGED = (
    "HTTP_AUTH_LEVEL means 'anonymous' now, but the host was told 'function' when it loaded the "
    "app: restart the app"
)
SCHEDULE_CHANGED = (
    "SWEEP_SCHEDULE means '0 0 * * * *' now, but the host was told '0 */15 * * * *' when it "
    "loaded the app: restart the app"
)


@pytest.mark.parametrize("has_read", [False, True])
def test_what_the_host_was_told_otherwise_is_refused(process, has_read):
    """On Flex Consumption settings may be missing while the app is loaded, and come later."""
    told = settings.auth_level(), settings.sweep_schedule()
    if has_read:
        settings.current()
    process.setenv("HTTP_AUTH_LEVEL", "anonymous")
    process.setenv("SWEEP_SCHEDULE", "0 0 * * * *")
    said = current_problems()
    process.setenv("HTTP_AUTH_LEVEL", "function")
    process.delenv("SWEEP_SCHEDULE")

    assert (("function", "0 */15 * * * *"), [LEVEL_CHANGED, SCHEDULE_CHANGED]) == (told, said)
    assert settings.current().http_auth_level == "function"


def test_an_open_host_is_not_called_closed(process):
    """The other way round: the host lets everybody in, and the setting does not say so."""
    process.setenv("HTTP_AUTH_LEVEL", "anonymous")
    settings.auth_level()
    process.delenv("HTTP_AUTH_LEVEL")

    assert [
        (
            "HTTP_AUTH_LEVEL means 'function' now, but the host was told 'anonymous' when it loaded "
            "the app: restart the app"
        )
    ] == current_problems()


def test_wrong_settings_and_what_the_host_was_told_are_named_together(process):
    """All problems at once, also these."""
    settings.auth_level()
    process.setenv("HTTP_AUTH_LEVEL", "anonymous")
    process.setenv("SWEEP_DRY_RUN", "yes")

    assert ["SWEEP_DRY_RUN is 'yes' but should be true or false", LEVEL_CHANGED] == (
        current_problems()
    )


def test_nothing_is_compared_where_nothing_was_told(process):
    """A sweep that runs without the host has no level."""
    process.setenv("HTTP_AUTH_LEVEL", "anonymous")

    assert settings.current().http_auth_level == "anonymous"


def test_asking_costs_next_to_nothing(process):
    """Every call asks: a thousand times reads the settings once."""
    settings.auth_level(), settings.sweep_schedule()
    for _ in range(1000):
        settings.current()

    assert (999, 1) == settings._read_once.cache_info()[:2]


def test_a_wrong_role_is_nobodys():
    """The door stays closed rather than falling back to the default role; nothing else matters."""
    wrong = {"GRAPH_CLOUD": "mars"}

    assert ("Requests.Reprocess", "Other.Role", None, None) == (
        settings.caller_role(wrong),
        settings.caller_role({"CALLER_ROLE": " Other.Role ", **wrong}),
        settings.caller_role({"CALLER_ROLE": "two words"}),
        settings.caller_role({"CALLER_ROLE": "@Microsoft.KeyVault(SecretUri=x)"}),
    )


# Small ones


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        (ID, True),
        (ID.upper(), True),
        ("", False),
        ("x" * 36, False),
        ("７999249e-249e-7999-9e24-99799e249979", False),
        ("{" + ID + "}", False),
        (ID.replace("-", ""), False),
        (ID + "\n", False),
    ],
)
def test_only_the_8_4_4_4_12_form_is_a_guid(text, is_one):
    """Unicode digits, braces, missing hyphens and trailing lines are none."""
    assert is_one == settings.is_guid(text)


def test_a_new_id_is_a_guid_of_its_own():
    """Graph wants one per call."""
    assert settings.is_guid(settings.new_id())
    assert settings.new_id() != settings.new_id()


@pytest.mark.parametrize(
    ("secret", "key"),
    [
        ("whsec_" + "AAAA" * 8, bytes(24)),
        ("whsec_" + "AAAA" * 21 + "AA==", bytes(64)),
        ("whsec_" + "AAAA" * 21 + "AA", bytes(64)),
        ("whsec_" + "AAAA" * 21 + "AAA=", None),
        ("whsec_" + "AAAA" * 7 + "AAA=", None),
        ("whsec_" + "AAAA" * 8 + "A", None),
        ("whsec_" + "AA_A" * 8, None),
        ("whsec_é" + "AAAA" * 8, None),
        ("whsec_", None),
    ],
)
def test_a_standard_secret_is_the_base64_of_24_to_64_bytes(secret, key):
    """Padding may be missing, as the reference library allows."""
    assert key == settings.webhook_key(secret)


# What is written down elsewhere


def test_the_readme_has_the_table_of_the_settings():
    """Row by row as they are declared: name, default, meaning."""
    section = (ROOT / "README.md").read_text().split("\n## Settings\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]

    assert [
        f"| `{one.name}` | {f'`{one.default}` ' if one.default else ''}| {one.meaning} |"
        for one in settings.Settings.declared()
    ] == rows


def test_every_setting_is_declared_whole():
    """Its limits are told, its default is one that it may be, its field is named after it."""
    for one in settings.Settings.declared():
        assert one.meaning.endswith(f" ({one.kind.limits})" if one.kind.limits else "")
        assert getattr(settings.load({}), one.attribute) == one.kind.read(one.default)
        assert one.name.startswith("AzureWebJobs") or one.name == one.attribute.upper()


def test_a_sweep_ends_before_the_host_ends_it():
    """The largest budget leaves a minute of host.json's functionTimeout."""
    hours, minutes, seconds = json.loads((ROOT / "host.json").read_text())["functionTimeout"].split(
        ":"
    )
    budget = next(o for o in settings.Settings.declared() if o.name == "SWEEP_BUDGET_SECONDS")

    assert budget.kind.most + 60 == int(hours) * 3600 + int(minutes) * 60 + int(seconds)


def test_the_sample_of_local_settings_is_right():
    """Every name in it is a setting or the host's, and they can all be meant; it changes nothing."""
    sample = json.loads((ROOT / "local.settings.sample.json").read_text())["Values"]

    assert set() == set(sample) - {*NAMES} - {"FUNCTIONS_WORKER_RUNTIME"}
    assert settings.load(sample).sweep_dry_run is True
