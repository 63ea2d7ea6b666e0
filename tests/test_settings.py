"""settings.py: all problems at once, each naming the setting and what it should be."""

import pytest

import settings


def test_nothing_set_is_a_working_default():
    """Without any setting the app calls the global Graph v1.0."""
    loaded = settings.load({})

    assert ("https://graph.microsoft.com", "https://graph.microsoft.com/.default", 60, 14) == (
        loaded.graph_root,
        loaded.token_scope,
        loaded.http_budget_seconds,
        loaded.sweep_window_days,
    )


def test_all_problems_are_named_at_once():
    """One error has one sentence for each wrong setting."""
    with pytest.raises(settings.SettingsError) as caught:
        settings.load(
            {
                "GRAPH_CLOUD": "mars",
                "GRAPH_ENDPOINT": "https://evil.example",
                "HTTP_BUDGET_SECONDS": "0",
                "AZURE_CLIENT_ID": "me",
                "HTTP_AUTH_LEVEL": "none",
                "SWEEP_SCHEDULE": "hourly",
                "SWEEP_DRYRUN": "true",
            }
        )

    assert [
        "GRAPH_CLOUD is 'mars' but should be one of global, usgov, usgov-dod, china",
        (
            "GRAPH_ENDPOINT is 'https://evil.example' but should be unset, or "
            "http(s)://<loopback address>:<port> without a path"
        ),
        "AZURE_CLIENT_ID is 'me' but should be a GUID",
        "HTTP_BUDGET_SECONDS is '0' but should be a whole number from 1 to 200",
        "HTTP_AUTH_LEVEL is 'none' but should be function or anonymous",
        (
            "SWEEP_SCHEDULE is 'hourly' but should be an NCRONTAB expression of six fields, as "
            "0 */15 * * * *"
        ),
        "SWEEP_DRYRUN is not a setting of this app; did you mean SWEEP_DRY_RUN?",
    ] == caught.value.problems


@pytest.mark.parametrize(
    ("cloud", "root"),
    [
        ("global", "https://graph.microsoft.com"),
        ("usgov", "https://graph.microsoft.us"),
        ("usgov-dod", "https://dod-graph.microsoft.us"),
        ("china", "https://microsoftgraph.chinacloudapi.cn"),
    ],
)
def test_a_cloud_sets_root_and_audience_together(cloud, root):
    """A token for one cloud never goes to another."""
    loaded = settings.load({"GRAPH_CLOUD": cloud})

    assert (root, root + "/.default") == (loaded.graph_root, loaded.token_scope)


@pytest.mark.parametrize(
    "environ",
    [
        {"GRAPH_REQUESTS_PATH": "accessPackageAssignmentRequests"},
        {"SWEEP_COOLDOWN_MINUTES": "60", "SWEEP_COOLDOWN_MAX_MINUTES": "30"},
        {"SWEEP_WINDOW_DAYS": "1", "SWEEP_MIN_AGE_MINUTES": "1440"},
    ],
)
def test_contradictions_are_problems(environ):
    """Two settings that cannot both be meant are refused."""
    with pytest.raises(settings.SettingsError):
        settings.load(environ)


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://127.0.0.1.evil.example:1",
        "http://10.0.0.1",
        "http://localhost@evil.example",
        "http://localhost:1/path",
        "http://localhost:1?x",
        "http://localhost:99999",
        "ftp://127.0.0.1",
        "127.0.0.1:1",
        "http://[::1",
        "http://2130706433",
    ],
)
def test_the_endpoint_is_loopback_or_refused(endpoint):
    """A token cannot be led away by GRAPH_ENDPOINT."""
    with pytest.raises(settings.SettingsError):
        settings.load({"GRAPH_ENDPOINT": endpoint})


@pytest.mark.parametrize(
    "endpoint", ["http://127.0.0.1:1", "https://[::1]:2", "http://localhost:3/"]
)
def test_loopback_endpoints_are_taken(endpoint):
    """Tests and local runs point the app at another Graph, the audience stays the cloud's."""
    loaded = settings.load({"GRAPH_ENDPOINT": endpoint})

    assert (endpoint.rstrip("/"), "https://graph.microsoft.com/.default") == (
        loaded.graph_root,
        loaded.token_scope,
    )


@pytest.mark.parametrize(
    ("value", "level"),
    [
        ("", "function"),
        ("anonymous", "anonymous"),
        ("Anonymous ", "function"),
        ("admin", "function"),
    ],
)
def test_the_level_is_function_unless_plainly_anonymous(value, level):
    """A missing or misspelt level closes the door."""
    assert level == settings.auth_level({"HTTP_AUTH_LEVEL": value})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x" * 36,
        "７999249e-249e-7999-9e24-99799e249979",
        "{7999249e-249e-7999-9e24-99799e249979}",
        "7999249e249e79999e2499799e249979",
        "7999249e-249e-7999-9e24-99799e249979\n",
    ],
)
def test_only_the_8_4_4_4_12_form_is_a_guid(text):
    """Unicode digits, braces, missing hyphens and trailing lines are none."""
    assert not settings.is_guid(text)


@pytest.mark.parametrize(
    ("environ", "uri"),
    [
        ({}, None),
        ({"AzureWebJobsStorage__accountName": "acc1"}, "https://acc1.table.core.windows.net"),
        (
            {"AzureWebJobsStorage__accountName": "acc1", "GRAPH_CLOUD": "usgov-dod"},
            "https://acc1.table.core.usgovcloudapi.net",
        ),
        (
            {"AzureWebJobsStorage__tableServiceUri": "https://acc1.table.core.windows.net/"},
            "https://acc1.table.core.windows.net",
        ),
        (
            {"AzureWebJobsStorage__tableServiceUri": "https://acc1.z12.table.storage.azure.net"},
            "https://acc1.z12.table.storage.azure.net",
        ),
    ],
)
def test_the_storage_account_is_named_by_name_or_by_uri(environ, uri):
    """With a name alone, the account is in the storage of the Graph cloud."""
    assert uri == settings.load(environ).storage_table_uri


@pytest.mark.parametrize(
    "environ",
    [
        {"AzureWebJobsStorage": "hunter2-hunter2"},
        {"AzureWebJobsStorage": "AccountName=a;AccountKez=hunter2"},
        {"AzureWebJobsStorage": "AccountName=;AccountKey=hunter2"},
        {"AzureWebJobsStorage": "AccountName=a;AccountKey=hunter2;x"},
        {"AzureWebJobsStorage__tableServiceUri": "https://evil.example"},
        {"AzureWebJobsStorage__tableServiceUri": "http://acc1.table.core.windows.net"},
        {
            "AzureWebJobsStorage__tableServiceUri": "https://acc1.table.core.windows.net.evil.example"
        },
        {
            "AzureWebJobsStorage__tableServiceUri": "https://acc1.table.core.windows.net@evil.example"
        },
        {"AzureWebJobsStorage__accountName": "acc1.evil.example/"},
        {"AzureWebJobsStorage__clientId": "me"},
        {"ATTEMPTS_TABLE": "no-dashes"},
    ],
)
def test_a_token_or_key_cannot_be_led_away_from_azure_storage(environ):
    """Anything but a storage account of a known cloud is refused; the secret is not told."""
    with pytest.raises(settings.SettingsError) as caught:
        settings.load(environ)

    assert [True] == [next(iter(environ)) in one for one in caught.value.problems]
    assert "hunter2" not in str(caught.value)


def test_the_connection_string_is_not_in_the_settings_text():
    """A secret is not told by logging the settings."""
    loaded = settings.load({"AzureWebJobsStorage": "AccountName=a;AccountKey=hunter2"})

    assert ("AccountName=a;AccountKey=hunter2", False) == (
        loaded.storage_connection,
        "hunter2" in repr(loaded),
    )


GOOD = "a secret of 24 bytes, yes".replace(",", ";")
STANDARD = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_webhook_secrets_are_read_newest_first_and_never_shown():
    """Several are good at once, so that a secret can be changed without a gap."""
    loaded = settings.load(
        {"WEBHOOK_SECRETS": f"{STANDARD} , {GOOD}", "STATUS_LINK_SECRET": "s" * 32}
    )

    assert ((STANDARD, GOOD), "s" * 32) == (loaded.webhook_secrets, loaded.status_link_secret)
    assert not any(secret in repr(loaded) for secret in (STANDARD, GOOD, "s" * 32))


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        (
            "WEBHOOK_SECRETS",
            f"{GOOD},short",
            "WEBHOOK_SECRETS: secret 2 should be at least 24 bytes long",
        ),
        (
            "WEBHOOK_SECRETS",
            f"{GOOD},",
            "WEBHOOK_SECRETS: secret 2 should be at least 24 bytes long",
        ),
        (
            "WEBHOOK_SECRETS",
            "whsec_c2hvcnQ=",
            "WEBHOOK_SECRETS: secret 1 should be whsec_ and the base64 of 24 to 64 bytes",
        ),
        (
            "WEBHOOK_SECRETS",
            "whsec_" + "!" * 40,
            "WEBHOOK_SECRETS: secret 1 should be whsec_ and the base64 of 24 to 64 bytes",
        ),
        (
            "WEBHOOK_SECRETS",
            ",".join(f"{GOOD}{n}" for n in range(11)),
            "WEBHOOK_SECRETS should be at most 10 secrets",
        ),
        ("STATUS_LINK_SECRET", "x" * 31, "STATUS_LINK_SECRET should be at least 32 bytes long"),
        (
            "STATUS_LINK_SECRET",
            "@Microsoft.KeyVault(SecretUri=https://vault.example/secrets/link)",
            (
                "STATUS_LINK_SECRET is a reference that the platform has not resolved: check the vault, "
                "the secret's name, and that the app's identity may read it"
            ),
        ),
        (
            "WEBHOOK_SECRETS",
            "@Microsoft.KeyVault(VaultName=vault;SecretName=hook)",
            (
                "WEBHOOK_SECRETS is a reference that the platform has not resolved: check the vault, "
                "the secret's name, and that the app's identity may read it"
            ),
        ),
    ],
)
def test_a_weak_secret_is_refused_and_its_value_not_told(name, value, problem):
    """What is wrong is told by position; a reference that was not resolved is no secret."""
    with pytest.raises(settings.SettingsError) as caught:
        settings.load({name: value})

    assert [problem] == caught.value.problems


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CALLER_ROLE", "two words"),
        ("CALLER_ROLE", "x" * 121),
        ("WEBHOOK_REQUEST_ID_POINTER", "requestId"),
        ("WEBHOOK_REQUEST_ID_POINTER", "/a~2b"),
        ("WEBHOOK_REQUEST_ID_POINTER", "/a~"),
        ("WEBHOOK_REQUEST_ID_POINTER", "$.requestId"),
        ("STATUS_LINK_HOURS", "0"),
        ("STATUS_LINK_HOURS", "721"),
    ],
)
def test_roles_pointers_and_hours_are_checked(name, value):
    """What cannot be meant is named before anybody calls."""
    with pytest.raises(settings.SettingsError, match=name):
        settings.load({name: value})


def test_a_wrong_role_is_nobodys():
    """The door stays closed rather than falling back to the default role."""
    assert ("Requests.Reprocess", "Other.Role", None) == (
        settings.caller_role({}),
        settings.caller_role({"CALLER_ROLE": " Other.Role "}),
        settings.caller_role({"CALLER_ROLE": "two words"}),
    )


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("WEBHOOK_SECRET", "WEBHOOK_SECRETS"),
        ("STATUS_LINK_SECRETS", "STATUS_LINK_SECRET"),
        ("webhook_secrets", "WEBHOOK_SECRETS"),
    ],
)
def test_a_misspelt_secret_does_not_leave_the_door_open(name, meant):
    """The name is told, the value is not."""
    with pytest.raises(settings.SettingsError) as caught:
        settings.load({name: GOOD})

    assert [f"{name} is not a setting of this app; did you mean {meant}?"] == caught.value.problems
