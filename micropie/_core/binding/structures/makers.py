"""Create structures: convert a whole body, query or form to a dataclass, attrs class, TypedDict,
msgspec.Struct or pydantic model.

There is one maker class for msgspec and one for pydantic, with the same methods: ``make`` converts
a document to the object, and ``dump`` reduces a handler's result to the fields of its annotation.
``limits.py`` rejects values that msgspec or pydantic would accept, but a parameter of the same type
would reject.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence, Set
from contextlib import suppress
from decimal import Decimal
from enum import Enum
from functools import cached_property, partial
from itertools import chain
from typing import Any, get_args

from micropie._core.binding.annotations import (
    UNREADABLE,
    Hint,
    bare,
    built_in,
    is_enum,
    owner_of,
    takes_json_text,
    type_name,
    united,
)
from micropie._core.binding.fields import (
    field_of,
    fields_of,
    holds_structures,
    is_pydantic,
    is_structure,
    kinds_in,
    members_of,
    refuse_extras,
    root_of,
    rooted,
    structure_name,
    structures_of,
    tag_of,
)
from micropie._core.binding.structures.forms import document_of
from micropie._core.binding.structures.readings import READ_BY_MSGSPEC, Reading
from micropie._core.binding.structures.reducer import Library, Reducer
from micropie._core.binding.values.adapters import validated
from micropie._core.binding.values.constraints import is_adapted
from micropie._core.binding.values.converters import (
    NO_OWN_TYPES,
    OwnTypes,
    converter_for,
    simple_types,
)
from micropie._core.binding.values.finder import Finder, as_dict, finder_for
from micropie._core.binding.values.limits import (
    check_fields,
    check_json_texts,
    check_numbers,
    check_paths,
    check_result,
    check_sizes,
    check_texts,
    has_chosen_hashes,
    has_long_matches,
    has_long_paths,
    has_long_text,
)
from micropie._core.binding.values.shapes import Shape
from micropie._core.errors import SetupError
from micropie._core.http import sent_as
from micropie._core.http.forms import nested, outer_name
from micropie._core.http.json import dumps, isolated, loads, msgspec
from micropie._core.http.json import members_of as members

# Types of single values that msgspec writes as ``http/json.py`` does, and that pydantic checks when
# it writes a union.
SCALARS = (str, *READ_BY_MSGSPEC)


class Maker(Library):
    """Creates the structures for one annotation. There is one subclass for msgspec and one for
    pydantic; in the docstrings, "the library" is the one of the two that the subclass uses.

    Call ``prepare`` before ``make``.

    - ``hint``: the annotation: a structure, a union of structures, or a list or dict of structures.
    - ``own``: the application's encoders and decoders.
    - ``field``: the annotation as that of a field.
    - ``names``: the names of the fields.
    - ``lists``: those of the fields that may have several values.
    - ``json_fields``: the names of the fields that a part of a form may fill with its JSON.
    - ``beside``: the names that a form or a query has for other parameters.
    """

    beside: Set[str] = frozenset()

    def __init__(self, hint: Hint, own: OwnTypes = NO_OWN_TYPES) -> None:
        self.hint = hint
        self.own = own
        self._is_list = built_in(hint) in (list, tuple)

    def prepare(self) -> None:
        """Read the structure's fields. Raises ``SetupError`` if a body must not set one of them.

        Also raises ``TypeError``, ``NameError``, ``AttributeError`` or ``SyntaxError`` if the
        library can't create the structure.
        """
        kinds, self.field = self._kinds, field_of(self.hint)
        self._members = structures_of(root_of(self.hint))
        found = [rooted(field) for one in self._members for field in fields_of(one)]
        names = [(name, one) for one in found for name in (one.name, *one.others)]
        self.names = {name for name, _ in names}
        self.lists = [name for name, one in names if one.elements is not None]
        is_one = bool(members_of(root_of(self.hint)))
        texts = (str, Any, object)
        self.json_fields = [name for name, one in names if is_one and one.kind not in texts]
        # Check floats only for pydantic, because it accepts the string "nan".
        self._has_numbers = Decimal in kinds or (float in kinds and self.is_pydantic)
        check_fields(self.hint, self.is_pydantic, structure_name(self.hint))

    @cached_property
    def _kinds(self) -> Sequence[object]:
        return kinds_in(self.hint)

    @cached_property
    def _reading(self) -> Reading:
        return Reading(self.own, self.is_pydantic)

    def _read_again(self, kind: Hint, document: object) -> object:
        """Return a refused JSON document with the values that a parameter accepts converted, or the
        document itself if it is nested too deeply.
        """
        try:
            return self._reading.read(kind, document, is_json=True)
        except RecursionError:
            return document

    @cached_property
    def _shape(self) -> Shape:
        return Shape(self.hint, is_strict=False)

    @cached_property
    def _hash_finder(self) -> Finder | None:
        return finder_for(self.hint, has_chosen_hashes)

    def document_of(self, fields: Mapping[str, list[str]], is_form: bool) -> object:
        """Return the document for the fields of a form or a query."""
        whole = self.names
        if self.beside:
            fields = {one: fields[one] for one in fields if outer_name(one) not in self.beside}
        if not is_form:  # what a query has besides the fields keeps its name
            whole = whole.union(name for name in fields if outer_name(name) not in whole)
        return document_of(self._members, nested(fields, whole), self.own, is_form)

    def make(self, document: object, is_json: bool, part: Hint = None) -> object:
        """Return the structure created from a document, which comes from JSON, a form or a query.
        Raises ``ValueError`` if the document is invalid.

        ``part``: an annotation inside the structure. If given, the document is converted to
        ``part`` instead.
        """
        raise NotImplementedError

    def dump(self, result: object) -> object:
        """Return a handler's result with only the fields that the annotation declares. Raises
        ``ValueError`` or ``TypeError`` if the result doesn't match the annotation.
        """
        if self._hash_finder is not None:
            check_result(result, self._hash_finder)
        return self._reducer(result)

    @cached_property
    def _reducer(self) -> Reducer:
        return Reducer(self.hint, self)


class ByPydantic(Maker):
    """Creates structures with pydantic, which the application has already imported."""

    is_pydantic = True

    def __init__(self, hint: Hint, own: OwnTypes = NO_OWN_TYPES) -> None:
        super().__init__(hint, own)
        self.adapter = isolated(sys.modules["pydantic"].TypeAdapter, self.hint)
        # ``dumped`` adds an adapter for each member of a union. By id, because metadata may not be
        # hashable.
        self._adapters = {id(hint): self.adapter}

    def prepare(self) -> None:
        """See ``Maker``."""
        if not getattr(self.adapter, "pydantic_complete", True):
            isolated(self.adapter.rebuild)  # raises an error that contains the undefined name
        super().prepare()
        self._has_long_paths = has_long_paths(self._kinds)
        self._json_finder = finder_for(self.hint, takes_json_text)
        configs = (getattr(one, "model_config", {}) for one in self._kinds)
        self._is_strict = any(one.get("strict") for one in configs)

    def make(self, document: object, is_json: bool, part: Hint = None) -> object:
        """See ``Maker``. ``part`` is not used."""
        if self._hash_finder is not None:
            check_sizes(document, self._is_list)
        if self._has_long_paths:
            check_paths(document)
        if self._json_finder is not None:
            check_json_texts(document, self._json_finder)
        if not is_json:
            document = self._reading.read(self.hint, document, is_json)
        try:
            made = validated(self.adapter, document, is_json)
        except ValueError:
            if not is_json or self._is_strict:
                raise
            read = self._read_again(self.hint, document)
            if read is document:
                raise
            made = self.adapter.validate_python(read)
        if (self._has_numbers or not is_json) and not self._shape.is_plain(made):
            check_numbers(made, self.hint)
        return made

    def picks(self, union: Hint) -> bool:
        """See ``Library``. Of a class and its base, pydantic uses the one that comes first. In a
        union with a type that it doesn't check when it writes, such as a collection, it sends all
        fields of an object of a subclass.
        """
        kinds = [bare(one)[0] for one in united(union)]
        bases = chain.from_iterable(getattr(owner_of(one), "__mro__", ())[1:] for one in kinds)
        are_checked = (one in SCALARS or is_structure(bare(one)[0]) for one in united(union))
        return all(are_checked) and not any(map([*map(owner_of, kinds)].__contains__, bases))

    def dumped(self, value: object, kind: Hint) -> object:
        """See ``Library``. The value may be, or contain, an object of a subclass."""
        adapter = self._adapters.get(id(kind))
        if adapter is None:
            adapter = isolated(sys.modules["pydantic"].TypeAdapter, kind)
            self._adapters[id(kind)] = adapter
        validate = partial(adapter.validate_python, from_attributes=True)
        try:
            made = validate(value)
        except ValueError:
            simpler = _simpler(value, has_enums=False, has_rows=True)
            made = validate(self._reading.read(kind, simpler, is_json=True))
        return adapter.dump_python(
            made, mode="json", by_alias=True, fallback=lambda value: loads(dumps(value))
        )


def _has_own_objects(classes: Sequence[type]) -> bool:
    """Return whether a pydantic type, the first of ``classes``, can be created: it or one of its
    bases, the other classes, has an ``__init__`` or ``__new__``. The type's own ``__new__`` may
    return an object of another class, as that of ``IPvAnyAddress`` does.
    """
    is_pydantics = bool(classes) and classes[0].__module__.startswith("pydantic.")
    makers = [{"__init__", "__new__"} & {*vars(one)} for one in classes]
    return any(makers) and not (is_pydantics and "__new__" in makers[0])


class ByMsgspec(Maker):
    """Creates structures with msgspec: dataclasses, attrs classes, TypedDicts and Structs. A
    handler's result may contain pydantic models as well.
    """

    def prepare(self) -> None:
        """See ``Maker``.

        Also raises ``SetupError`` if the application has a decoder for a class that msgspec always
        creates itself, because this decoder would never be called.
        """
        library = msgspec()
        self._convert, self._refused = library.convert, library.ValidationError
        # raises TypeError for a structure that msgspec can't create
        library.json.Decoder(self.hint)
        # converters for types that parameters may have but that msgspec doesn't know
        self._converters = {**simple_types()}
        refuse_extras(self._kinds, f"it is a {structure_name(self.hint)}")
        kinds = [kind for kind in self._kinds if isinstance(kind, type)]
        has_decoders = not self.own.decoders.keys().isdisjoint(kinds)
        for kind in kinds:
            is_pydantics = is_adapted(kind)  # such as HttpUrl
            owners = kind.__mro__[:-1] if is_pydantics else ()
            if kind is library.Raw:
                raise SetupError(
                    f"it is a {structure_name(self.hint)} with a Raw, but the JSON has been parsed "
                    "when msgspec reads it: write Any"
                )
            if kind in self.own.decoders:
                if not isinstance(library.inspect.type_info(kind), library.inspect.CustomType):
                    raise SetupError(
                        f"it is a {structure_name(self.hint)}, in which msgspec doesn't call your "
                        f"decoder for {kind.__name__}: there, decoders work only for plain "
                        "classes, not for dataclasses, Structs, Enums or the types of the standard "
                        "library"
                    )
                self._converters[kind] = converter_for(kind, self.own)
            elif _has_own_objects(owners):
                self._converters[kind] = converter_for(kind)
            # the class of a decoder may contain models
            elif is_pydantics or (is_pydantic(kind) and not has_decoders):
                raise SetupError(
                    f"it is a {structure_name(self.hint)} that contains a {kind.__name__}, which "
                    "only pydantic can create: make each Struct or attrs class in it a dataclass "
                    "or a pydantic model"
                )
        super().prepare()
        self._is_encoded = any(
            is_enum(kind) and self.own.encoder_of(kind) is not None for kind in self._kinds
        )
        self._is_limited = self._hash_finder is not None or self._text_finder is not None
        for owner in self._members:
            for field in fields_of(owner):
                if field.required and not field.optional and self._is_unknown(field.kind):
                    name = type_name(field.kind)
                    advice = (
                        f"write App(decoders={{{name}: function}}) with a function that converts "
                        "text to this type"
                        if isinstance(field.kind, type)
                        else "annotate it with a list, a set or a dict"
                    )
                    raise SetupError(
                        f"it is a {structure_name(self.hint)}, but no text becomes the {name} of "
                        f"{owner.__name__}.{field.name}: {advice}, or give the field a default"
                    )

    def _is_unknown(self, kind: Any) -> bool:
        """Return whether nothing creates the objects of a class from a value in JSON, which may
        itself be an object, for example of ``numbers.Number``.
        """
        inspect = msgspec().inspect
        if (
            not isinstance(owner_of(kind), type)
            or not isinstance(inspect.type_info(kind), inspect.CustomType)
            or kind in self._converters
        ):
            return False
        try:
            # msgspec doesn't read the elements of other collections, such as ``deque[int]``
            return bool(get_args(kind)) or not any(
                issubclass(one, kind) for one in (str, float, bool, list, dict)
            )
        except TypeError:  # a protocol whose objects can't be recognised
            return True

    @cached_property
    def _text_finder(self) -> Finder | None:
        return finder_for(self.hint, has_long_matches)

    def make(self, document: object, is_json: bool, part: Hint = None) -> object:
        """See ``Maker``. Also accepts what msgspec itself rejects and a parameter accepts, such as
        5.0 or "5" for an int.
        """
        if self._is_limited:
            self._check(document, part)
        kind = part or self.hint
        reads_first = not is_json or self._is_encoded
        try:
            try:
                if reads_first:
                    document = self._reading.read(kind, document, is_json)
                made = self._convert(document, kind, dec_hook=self._decoded)
            except self._refused:
                read = document if reads_first else self._read_again(kind, document)
                if read is document:
                    raise
                made = self._convert(read, kind, dec_hook=self._decoded)
        except self._refused as error:
            # Keep the cause, which shows that the application raised the error, for example in
            # ``__post_init__``.
            raise ValueError(str(error)) from error.__cause__
        except TypeError:  # a set can't contain a list
            raise ValueError("Expected hashable values") from None
        except RecursionError:
            raise ValueError("Expected fewer levels of nesting") from None
        if self._has_numbers and not self._shape.is_plain(made):
            check_numbers(made, self.hint)
        return made

    def _check(self, document: object, part: Hint) -> None:
        if self._hash_finder is not None:
            check_sizes(document, self._is_list and part is None)
        finder = self._text_finder
        if finder is not None and (part is None or has_long_text(document)):  # few parts have one
            check_texts(document, finder if part is None else Finder(part, has_long_matches))

    def _decoded(self, kind: type, given: object) -> object:
        """Convert a value to ``kind``, a class that msgspec doesn't know. Raises ``ValueError`` if
        the value is invalid.
        """
        converter = self._converters.get(kind)
        try:
            if converter is not None:
                return converter.from_json(given)
            if isinstance(given, kind):
                return given
        except ValueError:
            pass
        raise ValueError(
            f"Expected {converter.expected if converter is not None else f'`{kind.__name__}`'}"
        )

    def picks(self, union: Hint) -> bool:
        """See ``Library``. msgspec reads no union of several structures without tags and, of those
        with tags, no objects of subclasses.
        """
        return self.reads_safely(union) and sum(map(bool, map(tag_of, united(union)))) < 2

    def reads_safely(self, hint: Hint) -> bool:
        """See ``Library``."""
        with suppress(ImportError, *UNREADABLE):
            msgspec().json.Decoder(hint)
            return True
        return False

    def dumped(self, value: object, kind: Hint) -> object:
        """See ``Library``."""
        if self._text_finder is not None:
            check_texts(value, self._text_finder)
        # Ask first whether it is a class, because a union takes long to say that it is no model.
        if isinstance(kind, type) and is_pydantic(kind) and hasattr(kind, "model_fields"):
            return _without_other_fields(kind, _model_of(kind, value))
        library = msgspec()
        # convert leniently, because some databases return 0 and 1 for booleans
        convert = partial(
            library.convert, type=kind, strict=False, from_attributes=True, dec_hook=_model_of
        )
        has_enums = any(map(is_enum, self._kinds))
        try:
            with suppress(library.ValidationError):
                return convert(value)
            with suppress(library.ValidationError):
                return convert(_simpler(value, has_enums))
            return convert(_simpler(value, has_enums, has_rows=True))
        except library.ValidationError as error:
            raise ValueError(str(error)) from None


def _simpler(result: object, has_enums: bool, has_rows: bool = False) -> object:
    """Return a result with dicts and lists in place of its collections, because msgspec takes few
    of their classes. With ``has_enums``, replace each member of an Enum by its value, because
    msgspec refuses members whose values are numbers. With ``has_rows``, replace each row of a
    database, such as a named tuple, by a dict.
    """
    kind = type(result)
    if isinstance(result, Enum) and has_enums:
        return result.value
    if is_structure(kind):
        if not has_enums or is_pydantic(kind):
            return result
        result = members(result, {})
    if has_rows:
        result = as_dict(result)
    if isinstance(result, Mapping):
        return {
            _simpler(name, has_enums, has_rows): _simpler(one, has_enums, has_rows)
            for name, one in result.items()
        }
    if isinstance(result, Collection) and sent_as(kind) == "json":
        return [_simpler(one, has_enums, has_rows) for one in result]
    return result


def _model_of(kind: type, given: object) -> object:
    """Return a pydantic model created from an object's attributes or from a dict. If ``kind`` is
    not a pydantic model, return ``given`` unchanged. msgspec then checks the class of ``given``.
    """
    return kind.model_validate(given, from_attributes=True) if is_pydantic(kind) else given


def _without_other_fields(kind: Any, model: Any) -> object:
    """Return a copy of a pydantic model with only the fields of its class ``kind``, because the
    model may be an object of a subclass. Copy its state, because private attributes are not fields,
    and ``model_construct`` reads the fields by their aliases.
    """
    made, state = kind.__new__(kind), model.__getstate__()
    own = {name: value for name, value in vars(model).items() if name in kind.model_fields}
    made.__setstate__({**state, "__dict__": own})
    return made


def library_for(hint: Hint, is_for_results: bool = True) -> type[ByPydantic | ByMsgspec]:
    """Return the maker class for an annotation.

    pydantic creates its own models, and dataclasses and TypedDicts that contain its types. msgspec
    creates all other structures.

    ``is_for_results``: for results, msgspec also handles dataclasses and TypedDicts that contain
    models.
    """
    if all(map(is_pydantic, structures_of(hint, holds_structures))):
        return ByPydantic
    kinds: Sequence[object] = ()
    if "pydantic" in sys.modules:
        # Reading the fields fails for a type that msgspec can't create.
        with suppress(ImportError, TypeError):
            kinds = kinds_in(hint)
    is_msgspecs = any(
        hasattr(one, "__struct_fields__") or hasattr(one, "__attrs_attrs__")
        for one in map(owner_of, kinds)
    )
    is_needed = any(is_adapted(one) or (is_pydantic(one) and not is_for_results) for one in kinds)
    return ByPydantic if is_needed and not is_msgspecs else ByMsgspec


def maker_for(hint: Hint, own: OwnTypes = NO_OWN_TYPES) -> Maker:
    """Return the maker for a structure, or for a list or dict of structures.

    Raises ``SetupError`` if neither msgspec nor pydantic can create the structure.
    """
    about = f"it is a {structure_name(hint)}"
    try:
        maker = library_for(hint, is_for_results=False)(hint, own)
        maker.prepare()
    except ModuleNotFoundError:
        raise SetupError(
            f'{about}, which needs msgspec: pip install "micropie-dual[standard]"'
        ) from None
    # pydantic raises ImportError if a type needs a package, such as email-validator
    except (ImportError, *UNREADABLE, LookupError, RuntimeError) as error:
        sentence = str(error).partition("\n")[0]
        if sentence.startswith("Can only set"):  # msgspec refuses a constraint of X | None
            sentence += "; write Annotated[X, Meta(...)] | None, not Annotated[X | None, Meta(...)]"
        raise SetupError(
            f"{about}, but no object of this type can be created: {sentence}"
        ) from None
    return maker
