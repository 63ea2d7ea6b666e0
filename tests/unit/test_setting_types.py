"""setting_types.py: what each type of setting may be, and what should be there otherwise.

Not for: which setting has which type (test_settings.py), which schedules are right
(test_schedule.py).
"""

from __future__ import annotations

import pytest

import setting_types as types

ID = "7999249e-249e-7999-9e24-99799e249979"
OTHER = "11111111-2222-3333-4444-555555555555"
PLAIN = "a secret of 24 bytes; yes"
STANDARD = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
KEY = "AccountName=acc1;AccountKey=hunter2"
FLOW = "https://x.logic.azure.com:443/workflows/1/paths/invoke?sp=%2Ftriggers&sig=a-b_c"
choice, single, integer = types.choice("v1.0", "Beta"), types.choice("yes"), types.integer(1, 200)
CLOUDS = (
    "core.windows.net", "core.usgovcloudapi.net", "core.chinacloudapi.cn", "storage.azure.net",
)  # fmt: skip
text_of_as = types.pattern("a+", "some a")


def error(parse, text):
    """Return what a parser says that a text should be."""
    with pytest.raises(ValueError) as caught:
        parse(text)
    return str(caught.value)


@pytest.mark.parametrize(("parse", "text", "value"), [
    (choice, "V1.0", "v1.0"), (choice, "beta", "Beta"),
    (types.boolean, "True", True), (types.boolean, "FALSE", False),
    (integer, "01", 1), (integer, "200", 200),
    (types.guid, ID.upper(), ID), (types.guid, "", None),
    (types.guids, f"{ID.upper()}, {OTHER},{ID}", (ID, OTHER)), (types.guids, "", ()),
    (types.webhook_secrets, f"{STANDARD} , {PLAIN},{STANDARD}", (STANDARD, PLAIN)),
    (types.webhook_secrets, "é" * 12, ("é" * 12,)),
    (types.webhook_secrets, "", ()),
    (types.loopback_endpoint, "http://127.0.0.1:1", "http://127.0.0.1:1"),
    (types.loopback_endpoint, "https://[::1]:2", "https://[::1]:2"),
    (types.loopback_endpoint, "http://localhost:3/", "http://localhost:3"),
    (types.loopback_endpoint, "", None),
    # These stay as they are.
    *((one, "", "") for one in (choice, text_of_as, types.link_secret, types.connection_string, types.url)),
    *((types.url, one, one) for one in ("https://example.org", FLOW, "http://localhost:8080/?x=@")),
    *((one, text, text) for one, text in (
        (text_of_as, "aa"), (types.app_role, "x" * 120), (types.json_pointer, "/a/0/~0~1/"),
        (types.ncrontab, "0  0 8-18/2 * JAN MON,FRI"), (types.table_name, "Attempts2"),
        (types.storage_account, "acc1"), (types.link_secret, "é" * 16))),
    *((types.blob_service, f"https://acc1.blob.{one}/", f"https://acc1.table.{one}") for one in CLOUDS),
])  # fmt: skip
def test_what_is_right_is_read(parse, text, value):
    """As it is, or in one form where several mean the same."""
    found = parse(text)

    assert (value, type(value)) == (found, type(found))


@pytest.mark.parametrize(("parse", "texts", "should_be"), [
    (choice, ["1.0", "v1.0 "], "one of v1.0, Beta"),
    (single, ["no"], "yes"),
    (types.boolean, ["1", "yes", "on", ""], "true or false"),
    (integer, ["0", "201", "-1", "6e1", "1.5", "٣", "1" * 9999, ""], "a whole number from 1 to 200"),
    (text_of_as, ["ab", "a\n"], "some a"),
    (types.app_role, ["two words", "x" * 121, "ä"], "the value of an app role, without blanks"),
    (types.json_pointer, ["requestId", "/a~2b", "/a~", "$.requestId"], "a JSON Pointer (RFC 6901) such as /issue/fields/requestId"),
    (types.table_name, ["no-dashes", "ab", "2tables", "a" * 64], "3 to 63 letters and digits, beginning with a letter"),
    (types.storage_account, ["acc1.evil.example/", "Acc1", "ac", "a" * 25], "a storage account's name, 3 to 24 small letters and digits"),
    (types.guid, [ID + "0", f"{ID},{OTHER}"], "a GUID"),
    (types.guids, ["Sales", f"{ID},", f"{ID};{OTHER}", ",".join([ID] * 1001)], "GUIDs, comma separated, at most 1000"),
    (types.link_secret, ["x" * 31, "é" * 15], "at least 32 bytes long"),
    (types.webhook_secrets, [f"{PLAIN},hunter2", f"{PLAIN},", f"{PLAIN},whsec_c2hvcnQ=", f"{PLAIN},\udc80" + "x" * 22],
     "secrets of at least 24 bytes each, or whsec_ and the base64 of 24 to 64 bytes; what is wrong is secret 2"),
    (types.webhook_secrets, [f"hunter2,{PLAIN},hunter3"],
     "secrets of at least 24 bytes each, or whsec_ and the base64 of 24 to 64 bytes; what is wrong is secret 1, 3"),
    (types.connection_string, ["hunter2-hunter2", "AccountName=a;AccountKez=hunter2", "AccountName=;AccountKey=hunter2",
      "AccountName=a;AccountKey=", "AccountName=a;AccountKey",
      "DefaultEndpointsProtocol=https;AccountName=a;EndpointSuffix=core.windows.net",
      "AccountName=a;AccountKey=hunter2;x", "AccountName=a;AccountKey=hunter2;=x",
      "AccountName=a;AccountKey=hunter2;accountname=b", "SharedAccessSignature=hunter2",
      "BlobEndpoint=https://a.blob.core.windows.net;SharedAccessSignature=hunter2", ";;",
      "TableEndpoint=https:/acc.example;SharedAccessSignature=hunter2",
      "TableSecondaryEndpoint=https://acc.example;AccountName=acc;AccountKey=hunter2",
      "DefaultEndpointsProtocol=https[];EndpointSuffix=x;AccountName=acc;AccountKey=hunter2"],
     "a storage account's connection string, whole and with its key, or unset with AzureWebJobsStorage__accountName in its place"),
    (types.url,
     ["hunter2", "http://example.org/?sig=hunter2", "http://127.0.0.1.evil.example", "https://user:hunter2@example.org", "https://example.org#hunter2", "https://example.org/#hunter2", "https://example.org\\@evil.example", "https://example.org/a b", "https://exa\nmple.org", "https://", "https:///hunter2", "https://...", "https://example.org:0", "https://example.org:65536", "https://example.org:x", "https://exämple.org", "https://[::1", "ftp://example.org", "//example.org"],
     "https://<host>/... without user and fragment (http for a loopback address only)"),
    (types.loopback_endpoint, ["https://evil.example", "http://127.0.0.1.evil.example:1", "http://10.0.0.1",
      "http://localhost@evil.example", "http://evil.example@localhost", "http://localhost:1/path",
      "http://localhost:1//", "http://localhost:1?x", "http://localhost:99999", "http://local\thost",
      "127.0.0.1:1", "http://2130706433", "http://127.0.0.1.", "/"], "unset, or http(s)://<loopback address>:<port> without a path"),
])  # fmt: skip
def test_what_is_wrong_is_refused_with_what_would_be_right(parse, texts, should_be):
    """Nothing of the text is repeated: it may be a secret."""
    assert [should_be] * len(texts) == [error(parse, text) for text in texts]


@pytest.mark.parametrize("text", [
    "https://acc1.table.core.windows.net", "https://acc1-secondary.table.core.windows.net/",
    "https://ACC1.z12.Table.storage.azure.net", "http://127.0.0.1:10002/devstoreaccount1",
    "https://localhost:10002/devstoreaccount1/",
])  # fmt: skip
def test_a_table_service_is_in_azure_or_on_this_machine(text):
    """The identity's token is sent there; it is read in small letters, without a slash at the end."""
    assert text.lower().removesuffix("/") == types.table_service(text)


SHOULD_BE = "https://<account>.{}.core.windows.net, or your cloud's form of it".format
SET_TABLE = "; else AzureWebJobsStorage__tableServiceUri should be set as well"


@pytest.mark.parametrize("text", [
    "https://files.example", "http://acc1.{}.core.windows.net", "https://acc1.queue.core.windows.net",
    "https://acc1.{}.core.windows.net.evil.example", "https://acc1.{}.core.windows.net/container",
    "https://acc1.{}.core.windows.net?sv=1&sig=hunter2", "http://127.0.0.1:10000/",
])  # fmt: skip
def test_another_service_or_place_is_refused(text):
    """Where a table service cannot be derived, it is said how to name it. Azurite has two ports."""
    assert SHOULD_BE("table") == error(types.table_service, text.format("table"))
    for one in (text.format("blob"), "http://127.0.0.1:10000/devstoreaccount1"):
        assert SHOULD_BE("blob") + SET_TABLE == error(types.blob_service, one)


@pytest.mark.parametrize("connection", [
    KEY, f"DefaultEndpointsProtocol=https;{KEY}==;EndpointSuffix=core.windows.net;",
    "TableEndpoint=https://acc1.table.core.windows.net;SharedAccessSignature=sv=1&sig=x",
    "UseDevelopmentStorage=true",
])  # fmt: skip
def test_a_connection_string_that_the_tables_client_takes_is_right(connection):
    assert connection == types.connection_string(connection)


@pytest.mark.parametrize("text", ["", "٧" + ID[1:], "{" + ID + "}", ID.replace("-", ""), ID + "\n"])
def test_only_the_8_4_4_4_12_form_is_a_guid(text):
    """Unicode digits, braces, missing hyphens and trailing lines are none."""
    assert (True, True, False) == tuple(types.is_guid(one) for one in (ID, ID.upper(), text))


@pytest.mark.parametrize(("secret", "key"), [
    ("whsec_" + "AAAA" * 8, bytes(24)),
    ("whsec_" + "AAAA" * 21 + "AA==", bytes(64)),
    ("whsec_" + "AAAA" * 20 + "AAA", bytes(62)),
    ("whsec_" + "AAAA" * 21 + "AAA=", None),
    ("whsec_" + "AAAA" * 7 + "AAA=", None),
    ("whsec_" + "AAAA" * 8 + "A", None),
    ("whsec_" + "AAAA" * 8 + "_", None),
    ("whsec_é" + "AAAA" * 8, None),
])  # fmt: skip
def test_a_standard_secret_is_the_base64_of_24_to_64_bytes(secret, key):
    """Padding may be missing, as the reference library allows."""
    assert key == types.webhook_key(secret)
