"""``SecurityDefaults``, which adds the security middleware that a site needs, and the list of
security middleware that a site lacks.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

from micropie._core.errors import SetupError, refuse_text
from micropie._core.http.headers import PREFIXES
from micropie._core.routing import AppBase, Config
from micropie.middleware.csrf import CSRFMiddleware
from micropie.middleware.proxy_headers import ProxyHeaders
from micropie.middleware.security_headers import YEAR, SecurityHeaders
from micropie.middleware.trusted_hosts import TrustedHosts

logger = logging.getLogger("micropie.security")


class SecurityDefaults:
    """The security middleware that a site needs: ``App(security=SecurityDefaults("example.com"))``.

    It puts ``TrustedHosts`` with the ``hosts``, ``SecurityHeaders`` and ``CSRFMiddleware`` before
    the application's ``middlewares``. It also sets two settings, unless the application sets them:
    the session's cookie gets the name ``__Host-session_id``, and pages of other sites may not open
    WebSockets of mounted ASGI applications (``websocket_origins_for_mounts``).

    - ``proxies``: the addresses of proxies, for ``ProxyHeaders``, which then comes first.
    - ``csp``, ``hsts``: see ``SecurityHeaders``.
    - ``trusted_origins``, ``exempt``: see ``CSRFMiddleware``.

    Raises ``SetupError`` without a host, and for an invalid value.
    """

    def __init__(
        self,
        *hosts: *tuple[str, *tuple[str, ...]],  # one or more hosts
        proxies: Iterable[str] = (),
        csp: str | None = None,
        hsts: int | None = YEAR,
        trusted_origins: Iterable[str] = (),
        exempt: Iterable[str] = (),
    ) -> None:
        if not hosts:
            raise SetupError('SecurityDefaults needs the hosts: SecurityDefaults("example.com")')
        refuse_text("proxies", proxies)
        self.middlewares = [
            *([ProxyHeaders(trusted=proxies)] if proxies else []),
            TrustedHosts(*hosts),
            SecurityHeaders(csp=csp, hsts=hsts),
            CSRFMiddleware(trusted_origins=trusted_origins, exempt=exempt),
        ]
        self.settings = {
            "session_cookie": "__Host-session_id",
            "websocket_origins_for_mounts": True,
        }

    @staticmethod
    def missing(app: AppBase) -> Iterator[str]:
        """Yield a phrase such as "has no TrustedHosts, so ..." for each security middleware that
        the site lacks. ``app`` is the outermost application. Yield nothing for a site without
        sessions, or with ``App(security=False)``.
        """
        if app._micropie.security is not False and app.session_backend is not None:
            yield from missing_security(app._micropie.site.config)


def warn_of_missing_security(config: Config) -> None:
    """Log a warning for each security middleware that a site lacks. ``config``: the configuration
    of the site's outermost application.
    """
    for missing in missing_security(config):
        logger.warning(
            "%s has sessions and %s (docs/security.md)", type(config.app).__name__, missing
        )


def missing_security(config: Config) -> Iterator[str]:
    """Yield a phrase such as "has no TrustedHosts, so ..." for each security middleware that a site
    lacks. ``config``: the configuration of the site's outermost application.
    """
    hooks = [hook for inner in config.tree for hook in inner.middlewares]
    if not any(isinstance(hook, TrustedHosts) for hook in hooks):
        yield "has no TrustedHosts, so the site accepts any Host header and uses this host in links"
    if not any(isinstance(hook, CSRFMiddleware) for hook in hooks):
        yield "has no CSRFMiddleware: pages of other sites can submit forms to it"
    headers = [hook for hook in hooks if isinstance(hook, SecurityHeaders)]
    if not headers:
        yield (
            "has no SecurityHeaders: other sites can frame its pages, and "
            "browsers may use plain http"
        )
    elif not any(hook.hsts for hook in headers):
        yield "has no hsts in SecurityHeaders: browsers may use plain http"
    settings = config.settings
    if settings.session_cookie_secure is False:
        yield "sends the session cookie over plain http: leave out session_cookie_secure=False"
    elif settings.session_cookie is not None and not settings.session_cookie.startswith(PREFIXES):
        yield (
            "lets other hosts of its domain set the session cookie: leave out the setting "
            'session_cookie, or begin its value with the prefix "__Host-"'
        )
