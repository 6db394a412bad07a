"""``dispatch.RoutesDispatcher``, which finds handlers by the patterns of the package Routes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from routes import Mapper, request_config

from micropie_compat.cherrypy.config import config as global_config
from micropie_compat.cherrypy.dispatch import (
    MOST_SEGMENTS,
    LateParamPageHandler,
    refusal,
    with_directory,
)
from micropie_compat.cherrypy.errors import HTTPRedirect, NotFound
from micropie_compat.cherrypy.serving import serving
from micropie_compat.cherrypy.types import Section


class RoutesDispatcher:
    """Finds a controller and its action by a pattern of ``mapper``.

    ``full_result``: whether handlers also get the parameters ``controller`` and ``action``.

    Actions that begin with two underscores aren't looked up, because a pattern may take the action
    from the URL.
    """

    def __init__(self, full_result: bool = False, **mapper_options: object) -> None:
        self.full_result = full_result
        self.controllers: dict[str, Any] = {}
        self.mapper = Mapper(**mapper_options)
        self.mapper.controller_scan = self.controllers.keys

    def connect(self, name: str, route: str, controller: object, **kwargs: object) -> None:
        """Add a pattern for a controller: an object or a class whose method ``action`` is the
        handler, or without ``action`` the handler itself.
        """
        self.controllers[name] = controller
        self.mapper.connect(name, route, controller=name, **kwargs)

    def redirect(self, url: str) -> NoReturn:
        """Redirect to a URL; Routes's ``redirect_to`` calls this."""
        raise HTTPRedirect(url)

    def __call__(self, path_info: str) -> None:
        """Find the handler for a path, and set it and its configuration on the current request."""
        handler = self.find_handler(path_info)
        serving.request.handler = LateParamPageHandler(handler) if handler else refusal(NotFound())

    def find_handler(self, path_info: str) -> Any:
        """Return the handler for a path or None, and set the request's configuration."""
        request = serving.request
        segments = [segment for segment in path_info.split("/") if segment]
        configs: list[Section] = [global_config]
        request.micropie_configs = configs
        if len(segments) > MOST_SEGMENTS:
            return None
        result = self._match(path_info)
        hidden = () if self.full_result else ("controller", "action")
        request.params.update({name: result[name] for name in result if name not in hidden})

        def add(owner: object, path: list[str]) -> None:
            # ``owner``: an object with a configuration, or None for the section of the path
            section = request.app.config.get("/" + "/".join(path))
            own = section if owner is None else getattr(owner, "_cp_config", None)
            if own:
                configs.extend(with_directory(request.app, [own], path))

        above = segments[:-1]
        add(request.app.root, [])
        for length in range(len(above) + 1):
            add(None, above[:length])
        controller = self.controllers.get(result.get("controller", ""))
        if isinstance(controller, type):
            controller = controller()
        add(controller, above)
        handler, action = controller, result.get("action")
        if action is not None:
            handler = None if action[:2] == "__" else getattr(controller, action, None)
            add(handler, above)
        if segments:
            add(None, segments)
        return handler

    def _match(self, path_info: str) -> Mapping[str, Any]:
        """Return the variables of the pattern that matches, and let Routes's ``url_for`` know the
        request.
        """
        request = serving.request
        # ``tools.caching`` stores no response of a request whose environ a program may have read.
        tests = any("function" in (route.conditions or ()) for route in self.mapper.matchlist)
        config = request_config()
        config.mapper = self.mapper
        config.environ = request.wsgi_environ if tests else request.micropie_environ()
        config.host = request.base.partition("//")[2]
        config.protocol = request.scheme
        config.redirect = self.redirect
        config.mapper_dict = result = self.mapper.match(path_info)
        return result or {}
