"""Hooks around handlers: the base classes that authors derive from, and what calls them."""

from micropie.middleware.base import HttpMiddleware, WebSocketMiddleware

__all__ = ["HttpMiddleware", "WebSocketMiddleware"]
