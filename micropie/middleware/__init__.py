"""Middleware: the base classes for custom middleware, and the middleware that comes with micropie.

Open ``base.py`` to change the base classes, or the module named after a middleware to change that
middleware. A new middleware is a module here with a class derived from ``FlowMiddleware``, its name
in ``__all__`` and ``names_on_demand`` below and in ``PROMISED`` of
``tests/project/test_public_names.py``, and a section of ``docs/reference/middleware-security.md``
or ``docs/reference/middleware-operation.md``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from micropie._core.http.csrf import csrf_token
from micropie._core.on_demand import names_on_demand
from micropie.middleware.base import (
    Call,
    FlowMiddleware,
    HttpMiddleware,
    ServiceThreads,
    Threads,
    TookTooLong,
    WebSocketMiddleware,
    call,
    call_within,
    kind_of,
)

if TYPE_CHECKING:
    from micropie.middleware.access_log import AccessLog
    from micropie.middleware.auth import BasicAuth, BearerAuth
    from micropie.middleware.compress import Compress
    from micropie.middleware.cors import CORSMiddleware
    from micropie.middleware.csrf import CSRFMiddleware
    from micropie.middleware.leaving import ends_with_client
    from micropie.middleware.limits import ConcurrencyLimit, LoadShedding, Timeout
    from micropie.middleware.proxy_headers import ProxyHeaders
    from micropie.middleware.rate_limit import MemoryRates, Quota, RateLimit, RateStore
    from micropie.middleware.redis_rate_store import RedisRates
    from micropie.middleware.request_id import RequestId, RequestIdFilter
    from micropie.middleware.security_defaults import SecurityDefaults
    from micropie.middleware.security_headers import SecurityHeaders
    from micropie.middleware.tracing import Tracing
    from micropie.middleware.trusted_hosts import TrustedHosts

__all__ = [
    "AccessLog",
    "BasicAuth",
    "BearerAuth",
    "CORSMiddleware",
    "CSRFMiddleware",
    "Call",
    "Compress",
    "ConcurrencyLimit",
    "FlowMiddleware",
    "HttpMiddleware",
    "LoadShedding",
    "MemoryRates",
    "ProxyHeaders",
    "Quota",
    "RateLimit",
    "RateStore",
    "RedisRates",
    "RequestId",
    "RequestIdFilter",
    "SecurityDefaults",
    "SecurityHeaders",
    "ServiceThreads",
    "Threads",
    "Timeout",
    "TookTooLong",
    "Tracing",
    "TrustedHosts",
    "WebSocketMiddleware",
    "call",
    "call_within",
    "csrf_token",
    "ends_with_client",
    "kind_of",
]

TookTooLong.__module__ = __name__  # show the public module in documentation and tracebacks

# Middleware is imported when it is first used, because importing all of it takes longer than
# importing the rest of micropie.
__getattr__, __dir__ = names_on_demand(
    __name__,
    {
        "access_log": "AccessLog",
        "auth": "BasicAuth BearerAuth",
        "compress": "Compress",
        "cors": "CORSMiddleware",
        "csrf": "CSRFMiddleware",
        "leaving": "ends_with_client",
        "limits": "ConcurrencyLimit LoadShedding Timeout",
        "proxy_headers": "ProxyHeaders",
        "rate_limit": "MemoryRates Quota RateLimit RateStore",
        "redis_rate_store": "RedisRates",
        "request_id": "RequestId RequestIdFilter",
        "security_defaults": "SecurityDefaults",
        "security_headers": "SecurityHeaders",
        "tracing": "Tracing",
        "trusted_hosts": "TrustedHosts",
    },
)
