"""Under which address the caller reaches us, for the absolute URLs in our answers.

Not for: anything that is to be trusted more than a link that the caller itself gets back.

On Azure the front end routes a call by its `Host` to the app that this host name, the default one
or a custom domain, is registered for, and hands it on as `DISGUISED-HOST`; the Functions host puts
that back into the URL that we see (its AppServiceHeaderFixupMiddleware). So that URL's host is the
right one behind a custom domain, and behind a proxy that keeps the host name, as Microsoft advises
(https://learn.microsoft.com/azure/architecture/best-practices/host-name-preservation).
`X-Forwarded-Host`, `X-Original-Host` and `Forwarded` are not set by App Service, so anybody could
send them: they are never read. Behind a proxy that replaces the host name, links therefore lead to
the app's own name. What is no host name at all is replaced by `WEBSITE_HOSTNAME`.
Not confirmed by documentation: that the front end overwrites a `DISGUISED-HOST` of the caller's
own. Were it not so, callers could mislead themselves only: no answer may be cached.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

_HOST = re.compile(r"([0-9a-z-]{1,63}(\.[0-9a-z-]{1,63})*|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
_LOCAL = ("localhost", "127.0.0.1")


def origin(url: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return scheme and host of our own address; `url` is the one that the host says was called.

    On Azure the scheme is always https: its front ends end TLS, and what runs behind them may see
    http (azure-functions-host#6602).
    """
    ours = environ.get("WEBSITE_HOSTNAME", "").strip().lower()
    on_azure = bool(ours) and ours.partition(":")[0] not in _LOCAL  # Core Tools set it, too
    try:
        parts = urlsplit(url)
        scheme, host = parts.scheme, parts.netloc.lower()
    except ValueError:
        scheme = host = ""
    if not _HOST.fullmatch(host):
        host = ours or "localhost"
    if on_azure:
        return f"https://{host.removesuffix(':443').removesuffix(':80')}"
    return f"{'https' if scheme == 'https' else 'http'}://{host}"
