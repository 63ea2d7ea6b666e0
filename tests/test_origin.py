"""origin.py: links lead to us, whatever the caller sends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reprocess_http.origin import origin

AZURE = {"WEBSITE_HOSTNAME": "redeliver.azurewebsites.net"}


@pytest.mark.parametrize(
    ("url", "environ", "ours"),
    [
        ("http://127.0.0.1:7071/api/x", {}, "http://127.0.0.1:7071"),
        ("http://[::1]:7071/api/x", {}, "http://[::1]:7071"),
        ("http://localhost:7071/", {"WEBSITE_HOSTNAME": "localhost:7071"}, "http://localhost:7071"),
        ("https://redeliver.azurewebsites.net/x", AZURE, "https://redeliver.azurewebsites.net"),
        ("http://access.contoso.example/x", AZURE, "https://access.contoso.example"),
        ("http://access.contoso.example:80/x", AZURE, "https://access.contoso.example"),
        ("https://Access.Contoso.example:443/x", AZURE, "https://access.contoso.example"),
        ("https://a.example,b.example/x", AZURE, "https://redeliver.azurewebsites.net"),
        ("https://user@evil.example/x", AZURE, "https://redeliver.azurewebsites.net"),
        ("https://evil.example\\@x/x", AZURE, "https://redeliver.azurewebsites.net"),
        ("https:///x", AZURE, "https://redeliver.azurewebsites.net"),
        ("http://[::1/x", AZURE, "https://redeliver.azurewebsites.net"),
        ("", {}, "http://localhost"),
        ("javascript://x/", {}, "http://x"),
    ],
)
def test_the_origin_is_ours(url, environ, ours):
    """The host name that the front end routed by; https on Azure; else the app's own name."""
    assert ours == origin(url, environ)


@given(st.text())
def test_no_url_breaks_it(url):
    """It is read before anything is caught."""
    assert origin(url, {}).startswith(("http://", "https://"))
    assert "\n" not in origin("http://" + url, {})
