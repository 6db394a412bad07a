"""Plans: the changes that a merged configuration makes to a request, computed once for each
combination of configurations.

The configurations for a path are a few dicts, merged in order. Plans are cached by the identities
of these dicts. Applications may change the dicts at any time, so a plan is used only while the
dicts' content is the same as when the plan was made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from micropie_compat.cherrypy.config import NamespaceSet
from micropie_compat.cherrypy.expressions import attributes
from micropie_compat.cherrypy.hooks import Hook, of_all_requests
from micropie_compat.cherrypy.lazily import lazy
from micropie_compat.cherrypy.lib.cptools import trailing_slash
from micropie_compat.cherrypy.lib.encoding import ResponseEncoder
from micropie_compat.cherrypy.lib.jsontools import json_in, json_out
from micropie_compat.cherrypy.toolbox import Tool, Toolbox
from micropie_compat.cherrypy.types import Section
from micropie_compat.originals import OriginalFrameworkError, advice_on_tool
from micropie_compat.results import merged

_MOST = 512  # the maximum number of plans in the cache

_OF_TOOLS = Tool._setup, Tool._merged_args

_OF_ERRORS = {"before_error_response", "after_error_response"}


class Plan:
    """A merged configuration, and the changes that its namespaces make to a request."""

    def __init__(
        self, config: Section, toolboxes: Mapping[str, Toolbox], others: Mapping[str, Any]
    ) -> None:
        self.hooks = of_all_requests.copy()
        self.request: Section = {}
        self.body: list[tuple[str, object]] = []
        self.response: list[tuple[str, object]] = []
        self.error_page: dict[int | str, object] = {}
        self.others = NamespaceSet()
        """The application's own namespaces that have a value here, and all that are context
        managers, which CherryPy enters for each request.
        """
        self.values: Section = {}
        """The keys in these namespaces, with their values."""
        # A toolbox may also be registered in ``Request.namespaces``.
        toolboxes = {
            **toolboxes,
            **{name: each for name, each in others.items() if isinstance(each, Toolbox)},
        }
        self.toolmaps: dict[str, dict[str, Section]] = {name: {} for name in toolboxes}
        self.set_up: list[Tool] = []
        """Tools that must be attached again for each request. If there is one, this lists all
        tools, to keep their order.
        """
        for key, value in config.items():
            namespace, dot, name = key.partition(".")
            if not dot:
                continue
            if namespace in toolboxes:
                tool, dot, option = name.partition(".")
                if not dot:
                    raise ValueError(f"{key} needs an option: write {key}.on")
                self.toolmaps[namespace].setdefault(tool, {})[option] = value
            elif namespace in others:
                self.values[key] = value
            else:
                self._note(namespace, name, value)
        used = {key.partition(".")[0] for key in self.values}
        self.others.update(
            (name, each)
            for name, each in others.items()
            if name in used or (hasattr(each, "__exit__") and name not in toolboxes)
        )
        tools = [
            (getattr(toolboxes[namespace], name), options)
            for namespace, options_by_name in self.toolmaps.items()
            for name, options in options_by_name.items()
            if options.get("on", False)
        ]
        # ``Tool._setup`` depends only on the configuration, so the hooks can be attached once for
        # all requests. A program's own ``_setup`` may depend on the request.
        if all(
            isinstance(one, Tool) and (type(one)._setup, type(one)._merged_args) == _OF_TOOLS
            for one, _ in tools
        ):
            for tool, options in tools:
                tool._attach(
                    self.hooks, {name: value for name, value in options.items() if name != "on"}
                )
        else:
            self.set_up = [tool for tool, _ in tools]
        self.is_json = any(hook.callback is json_out for hook in self.hooks["before_handler"])
        self.takes_json = bool(self.hooks["before_request_body"])
        """Whether the tool ``json_in`` is on. Read this only if ``is_plain`` is true."""

    @lazy
    def is_plain(self) -> bool:
        """Whether ``life.begin`` handles all the tools itself: the JSON tools, and tools that are
        on by default.
        """
        if self.set_up or self.response or self.others or self.body:
            return False
        points = {point for point, hooks in self.hooks.items() if hooks} - _OF_ERRORS
        hooks = self.hooks["before_handler"]
        tools = {hook.callback for hook in hooks if not hook.kwargs}
        is_usual = len(tools) == len(hooks) and tools <= {trailing_slash, ResponseEncoder, json_out}
        is_usual &= all(
            hook.callback is json_in and not hook.kwargs
            for hook in self.hooks["before_request_body"]
        )
        encodes = ResponseEncoder in tools and ResponseEncoder.default_encoding == "utf-8"
        return points <= {"before_handler", "before_request_body"} and is_usual and encodes

    def _note(self, namespace: str, name: str, value: Any) -> None:
        if namespace == "request":
            if name.startswith("body."):
                self.body.append((name[5:], value))
            else:
                self.request[name] = value
        elif namespace == "response":
            self.response.append((name, value))
        elif namespace == "hooks":
            value = attributes(value) if isinstance(value, str) else value
            hook = value if isinstance(value, Hook) else Hook(value)
            self.hooks.setdefault(name.partition(".")[0], []).append(hook)
        elif namespace == "error_page":
            self.error_page[name if name == "default" else int(name)] = value
        elif advice := advice_on_tool(namespace, name.partition(".")[0]):
            raise OriginalFrameworkError(advice)

    def apply(self, request: Any, response: Any) -> None:
        """Set attributes of a request and its response from the configuration."""
        request.__dict__.update(self.request)
        for name, value in self.body:
            setattr(request.body, name, value)
        for name, value in self.response:
            if name.startswith("headers."):
                response.headers[name[8:]] = value
            else:
                setattr(response, name, value)
        self.others(self.values)
        for tool in self.set_up:
            tool._setup()


NO_PLAN = Plan({}, {}, {})
"""The plan of a request before the dispatcher has run."""


class Plans:
    """The plans of one application, by the configurations from which they were made."""

    def __init__(self, toolboxes: dict[str, Toolbox], app: Any) -> None:
        self._toolboxes = toolboxes
        self._app = app
        # for each plan, the configurations and what else it was made from
        self._kept: dict[tuple[int, ...], tuple[list[Section], object, Plan]] = {}

    def plan_of(self, configs: list[Section]) -> Plan:
        """Return the plan for configurations that are merged in this order."""
        key = tuple(map(id, configs))
        kept = self._kept.get(key)
        version = Tool.changes, len(self._toolboxes)
        if kept is not None and kept[1] == (configs, version, of_all_requests):
            return kept[2]
        plan = Plan(merged(*configs), self._toolboxes, self._app.request_class.namespaces)
        if len(self._kept) >= _MOST:
            self._kept.clear()
        # Keep references to the dicts, so that no other dict can get the same identity.
        made_from = [dict(config) for config in configs], version, of_all_requests.copy()
        self._kept[key] = configs, made_from, plan
        return plan
