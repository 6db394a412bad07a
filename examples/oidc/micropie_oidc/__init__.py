"""Log-in by OpenID Connect, with the authorization code flow and PKCE: an extension of micropie.

    login = OpenIDConnect(
        "https://id.example.com",
        "shop",
        client_secret=SECRET,
        redirect_uri="https://shop.example.com/login/callback",
    )
    login.install(app)

It imports only the names of micropie that docs/extensions.md promises to keep.
"""

from __future__ import annotations

from .login import OpenIDConnect

__all__ = ["OpenIDConnect"]
