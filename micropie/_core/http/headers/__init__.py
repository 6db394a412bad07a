"""Store headers, and parse and write their values.

Open ``fields.py`` to change how headers are stored. The other files:

- ``cookies.py``: cookies
- ``signing.py``: signed values, such as signed cookies
- ``media_types.py``: content types and ``Accept``
- ``conditional.py``: conditional requests and ranges
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from micropie._core.http.headers.cookies import (
    MAX_COOKIE,
    PREFIXES,
    CookieAttributes,
    CookieScope,
    SentCookies,
    format_cookie,
    is_cookie_name,
    parse_cookies,
    without_prefix,
)
from micropie._core.http.headers.fields import (
    CAPITALS,
    MAX_HEADERS,
    HeaderNames,
    Headers,
    KnownHead,
    MutableHeaders,
    NameTable,
    add_missing,
    add_vary,
    cached_if_short,
    known_private,
    make_private,
)
from micropie._core.http.headers.media_types import (
    choose_type,
    codec_of,
    content_type,
    disposition,
    is_json,
)
from micropie._core.on_demand import names_on_demand

if TYPE_CHECKING:
    from micropie._core.http.headers.conditional import (
        CONDITIONS,
        Selection,
        accepted_codings,
        entity_tag,
        http_date,
        is_known,
        range_applies,
        select,
    )
    from micropie._core.http.headers.signing import AppSigner, Secret, Signer

# These modules are imported on first use, because many sites don't need them.
__getattr__, __dir__ = names_on_demand(
    __name__,
    {
        "conditional": (
            "CONDITIONS Selection accepted_codings entity_tag http_date is_known range_applies "
            "select"
        ),
        "signing": "AppSigner Secret Signer",
    },
)
