"""``Session[Cart]``: an object with the fields of a class that are stored in a client's session.

The maker of the class reads the fields, and a field that the handler has changed is written like
one of a result. Each field is one key of the session, so simultaneous changes of different fields
are merged.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from micropie._core.binding.annotations import Hint, type_name
from micropie._core.binding.fields import fields_of, is_pydantic, is_structure, kinds_in
from micropie._core.binding.structures.makers import maker_for
from micropie._core.binding.values.converters import OwnTypes
from micropie._core.errors import ResponseError, SetupError, logger
from micropie._core.http import Request, SessionData
from micropie._core.http.json import dumps_with, loads, members_of


class StoredFields:
    """Gives a request the object of one class for its session.

    Raises ``SetupError`` for a class that can't be made from an empty session.
    """

    def __init__(self, kind: Hint, own: OwnTypes) -> None:
        if not is_structure(kind):
            raise SetupError("Session[...] takes one class with fields, such as a dataclass")
        self.kind, self._maker = kind, maker_for(kind, own)
        self._own, self._dumps = own.encoders, dumps_with(own.encoders)
        self._unfit: set[str] = set()  # the fields about which a warning was logged
        fields = fields_of(kind)
        self._names = [field.name for field in fields]
        needed = [repr(field.name) for field in fields if field.required]
        if needed:
            raise SetupError(
                f"a new session is empty, and {kind.__name__} has no default for "
                f"{', '.join(needed)}: add one or, in a TypedDict, write NotRequired[...]"
            )
        for one in kinds_in(kind):
            if hasattr(one, "get_secret_value"):
                raise SetupError(
                    f"{kind.__name__} contains a {type_name(one)}, whose value isn't written: "
                    "annotate the field with the type of the value"
                )
        try:
            written = self.written(self.made({}))
        except ValueError as error:
            raise SetupError(f"an empty session can't be a {kind.__name__}: {error}") from None
        for name in self._names if is_pydantic(kind) else ():
            if name not in written:
                raise SetupError(
                    f"{kind.__name__} reads {name!r}, but doesn't write it: give the field one "
                    "alias, and don't exclude it"
                )

    def __call__(self, request: Request) -> object:
        """Return the request's object."""
        return request.session.view(self.kind, self._opened)

    def made(self, stored: Mapping[str, object]) -> object:
        """Return the object with these fields. Raises ``ValueError`` if one is invalid."""
        return self._maker.make(stored, is_json=True)

    def written(self, value: object) -> Mapping[str, bytes]:
        """Return an object's fields as JSON."""
        members = members_of(value, self._own)
        return {name: self._dumps(members[name]) for name in self._names if name in members}

    def _opened(self, session: Mapping[str, object]) -> _View:
        stored = {name: session[name] for name in self._names if name in session}
        try:
            value = self.made(stored)
        except ValueError:
            value = self.made(self._fitting(stored))
        return _View(self, value)

    def _is_valid(self, stored: Mapping[str, object]) -> bool:
        try:
            self.made(stored)
        except ValueError:
            return False
        return True

    def _fitting(self, stored: Mapping[str, object]) -> Mapping[str, object]:
        """Return the fields that are valid, or {} if they are invalid together. Log a warning about
        each of the others once.
        """
        found = {name: one for name, one in stored.items() if self._is_valid({name: one})}
        found = found if self._is_valid(found) else {}
        unfit = stored.keys() - found.keys() - self._unfit
        if unfit:
            self._unfit |= unfit
            logger.warning(
                "a session has values that are invalid in %s, perhaps from an older release, so "
                "these fields get their defaults: %s",
                self.kind.__name__,
                ", ".join(sorted(unfit)),
            )
        return found


class _View:
    """The object of one request, and its fields as they are stored."""

    def __init__(self, fields: StoredFields, value: object) -> None:
        self.value, self._fields = value, fields
        self._written = fields.written(value)

    def changes(self) -> tuple[SessionData, Collection[str]]:
        """Return the fields that have changed since the last call, and the names of those that are
        not written any more.

        Raises ``ResponseError`` for a value that a later request couldn't read.
        """
        before = self._written
        try:
            now = self._written = self._fields.written(self.value)
            if now == before:
                return {}, ()
            stored: SessionData = {name: loads(text) for name, text in now.items()}
            self._fields.made(stored)
        except ValueError as error:
            raise ResponseError(
                f"the changes to the session's {self._fields.kind.__name__} are not saved, because "
                f"the next request couldn't read them: {error}"
            ) from None
        changed = {name: one for name, one in stored.items() if before.get(name) != now[name]}
        return changed, before.keys() - now.keys()
