"""``template`` and ``view`` with three engines: SimpleTemplate, Jinja2 and Mako.

SimpleTemplate is Bottle's own engine. Its code is loaded from the file of the package ``bottle``,
which must be installed. ``import bottle`` can't be used, because ``sys.modules["bottle"]`` may be
this package.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache, partial, wraps
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from os import path
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

from micropie_compat.bottle.forms import MultipartError
from micropie_compat.bottle.state import BottleException, face
from micropie_compat.results import AnyFunction, StrPath, Values, merged, then

Decorator: TypeAlias = Callable[[AnyFunction], AnyFunction]

TEMPLATE_PATH = ["./", "./views/"]
TEMPLATES: dict[tuple[object, ...], Any] = {}
"""The compiled templates. A key consists of the directories, the engine, the template's name or
text, and the options.
"""

_MOST_TEMPLATES = 1000  # limited, because an application may pass different options at each call


class TemplateError(BottleException):
    """Raised if a template isn't found."""


class StplSyntaxError(TemplateError):
    """Never raised, since errors in templates raise ``SyntaxError``. Exists for programs that catch
    it.
    """


class BaseTemplate:
    """The base class of an engine's templates.

    ``source``: the template as a string or an open file; if it is missing, the template is the file
        ``name`` in one of the directories ``lookup``.
    ``settings``: options for ``prepare``. Each template has a copy of its class's dictionary.
    ``defaults``: values for ``render``. All templates share one dictionary unless a subclass or a
        template sets another.
    """

    extensions: ClassVar[list[str]] = ["tpl", "html", "thtml", "stpl"]
    settings: dict[str, object] = {}  # noqa: RUF012 - each template has a copy
    defaults: dict[str, object] = {}  # noqa: RUF012

    def __init__(
        self,
        source: Any = None,
        name: str | None = None,
        lookup: Iterable[StrPath] | None = (),
        encoding: str = "utf8",
        **settings: object,
    ) -> None:
        self.name = name
        self.source: str | None = source.read() if hasattr(source, "read") else source
        self.lookup = [path.abspath(directory) for directory in lookup or ()]
        self.encoding = encoding
        self.settings = {**self.settings, **settings}
        self.filename: str | None = getattr(source, "filename", None)
        if not self.source:
            self.filename = self.search(name or "", self.lookup)
            if self.filename is None:
                raise TemplateError(f"Template {name!r} not found.")
        self.prepare(**self.settings)

    @classmethod
    def search(cls, name: str, lookup: Sequence[str] | None = None) -> str | None:
        """Return the path of a template's file. Its name is ``name``, or ``name`` and one of
        ``extensions``.

        Return None if the file doesn't exist or is outside ``lookup``.
        """
        for directory in map(path.abspath, lookup or ()):
            found = path.abspath(path.join(directory, name))
            if found.startswith(directory + path.sep):
                for ending in ("", *(f".{extension}" for extension in cls.extensions)):
                    with suppress(ValueError):  # raised for a null character in the path
                        if path.isfile(found + ending):
                            return found + ending
        return None

    @classmethod
    def global_config(cls, key: str, *value: object) -> object:
        """Return a setting of this class. If a value is given, set it for this class and its
        subclasses.
        """
        if not value:
            return cls.settings[key]
        cls.settings = {**cls.settings, key: value[0]}
        return None

    def prepare(self, **options: Any) -> None:
        """Compile the template for ``render``."""
        raise NotImplementedError

    def render(self, *values: Values, **more: object) -> str:
        """Return the template rendered with these values."""
        raise NotImplementedError


class Jinja2Template(BaseTemplate):
    """A Jinja2 template.

    As in Bottle, values are not escaped unless the settings have ``autoescape=True``.
    """

    def prepare(
        self,
        filters: Mapping[str, AnyFunction] | None = None,
        tests: Mapping[str, AnyFunction] | None = None,
        globals: Values | None = None,  # noqa: A002
        **options: Any,
    ) -> None:
        """Compile the template."""
        from jinja2 import Environment, FunctionLoader  # an optional package

        self.env = Environment(loader=FunctionLoader(self.loader), **options)  # noqa: S701 - as in Bottle
        self.env.filters.update(filters or {})
        self.env.tests.update(tests or {})
        self.env.globals.update(globals or {})
        self.tpl = (
            self.env.from_string(self.source)
            if self.source
            else self.env.get_template(self.name or "")
        )

    def loader(self, name: str) -> tuple[str, str, Callable[[], bool]] | None:
        """Return a template from ``lookup`` in the form that Jinja2 requires: (text, path, function
        that returns whether the text is up to date).
        """
        found = self.search(name, self.lookup)
        if found is None:
            return None
        return Path(found).read_text(self.encoding), found, lambda: False

    def render(self, *values: Values, **more: object) -> str:
        """Return the template rendered with these values."""
        return self.tpl.render(merged(self.defaults, *values, more))


class MakoTemplate(BaseTemplate):
    """A Mako template."""

    def prepare(self, **options: object) -> None:
        """Compile the template."""
        from mako.lookup import TemplateLookup  # an optional package
        from mako.template import Template

        options = {"format_exceptions": face().DEBUG, **options, "input_encoding": self.encoding}
        lookup = TemplateLookup(directories=self.lookup, **options)
        if self.source:
            self.tpl = Template(self.source, lookup=lookup, **options)  # noqa: S702 - as in Bottle
        else:
            self.tpl = Template(  # noqa: S702 - as in Bottle
                uri=self.name, filename=self.filename, lookup=lookup, **options
            )

    def render(self, *values: Values, **more: object) -> str:
        """Return the template rendered with these values."""
        return str(self.tpl.render(**merged(self.defaults, *values, more)))


@cache
def engine() -> Any:
    """Return a copy of the original module ``bottle`` whose ``SimpleTemplate`` is derived from this
    package's ``BaseTemplate``.

    Raises ``ImportError`` if ``bottle`` isn't installed.
    """
    spec = PathFinder.find_spec("bottle")
    if spec is None or spec.loader is None:
        raise ImportError(
            "Bottle's own template language needs the original package: pip install bottle. Or "
            "convert the templates to Jinja2, and use jinja2_template and jinja2_view"
        )
    module: Any = module_from_spec(spec)
    spec.loader.exec_module(module)
    own = {**vars(module.SimpleTemplate), "__module__": __name__}
    module.SimpleTemplate = type("SimpleTemplate", (BaseTemplate,), own)
    module.MultipartError = MultipartError  # for ``_MultipartParser``
    return module


def template(*args: Any, **values: Any) -> str:
    """Render a template and return the result: ``template("hello", name=name)``. Values may also be
    given as dictionaries.

    The first argument is the name of a file in ``TEMPLATE_PATH``, or the template's text if it
    contains a line end, "{", "%" or "$". ``template_adapter``, ``template_lookup`` and
    ``template_settings`` choose the engine, the directories and the options.
    """
    wanted: Any = args[0] if args else None
    values = merged(values, *args[1:])
    adapter = values.pop("template_adapter", None) or engine().SimpleTemplate
    lookup = values.pop("template_lookup", None) or face().TEMPLATE_PATH
    settings = values.pop("template_settings", {})
    key = tuple(lookup), adapter, wanted, _as_key(settings)
    made = None if face().DEBUG else TEMPLATES.get(key)
    if made is None:
        if isinstance(wanted, adapter):
            made = wanted
            if settings:
                made.prepare(**settings)
        else:
            given = "source" if any(character in wanted for character in "\n{%$") else "name"
            made = adapter(lookup=lookup, **{given: wanted}, **settings)
        if len(TEMPLATES) >= _MOST_TEMPLATES:
            TEMPLATES.clear()
        TEMPLATES[key] = made
    text: str = made.render(values)
    return text


def _as_key(value: object) -> object:
    """Return options in a hashable form, for the key of a cached template. An unhashable option is
    replaced by its ``id``, which stays unique because the cached template refers to the object.
    """
    if isinstance(value, dict):
        return frozenset((name, _as_key(one)) for name, one in value.items())
    if isinstance(value, list | tuple | set):
        return tuple(map(_as_key, value))
    return value if isinstance(value, Hashable) else id(value)


def view(tpl_name: object, **defaults: object) -> Decorator:
    """Decorate a handler so that the dictionary that it returns is rendered with a template. None
    counts as an empty dictionary.

    Any other result is left unchanged. The handler may be ``async def``.
    """

    def rendered(result: object) -> object:
        if result is None or isinstance(result, Mapping):
            return template(tpl_name, **{**defaults, **(result or {})})
        return result

    def decorator(function: AnyFunction) -> AnyFunction:
        @wraps(function)
        def wrapper(*args: object, **values: object) -> object:
            return then(function(*args, **values), rendered)

        return wrapper

    return decorator


mako_template = partial(template, template_adapter=MakoTemplate)
jinja2_template = partial(template, template_adapter=Jinja2Template)
mako_view = partial(view, template_adapter=MakoTemplate)
jinja2_view = partial(view, template_adapter=Jinja2Template)
