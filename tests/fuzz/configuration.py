"""What operators set: each setting, and all together."""

from __future__ import annotations

import setting_types
from schedule import next_sweep_at
from settings import Settings, SettingsError, load
from table_client import new_client
from tests.fuzz.targets import FIELD, any_text, target
from tests.support.http_calls import ID, NOW

DECLARED = Settings.declared()
SECRETS = [one.name for one in DECLARED if one.secret]
MARK = "nobody-may-read-this"  # in each secret
EXAMPLES = {
    "WEBHOOK_SECRETS": "whsec_" + "A" * 43 + "=, another-secret-of-24-bytes",
    "NOTIFY_URL": "https://hooks.example/a?sig=x",
    "AzureWebJobsStorage": "AccountName=acc;AccountKey=c2VjcmV0;EndpointSuffix=x.net",
    "AzureWebJobsStorage__tableServiceUri": "https://acc.table.core.windows.net/",
    "AzureWebJobsStorage__blobServiceUri": "https://acc-secondary.z1.blob.storage.azure.net",
    "SWEEP_ACCESS_PACKAGES": f"{ID}, {ID.upper()}",
    "GRAPH_ENDPOINT": "http://[::1]:07071/",
    "WEBHOOK_REQUEST_ID_POINTER": "/a/~01",
}


@target(
    *(("x" * n, EXAMPLES.get(one.name) or one.default) for n, one in enumerate(DECLARED)),
    ("", "@Microsoft.KeyVault(x)"),
)
def one_setting(which: bytes, raw: bytes) -> None:
    """A text is refused by ValueError, in few words, or is a value that reads as itself."""
    spec, text = DECLARED[len(which) % len(DECLARED)], any_text(raw).strip()
    try:
        value = spec.read(text)
    except ValueError as error:
        # At most 80 characters of it, escaped; of secrets the positions of the wrong ones.
        assert len(str(error)) < 1000 + 10 * text.count(",")
        return
    if spec.attribute == "sweep_schedule":
        following = next_sweep_at(value, NOW)
        assert following, "there is a sweep after each moment"
        assert following > NOW
    parse = spec.parse
    if spec.attribute == "storage_blob_service":  # its value is the address of the table service
        parse = setting_types.table_service
    written = ",".join(value) if isinstance(value, tuple) else str(value or "")
    assert parse(written) == value if written else not value


@target(
    ("", "", *(f"{name}={text}" for name, text in EXAMPLES.items() if name not in SECRETS)),
    ("xx", "https://hooks.example/", "SWEEP_COOLDOWN_MINUTES=50", "sweep_dry_run=1"),
    ("xxx", "AccountName=a;AccountKey=", "GRAPH_CLOUD=usgov", "CALLER_ROLE=a b"),
    ("xxx", "TableEndpoint=http:/127.0.0.1/a;AccountName=a;AccountKey="),
    ("x", "", "azurewebjobsstorage__accountname=x", "WEBSITE_INSTANCE_ID=1"),
)
def all_settings(which: bytes, secret: bytes, others: bytes) -> None:
    """Wrong settings are named, each once; nothing of a secret is shown, whatever stands beside it.

    Right ones lead to a client of the table where they name a storage account.
    """
    found = (any_text(raw).partition("=") for raw in others.split(FIELD))
    environ = {name[:40]: text for name, _, text in found if name and MARK not in name + text}
    environ[SECRETS[len(which) % len(SECRETS)]] = any_text(secret) + MARK
    try:
        settings = load(environ)
        client = new_client(settings)
    except SettingsError as error:
        assert MARK not in str(error)
        assert len(set(error.problems)) == len(error.problems) > 0
    else:
        assert MARK not in repr(settings)
        assert bool(client) is bool(settings.storage_connection or settings.storage_table_uri)
