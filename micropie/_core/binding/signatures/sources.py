"""The sources that an annotation can declare for a parameter. For example, a parameter with
``Annotated[str, Header("X-Token")]`` gets its value only from this header.

A parameter without a declared source is looked up in the path, the query and the body.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Never, TypeAlias, TypeVar, get_args, get_origin

from micropie._core.binding.annotations import without_none
from micropie._core.errors import SetupError, check, refuse_others
from micropie._core.http import Request

T = TypeVar("T")


class Source:
    """The base class of ``Header``, ``Cookie``, ``Query``, ``Form`` and ``Body``.

    ``name``: the name of the value in the source, by default the parameter's name.
    """

    place = ""
    """The name of the source in error messages."""

    def __init__(self, name: str | None = None, **others: Never) -> None:
        called = type(self).__name__
        limit = next(iter(others), "")
        meta = f"Meta({limit.replace('regex', 'pattern')}={others.get(limit)!r})"
        refuse_others(
            called,
            others,
            {
                f"Annotated[..., {called}(), {meta}], with Meta from msgspec": (
                    "gt ge lt le multiple_of min_length max_length pattern regex title description"
                ),
                f'{called}("X-Name")': "alias",
                "the default at the end, as in n: Annotated[int, Query()] = 1": "default",
                "a class for the whole body, such as class Order with the field pie: Pie": "embed",
            },
        )
        is_name = name is None or isinstance(name, str)
        check(called, is_name, name, "a name (for a default, write n: Annotated[int, Query()] = 1)")
        self.name = name

    def name_for(self, parameter: str) -> str:
        """Return the name of the value for the parameter called ``parameter``."""
        return self.name or parameter

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"


class Header(Source):
    """A header: ``token: Annotated[str, Header("X-Token")]``. Without a ``name``, the parameter
    ``x_token`` reads the header ``x-token``.

    A list parameter gets the values of all headers with this name, split at commas (RFC 9110,
    section 5.6.1).
    """

    place = "header"

    def name_for(self, parameter: str) -> str:
        """Return the header's name."""
        return self.name or parameter.replace("_", "-")

    def texts(self, request: Request, name: str, are_many: bool) -> Sequence[str]:
        """Return the values of all headers called ``name``. ``are_many``: whether the parameter is
        a list. If so, the values are split at commas.
        """
        found = request.headers.get_all(name)
        if not are_many:
            return found
        parts = (part.strip(" \t") for value in found for part in value.split(","))
        return [part for part in parts if part]


class Cookie(Source):
    """A cookie: ``theme: Annotated[str, Cookie()] = "light"``.

    ``name``: the cookie's name, by default the parameter's name.
    """

    place = "cookie"

    def texts(self, request: Request, name: str, are_many: bool) -> Sequence[str]:
        """Return a list with the cookie's value, or an empty list if the client didn't send the
        cookie.
        """
        return [request.cookies[name]] if name in request.cookies else []


class Query(Source):
    """The query only: ``page: Annotated[int, Query("p")] = 1``.

    If the annotation is a structure, its fields are filled from the whole query.

    ``name``: the name in the query, by default the parameter's name.
    """

    place = "query"


class Form(Source):
    """A field of an urlencoded or multipart form, but not of a JSON body:
    ``text: Annotated[str, Form()]``.

    ``name``: the field's name, by default the parameter's name.
    """

    place = "form"


class Body(Source):
    """The whole JSON document: ``order: Annotated[dict, Body()]``. A structure can also be filled
    from a whole form.

    Raises ``SetupError`` if a ``name`` is given.
    """

    place = "json"

    def __init__(self, name: None = None, **others: Never) -> None:
        if name is not None:
            raise SetupError(
                f"Body({name!r}) takes no name, because it is the whole body: write Body(), "
                f"and annotate the parameter with a class that has a field {name!r}"
            )
        super().__init__(**others)


class SessionSource(Source):
    """The session; see ``Session``."""

    place = "session"


Session: TypeAlias = Annotated[T, SessionSource()]
"""An object for the client's session: ``cart: Session[Cart]``. Its fields are filled from the
session's keys of the same names, and those that the handler changes are stored.

``Cart`` is a class whose fields have defaults: a dataclass, ``TypedDict``, ``msgspec.Struct``,
attrs class or pydantic model.
"""


def declared_source(annotation: object) -> tuple[Source | None, Any]:
    """Return the source that an annotation declares, or None, and the annotation without the
    source. The source may be in ``Annotated[str, Header()]``, in ``Annotated[str, Header()] |
    None``, or in an ``Annotated`` around this.
    """
    inner, is_optional = without_none(annotation)
    if is_optional and get_origin(inner) is Annotated:
        source, kind = declared_source(inner)
        return source, kind | None
    if get_origin(annotation) is not Annotated:
        return None, annotation
    inner, *metadata = get_args(annotation)
    source, kind = declared_source(inner)
    found = [
        item() if isinstance(item, type) and issubclass(item, Source) else item for item in metadata
    ]
    stated = [item for item in (source, *found) if isinstance(item, Source)]
    others = tuple(item for item in found if not isinstance(item, Source))
    if len(stated) > 1:
        raise SetupError(
            f"the annotation declares two sources, {stated[0]!r} and {stated[1]!r}: remove one"
        )
    return (stated[0] if stated else None), (Annotated[(kind, *others)] if others else kind)
