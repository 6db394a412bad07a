"""Middleware: the base classes that authors derive from, and the middleware that comes with micropie."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from micropie.execution.steps import call, kind_of
from micropie.middleware.access_log import AccessLog
from micropie.middleware.auth import BasicAuth, BearerAuth
from micropie.middleware.base import FlowMiddleware, HttpMiddleware, WebSocketMiddleware
from micropie.middleware.compress import Compress
from micropie.middleware.concurrency_limit import ConcurrencyLimit
from micropie.middleware.cors import CORSMiddleware
from micropie.middleware.csrf import CSRFMiddleware
from micropie.middleware.proxy_headers import ProxyHeaders
from micropie.middleware.rate_limit import RateLimit
from micropie.middleware.rate_store import MemoryRates, Quota, RateStore
from micropie.middleware.request_id import RequestId, RequestIdFilter
from micropie.middleware.security_defaults import SecurityDefaults
from micropie.middleware.security_headers import SecurityHeaders
from micropie.middleware.timeout import Timeout
from micropie.middleware.trusted_hosts import TrustedHosts

if TYPE_CHECKING:
    from micropie.middleware.redis_rate_store import RedisRates
    from micropie.middleware.tracing import Tracing

__all__ = [
    "AccessLog",
    "BasicAuth",
    "BearerAuth",
    "CORSMiddleware",
    "CSRFMiddleware",
    "Compress",
    "ConcurrencyLimit",
    "FlowMiddleware",
    "HttpMiddleware",
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
    "Timeout",
    "Tracing",
    "TrustedHosts",
    "WebSocketMiddleware",
    "call",
    "kind_of",
]


# Imported when first used: redis-py alone takes longer to import than all of micropie.
_LAZY = {"RedisRates": "micropie.middleware.redis_rate_store", "Tracing": "micropie.middleware.tracing"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
