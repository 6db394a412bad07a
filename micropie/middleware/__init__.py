"""Hooks around handlers: the base classes that authors derive from, what calls them, and what comes with micropie."""

from micropie.middleware.base import HttpMiddleware, WebSocketMiddleware
from micropie.middleware.cors import CORSMiddleware
from micropie.middleware.csrf import CSRFMiddleware
from micropie.middleware.proxyheaders import ProxyHeaders
from micropie.middleware.securityheaders import SecurityHeaders
from micropie.middleware.trustedhosts import TrustedHosts

__all__ = [
    "CORSMiddleware",
    "CSRFMiddleware",
    "HttpMiddleware",
    "ProxyHeaders",
    "SecurityHeaders",
    "TrustedHosts",
    "WebSocketMiddleware",
]
