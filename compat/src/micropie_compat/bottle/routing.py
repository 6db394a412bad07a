"""Rules such as ``/hello/<name:int>``, and the router, which finds the first rule that matches a
path.

Bottle's routing differs from ``micropie._core.routing``, where the most specific route wins. Here
the order of definition decides, a wildcard may match any text, slashes included, and filters are
regular expressions. So there is one table for each HTTP method. Each table has a dictionary of the
rules without wildcards, which are tried first, and a single regular expression that joins all other
rules. One match of this expression returns the rule and the text of each wildcard.

Clients choose the path, so the time of a match must be proportional to the path's length. Where a
wildcard can end at only one position, the expression doesn't backtrack. If several wildcards of a
rule backtrack, the rule matches only short paths, which take little time in any case.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial, update_wrapper
from inspect import getclosurevars, getfullargspec, iscoroutinefunction, isfunction
from itertools import count
from typing import Any, NamedTuple, Protocol, TypeAlias
from urllib.parse import urlencode

from micropie_compat.bottle.config import ConfigDict
from micropie_compat.bottle.plugins import Encoder, JSONPlugin, TemplatePlugin
from micropie_compat.bottle.responses import HTTPError
from micropie_compat.bottle.state import BottleException
from micropie_compat.carrier import refuse_marks
from micropie_compat.environs import Environ
from micropie_compat.results import AnyFunction


class RouteError(BottleException):
    """The base class of the router's exceptions."""


class RouteReset(BottleException):
    """Raised by a plugin that has changed the route's configuration, so that all plugins are
    applied again.
    """


class RouteSyntaxError(RouteError):
    """Raised for a rule that can't be parsed."""


class RouterUnknownModeError(RouteError):
    """Never raised; exists for programs that catch it."""


class RouteBuildError(RouteError):
    """Raised if no URL can be made from a rule."""


Converter: TypeAlias = Callable[[str], object]
"""A function that converts a wildcard's text to its value."""

Arguments: TypeAlias = dict[str, Any]
"""The values of a rule's wildcards by name: strings, or the values to which filters have converted
them.
"""

Match: TypeAlias = tuple[Any, Any]
"""A rule's target, usually a ``Route``, and the values of the rule's wildcards. None stands for
values that a filter of the program has yet to make.
"""

# A filter is called with the text after its name in a rule: "[a-z]+" for "<name:re:[a-z]+>", None
# for "<name:path>". It returns a regular expression, a function that converts the matched text (or
# None), and a function that converts a value for a URL (or None).
Filter: TypeAlias = Callable[
    [str | None], tuple[str, Converter | None, Callable[[Any], str] | None]
]

_WILDCARD = re.compile(
    r"""(?P<escapes> \\*)
    (?: < (?P<name> [A-Za-z_]\w*)? (?: : (?P<filter> [A-Za-z_]*) (?: : (?P<conf> (?: \\. | [^\\>] )+ )? )? )? >
      | : (?P<old_name> [A-Za-z_]\w*)? (?: \# (?P<old_conf> .*? ) \# )? )""",  # noqa: E501
    re.VERBOSE | re.ASCII,
)

# The converters of the built-in filters, which don't block and raise ``ValueError`` only.
_QUICK: tuple[object, ...] = (str, int, float)

# All rules are joined into one expression. So the names of groups are removed: two rules may use
# the same name. Back references are refused: their numbers would be wrong.
_GROUP_NAME = re.compile(r"(?<!\\)\(\?P<\w+>")
_BACK_REFERENCE = re.compile(r"(?<!\\)(?:\\\\)*\\[1-9]|\(\?P=")


class _Wildcard(NamedTuple):
    name: str | None
    mask: str
    from_url: Converter
    to_url: Callable[[Any], str]


_SEGMENT, _PATH = "[^/]+", ".+?"

# Matches the source of a wildcard's regular expression (its mask) if the mask only repeats one
# class of characters, such as ``\d+`` or ``[^/]+``. If the character after the wildcard is not in
# this class, the mask can be matched without backtracking.
_ONE_KIND = re.compile(r"(?:-\?)?(\\[dw]|\[\^?(?:\\.|[^]\\])+\])\+")

# A match of n characters with k repetitions that backtrack may take n ** k steps. ``_MOST_STEPS``
# is the maximum: a path that could take more steps doesn't match.
_MOST_STEPS = 4_000_000
_REPETITION = re.compile(r"[*+{]")


class _Rule:
    """A rule for one method, compiled to its part of the joined expression.

    ``names``: for each named wildcard, the number of its group and the function that converts its
        text.
    ``runs``: for each run (several wildcards in one segment, such as ``<year>-<month>``), the
        number of its group, the wildcards, and the texts between them.
    ``is_quick``: whether no filter calls a function of the program, which may block, read the
        request and raise any exception.
    """

    def __init__(self, tokens: list[str | _Wildcard], text: str) -> None:
        # the literal texts before, between and after the wildcards
        literals, wildcards = [""], list[_Wildcard]()
        for token in tokens:
            if isinstance(token, str):
                literals[-1] += token
            else:
                wildcards.append(token)
                literals.append("")
        self.is_quick = all(wildcard.from_url in _QUICK for wildcard in wildcards)
        names = [wildcard.name for wildcard in wildcards if wildcard.name is not None]
        if len(set(names)) < len(names):
            raise RouteSyntaxError(f"the rule {text!r} uses a wildcard name twice")
        self.text = text
        self.names: list[tuple[str, int, Converter]] = []
        self.runs: list[tuple[int, list[_Wildcard], list[str]]] = []
        self.groups = 0
        self.target: Any = None
        pattern, going_back, position = re.escape(literals[0]), 0, 0
        while position < len(wildcards):
            first, position = position, _end_of_run(wildcards, literals, position)
            wildcard, following = wildcards[first], literals[position]
            is_last = position == len(wildcards)
            of_one_kind = _ONE_KIND.fullmatch(wildcard.mask)
            character = "." if wildcard.mask == _PATH else of_one_kind[1] if of_one_kind else ""
            mask = f"{wildcard.mask.rstrip('?')}+" if character else ""
            literal = re.escape(following)
            if mask and (re.match(character, following) is None if following else is_last):
                # This wildcard doesn't backtrack. But each time an earlier wildcard backtracks,
                # this wildcard is matched again. That takes little time if the text before this
                # wildcard has a character that this wildcard doesn't match, because the matches
                # then don't overlap.
                going_back += bool(going_back and re.fullmatch(f"{character}*", literals[first]))
            elif (
                wildcard.mask == _PATH
                and following
                and not is_last
                and wildcards[position].mask == _PATH
            ):
                # The next wildcard matches any text, so only the first possible end of this
                # wildcard needs to be tried.
                mask, literal = _PATH, f"{literal})"
                pattern += "(?>"
            else:
                mask = wildcard.mask
                going_back += len(_REPETITION.findall(mask))
            if position - first > 1:
                self.groups += 1
                between = literals[first + 1 : position]
                self.runs.append((self.groups, wildcards[first:position], between))
                # This expression only checks that the run matches: it tries the first possible end
                # of each wildcard. ``_split`` finds the values, which are as long as possible.
                pattern += "(" + "".join(f"(?>{_SEGMENT}?{re.escape(each)})" for each in between)
            elif wildcard.name is None:
                pattern += "(?:"
            else:
                self.groups += 1
                self.names.append((wildcard.name, self.groups, wildcard.from_url))
                pattern += "("
            self.groups += _compiled(mask, text).groups
            pattern += f"{mask}){literal}"
        if going_back > 1:
            pattern = rf"(?![\s\S]{{{int(_MOST_STEPS ** (1 / going_back)) + 1}}}){pattern}"
        self.pattern = pattern
        self.compiled = _compiled(pattern, text)

    def arguments(self, match: re.Match[str], before: int) -> Arguments:
        """Return the values of the wildcards by name.

        ``before``: the number of groups in the joined expression before the groups of this rule.
        """
        values: Arguments = {}
        try:
            for name, group, convert in self.names:
                values[name] = convert(match[before + group])
            for group, wildcards, literals in self.runs:
                values.update(_split(match[before + group], wildcards, literals))
        except ValueError:
            raise HTTPError(400, "Path has wrong format.") from None
        return values

    def arguments_of(self, path: str) -> Arguments:
        """Return the values of the wildcards by name for a path that the rule matches."""
        match: Any = self.compiled.fullmatch(path)
        return self.arguments(match, 0)


def _end_of_run(wildcards: list[_Wildcard], literals: list[str], position: int) -> int:
    """Return the position after a run. A run consists of consecutive wildcards in one segment, each
    of which matches any text without slashes.
    """
    while wildcards[position].mask == _SEGMENT and position + 1 < len(wildcards):
        if wildcards[position + 1].mask != _SEGMENT or "/" in literals[position + 1]:
            break
        position += 1
    return position + 1


def _split(text: str, wildcards: list[_Wildcard], literals: list[str]) -> Arguments:
    """Return the values of the wildcards in a run. ``literals``: the texts between the wildcards.

    Each wildcard takes as much text as possible, from left to right.
    """
    values: Arguments = {}
    for wildcard, literal in zip(wildcards[:0:-1], literals[::-1], strict=True):
        end = text.rfind(literal, 0, len(text) - 1)
        text, value = text[:end], text[end + len(literal) :]
        if wildcard.name is not None:
            values[wildcard.name] = wildcard.from_url(value)
    first = wildcards[0]
    if first.name is not None:
        values[first.name] = first.from_url(text)
    return values


def _compiled(pattern: str, text: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise RouteSyntaxError(
            f"the rule {text!r} has an invalid regular expression: {error}"
        ) from None


# The ``fullmatch`` method of the joined expression, and a dict of the rules. The key of a rule is
# the number of its group: if the rule matches, this is ``match.lastindex``.
_Matcher: TypeAlias = tuple[Callable[[str], re.Match[str] | None], dict[int, _Rule]]


class _Table:
    """The routing rules for one HTTP method."""

    def __init__(self) -> None:
        self.static: dict[str, tuple[Any, None]] = {}
        self.rules: list[_Rule] = []
        self.by_pattern: dict[str, _Rule] = {}
        self._matcher: _Matcher | None = None

    def add(self, rule: _Rule) -> None:
        known = self.by_pattern.get(rule.pattern)
        if known is not None:  # a later rule with the same pattern replaces the earlier one
            self.rules[self.rules.index(known)] = rule
        else:
            self.rules.append(rule)
        self.by_pattern[rule.pattern] = rule
        self._matcher = None

    def find(self, path: str, is_quick: bool) -> Match | None:
        if path in self.static:
            return self.static[path][0], {}
        if not self.rules:
            return None
        fullmatch, rules = self._matcher or self._compile()
        match = fullmatch(path)
        if match is None:
            return None
        number = match.lastindex or 0
        rule = rules[number]
        if is_quick and not rule.is_quick:
            return rule.target, None
        return rule.target, rule.arguments(match, number)

    def matches(self, path: str) -> bool:
        return path in self.static or any(rule.compiled.fullmatch(path) for rule in self.rules)

    def _compile(self) -> _Matcher:
        """Join the rules into one expression that has a group for each rule.

        Several threads may call this at once, so the result is stored by a single assignment.
        """
        rules: dict[int, _Rule] = {}
        number = 1
        for rule in list(self.rules):
            rules[number] = rule
            number += 1 + rule.groups
        pattern = "|".join(f"({rule.pattern})" for rule in rules.values())
        self._matcher = matcher = re.compile(pattern).fullmatch, rules
        return matcher


class Router:
    """Finds the target for a method and a path.

    ``strict``: whether all rules are tried in the order of definition. By default, those without
        wildcards are tried first.
    """

    uncalled = ("match",)
    """``BottleSite`` refuses a router that overrides it, and ``micropie check`` finds its class."""

    default_pattern = "[^/]+"
    default_filter = "re"

    def __init__(self, strict: bool = False) -> None:
        self.strict_order = strict
        self.builder: dict[str, list[tuple[str | None, Any]]] = {}
        """For each rule and name the parts of its URL: (None, text), or a wildcard's name and the
        function that makes the text of its value.
        """
        self.filters: dict[str, Filter] = {
            "re": lambda conf: (conf or self.default_pattern, None, None),
            "int": lambda conf: (r"-?\d+", int, lambda value: str(int(value))),
            "float": lambda conf: (r"-?[\d.]+", float, lambda value: str(float(value))),
            "path": lambda conf: (".+?", None, None),
        }
        self._tables: dict[str, _Table] = {}
        self._orders: dict[str, list[_Table]] = {}

    @property
    def static(self) -> dict[str, dict[str, tuple[Any, None]]]:
        """The rules without wildcards, as (target, None) by method and path."""
        return {method: table.static for method, table in self._tables.items() if table.static}

    @property
    def dyna_routes(self) -> dict[str, list[tuple[str, str, Any, Callable[[str], Arguments]]]]:
        """The other rules by method: the rule, its regular expression, its target, and a
        function that returns the arguments for a path.
        """
        return {
            method: [
                (rule.text, rule.pattern, rule.target, rule.arguments_of) for rule in table.rules
            ]
            for method, table in self._tables.items()
            if table.rules
        }

    def add_filter(self, name: str, func: Filter) -> None:
        """Add a filter. ``func`` takes the text after the filter's name in a rule, see
        ``Filter``.
        """
        self.filters[name] = func

    def add(self, rule: str, method: str, target: object, name: str | None = None) -> None:
        """Add a rule; if it exists for the method, replace its target.

        Raises ``RouteSyntaxError`` if the rule can't be parsed.
        """
        tokens, anons = list(self._tokens(rule)), (f"anon{number}" for number in count())
        self.builder[rule] = [
            (None, token) if isinstance(token, str) else (token.name or next(anons), token.to_url)
            for token in tokens
        ]
        if name:
            self.builder[name] = self.builder[rule]
        table = self._tables.get(method)
        if table is None:
            table = self._tables[method] = _Table()
            self._orders.clear()
        if not self.strict_order and all(isinstance(token, str) for token in tokens):
            table.static["".join(map(str, tokens))] = target, None
            return
        compiled = _Rule(tokens, rule)
        compiled.target = target
        table.add(compiled)

    def build(self, _name: str, *anons: object, **query: object) -> str:
        """Return the URL for a rule or a route's name. The values of nameless wildcards are
        ``anons``, or have the names ``anon0``, ``anon1`` and so on.

        Raises ``RouteBuildError`` if the name is unknown or a value is missing.
        """
        if _name not in self.builder:
            raise RouteBuildError("No route with that name.", _name)
        query.update((f"anon{number}", value) for number, value in enumerate(anons))
        url = ""
        for name, part in self.builder[_name]:
            if name is None:
                url += part
            elif name in query:
                url += part(query.pop(name))
            else:
                raise RouteBuildError(f"Missing URL argument: {name}")
        return f"{url}?{urlencode(query)}" if query else url

    def match(self, environ: Environ) -> Match:
        """Return the target and the arguments for an environ. Raises ``HTTPError`` with status 400,
        404 or 405.
        """
        method, path = environ["REQUEST_METHOD"].upper(), environ["PATH_INFO"] or "/"
        return self.search(method, path, is_quick=False)

    def search(self, method: str, path: str, is_quick: bool = True) -> Match:
        """Return the target and the arguments for a method and a path, see ``match``. If
        ``is_quick``, call no filter of the program.
        """
        tables = self._orders.get(method)
        if tables is None:
            names = (
                ("PROXY", "HEAD", "GET", "ANY") if method == "HEAD" else ("PROXY", method, "ANY")
            )
            tables = [self._tables[name] for name in names if name in self._tables]
            if method in self._tables:
                # Unknown methods aren't cached, since clients could use them to exhaust memory.
                self._orders[method] = tables
        for table in tables:
            found = table.find(path, is_quick)
            if found is not None:
                return found
        allowed = sorted(
            other
            for other, table in self._tables.items()
            if table not in tables and table.matches(path)
        )
        if allowed:
            raise HTTPError(405, "Method not allowed.", Allow=",".join(allowed))
        raise HTTPError(404, f"Not found: {path!r}")

    def _tokens(self, rule: str) -> Iterator[str | _Wildcard]:
        literal, end = "", 0
        for found in _WILDCARD.finditer(rule):
            literal += rule[end : found.start()]
            end = found.end()
            if len(found["escapes"]) % 2:
                literal += found[0][len(found["escapes"]) :]
                continue
            if literal:
                yield literal
            literal = ""
            name = found["name"] or found["old_name"]
            kind = found["filter"] or self.default_filter
            if kind not in self.filters:
                raise RouteSyntaxError(
                    f"the rule {rule!r} has an unknown filter {kind!r}: add it with "
                    "router.add_filter"
                )
            mask, from_url, to_url = self.filters[kind](found["conf"] or found["old_conf"])
            mask = _GROUP_NAME.sub("(", mask)
            if _BACK_REFERENCE.search(mask):
                raise RouteSyntaxError(
                    f"the rule {rule!r} has a back reference, which rules can't have"
                )
            yield _Wildcard(name, mask, from_url or str, to_url or str)
        literal += rule[end:]
        if literal or not rule:
            yield literal


class Owner(Protocol):
    """The application that a route belongs to."""

    config: ConfigDict
    plugins: list[object]


class Route:
    """One rule of one method, with its callback and the plugins that are applied to it."""

    def __init__(
        self,
        app: Owner,
        rule: str,
        method: str,
        callback: AnyFunction,
        name: str | None = None,
        plugins: list[object] | None = None,
        skiplist: list[object] | None = None,
        **config: object,
    ) -> None:
        self.app = app
        self.rule = rule
        self.method = method
        self.callback = callback
        self.name = name or None
        self.plugins = plugins or []
        self.skiplist = skiplist or []
        self.config = app.config.overlay().load_dict(config)
        self.json_dumps: Encoder | None = None
        self._call: AnyFunction | None = None

    @property
    def call(self) -> AnyFunction:
        """The callback with all plugins applied. They are applied at the first request."""
        return self._call or self._apply()

    @property
    def is_async(self) -> bool:
        """Whether to call the callback on the event loop. A program's decorators and plugins are
        called in a thread, because they may block, or call ``asyncio.run``.
        """
        plugins = (JSONPlugin, TemplatePlugin)
        return iscoroutinefunction(self.callback) and all(
            type(one) in plugins for one in self.all_plugins()
        )

    def reset(self) -> None:
        """Apply the plugins again at the next request."""
        self._call = None

    def prepare(self) -> None:
        """Apply the plugins now."""
        self._apply()

    def all_plugins(self) -> Iterator[Any]:
        """Yield the plugins that apply to this route, the innermost first.

        If several have the same name, yield only the one that was installed last.
        """
        names = set()
        for plugin in reversed(self.app.plugins + self.plugins):
            name = getattr(plugin, "name", False)
            skipped = name and (name in self.skiplist or name in names)
            if not (
                skipped
                or True in self.skiplist
                or plugin in self.skiplist
                or type(plugin) in self.skiplist
            ):
                if name:
                    names.add(name)
                yield plugin

    def _apply(self) -> AnyFunction:
        refuse_marks(self.callback)
        # Another thread may call the route as soon as ``_call`` is set.
        self._call = callback = self._make_callback()
        return callback

    def _make_callback(self) -> AnyFunction:
        """Return the callback with all plugins applied, and set ``json_dumps``. Monitors replace
        this method, see ``monitors.py``.
        """
        plugins = list(self.all_plugins())
        json_dumps = None
        # If the JSON plugin is the outermost, call its encoder directly instead of wrapping the
        # callback in another function, unless a monitor would see an ``abort`` as an exception, or
        # the program has replaced the plugin's method.
        # Compare by ``is``, because a monitor's wrapper equals the function inside it.
        is_usual = Route._make_callback is _MAKE_CALLBACK and JSONPlugin.apply is _APPLY
        if plugins and type(plugins[-1]) is JSONPlugin and is_usual:
            json_dumps = plugins.pop().json_dumps
        callback = self.callback
        try:
            for plugin in plugins:
                callback = (
                    plugin.apply(callback, self) if hasattr(plugin, "apply") else plugin(callback)
                )
                if callback is not self.callback:
                    with suppress(AttributeError):  # attributes can't be set on a bound method
                        update_wrapper(callback, self.callback)
        except RouteReset:
            return self._make_callback()
        self.json_dumps = json_dumps
        return callback

    def get_undecorated_callback(self) -> Any:
        """Return the function inside the callback's decorators, as far as they can be unwrapped."""
        function: Any = self.callback
        seen: list[object] = []
        while True:
            seen.append(function)
            inner = getattr(function, "__wrapped__", None) or getattr(function, "__func__", None)
            if inner is None and isinstance(function, partial):
                inner = function.func
            if inner is None and isfunction(function) and function.__closure__:
                inner = next(filter(callable, getclosurevars(function).nonlocals.values()), None)
            if inner is None or inner in seen:  # a recursive function is in its own closure
                return function
            function = inner

    def get_callback_args(self) -> list[str]:
        """Return the names of the parameters that the callback takes."""
        spec = getfullargspec(self.get_undecorated_callback())
        return [*spec.args, *spec.kwonlyargs]

    def get_config(self, key: str, default: object = None) -> Any:
        """Return a value of the route's configuration, or ``default``."""
        return self.config.get(key, default)

    def __repr__(self) -> str:
        function = self.get_undecorated_callback()
        return (
            f"<{self.method} {self.rule} -> "
            f"{function.__module__}:{getattr(function, '__name__', '__call__')}>"
        )


_MAKE_CALLBACK, _APPLY = Route._make_callback, JSONPlugin.apply


def yieldroutes(func: AnyFunction) -> Iterator[str]:
    """Yield the default rules for a function: ``/name/<a>/<b>`` with its parameters, and a shorter
    rule for each parameter that has a default.
    """
    spec = getfullargspec(func)
    names = [*spec.args, *spec.kwonlyargs]
    required = len(names) - len(spec.defaults or ())
    rule = (
        "/"
        + func.__name__.replace("__", "/").lstrip("/")
        + "".join(f"/<{name}>" for name in names[:required])
    )
    yield rule
    for name in names[required:]:
        rule += f"/<{name}>"
        yield rule
