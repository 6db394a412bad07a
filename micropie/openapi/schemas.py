"""JSON Schema for the types in annotations: draft 2020-12, which OpenAPI 3.1 uses.

pydantic describes its own models. All other types are described here, in agreement with
``binding.converters``, and structures by their list of fields in ``binding.fields``. An unknown
type gets the schema of any value.
"""

from __future__ import annotations

import enum
import inspect
import logging
import re
import sys
import types
from collections import ChainMap, Counter, OrderedDict, defaultdict, deque
from collections.abc import (
    Callable,
    Collection,
    Container,
    Hashable,
    Iterable,
    KeysView,
    Mapping,
    MutableMapping,
    MutableSequence,
    MutableSet,
    Reversible,
    Sequence,
    Set,
    ValuesView,
)
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from functools import partial
from itertools import chain, count
from typing import (
    Any,
    Literal,
    TypeAlias,
)

from micropie import SetupError, UploadFile
from micropie.extensions import Application, Inspector, TypeInfo, dumps, loads

logger = logging.getLogger("micropie")

Schema: TypeAlias = dict[str, Any]
Mode: TypeAlias = Literal["validation", "serialization"]

_BOTH: Sequence[Mode] = ("validation", "serialization")

_SETS = (set, frozenset, Set, MutableSet, KeysView)
_ANY_ARRAYS = (Iterable, Container, Reversible, Collection, Sequence, MutableSequence)
_ARRAYS = (list, tuple, deque, ValuesView, *_ANY_ARRAYS, *_SETS)
_OBJECTS = (dict, defaultdict, OrderedDict, ChainMap, Mapping, MutableMapping)
_JSON_NAMES: Mapping[type, str] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    types.NoneType: "null",
    list: "array",
    dict: "object",
}

# JSON Schema's keyword for each attribute of an annotation's metadata. All except the last three
# are constraints, which ``binding/values/constraints.py`` checks.
_KEYWORDS = {
    "gt": "exclusiveMinimum",
    "ge": "minimum",
    "lt": "exclusiveMaximum",
    "le": "maximum",
    "multiple_of": "multipleOf",
    "min_length": "minLength",
    "max_length": "maxLength",
    "pattern": "pattern",
    "title": "title",
    "description": "description",
    "documentation": "description",
}


# What stands for "Length" in the keywords for the length of other types than strings.
_LENGTHS = {"array": "Items", "object": "Properties"}


def _object(required: Schema, **optional: Schema) -> Schema:
    return {"type": "object", "required": [*required], "properties": {**required, **optional}}


_TEXT = {"type": "string"}
_PATH = {"type": "array", "items": {"type": ["string", "integer"]}}
_ERROR = _object(
    dict.fromkeys(("parameter", "source", "expected"), _TEXT)
    | {"path": _PATH, "field": _TEXT, "detail": _TEXT}
)
# The schema of a problem document (RFC 9457), which ``http/problem.py`` creates.
PROBLEM = _object(
    {"type": _TEXT, "title": _TEXT, "status": {"type": "integer"}, "detail": _TEXT},
    errors={"type": "array", "items": _ERROR},
)


class Schemas:
    """The schemas of one document.

    - ``application``: the application whose routes are being described.
    - ``components``: the named schemas, to which other schemas refer.
    - ``mode``: "validation" for parameters and bodies, "serialization" for responses. These are
      pydantic's terms.
    """

    def __init__(self, application: Application, components: dict[str, Schema], mode: Mode) -> None:
        self.own = application.types
        self.components = components
        self._mode = mode
        # by the id of the types that an application has of its own, and the class
        self._known: dict[tuple[int, type], Schema] = {}
        # The schemas that the structure being described refers to by name, and how they are named.
        self._named: dict[str, Schema] = {}
        self._form = ""

    def of(self, annotation: object) -> Schema:
        """Return the schema of an annotation, or ``{}`` for any value."""
        if not isinstance(annotation, Hashable):  # no type, as in "-> [str]"
            return {}
        info = TypeInfo(annotation)
        if (known := self._simple(info)) is not None:
            return known
        if info.wrapped is not info.annotation:
            return self._constrained(TypeInfo(info.wrapped), info.metadata)
        if len(info.members) > 1:
            return self._union(info.members)
        kind: Any = info.kind
        if kind is Literal:
            return _choice([*map(self._written, info.arguments)])
        if kind in _ARRAYS:
            return self._array(kind, info.arguments)
        if kind in _OBJECTS:
            return self._object(*info.arguments)
        return {}

    def _simple(self, info: TypeInfo) -> Schema | None:
        """Return the schema of a class, or of None, or None for another type."""
        annotation = info.annotation
        kind = annotation if isinstance(annotation, type) else None
        if kind is not None and (own := self._own(info)) is not None:
            is_named = self._form and issubclass(kind, enum.Enum)
            return self._stored(info, lambda: own) if is_named else own
        if info.has_fields:
            return self._structure(info)
        if info.is_pydantics:
            return self._adapted(annotation)
        if annotation in (None, types.NoneType):
            return {"type": "null"}
        if kind is UploadFile:
            return {"type": "string", "format": "binary"}
        return None if kind is None else _schema_of(info)

    def _adapted(self, annotation: object) -> Schema:
        """Return the schema of a type whose values pydantic creates, such as ``HttpUrl``."""
        adapter = _adapter_for(annotation)
        reference = f"{_SCHEMAS}{{model}}"
        try:
            schema: Schema = adapter.json_schema(mode=self._mode, ref_template=reference)
        except sys.modules["pydantic"].PydanticUserError:
            # pydantic can't describe a class that only has a custom validator.
            return {}
        self.components |= {**schema.pop("$defs", {}), **self.components}
        return schema

    def _own(self, info: TypeInfo) -> Schema | None:
        """Return the schema of an enumeration, of a Decimal in a response, or of one of the
        application's own types. Return None for other types.
        """
        kind, encode = info.annotation, self.own.encoder_of(info.annotation)
        if kind in self.own.decoders and (encode is None or self._mode == "validation"):
            return self.of(self.own.taken_by(kind))
        if issubclass(kind, enum.Flag) and encode is None:
            return self._flags(kind)
        if issubclass(kind, enum.Enum):
            return _choice([*map(self._written, map(self.own.sent, kind))])
        is_known = info.has_fields or _schema_of(info) is not None
        if encode is None or (is_known and not self._is_encoded(kind)):
            # msgspec reads a Decimal in a structure from a string, too
            is_text = self._form or self._mode == "serialization"
            return {"type": "string", "format": "decimal"} if kind is Decimal and is_text else None
        if isinstance(encode, type):
            return self.of(encode)
        try:
            return self.of(Inspector.signature_of(encode).return_annotation)
        except ValueError:  # the encoder is a built-in without a signature
            return {}

    def _flags(self, kind: type[enum.Flag]) -> Schema:
        """Return the schema of a Flag: any sum of its members' values. A parameter accepts only the
        members of a Flag that keeps unknown bits.
        """
        if vars(kind)["_boundary_"] is not enum.KEEP:
            most = sum(one.value for one in kind)
            return {"type": "integer", "minimum": 0, "maximum": most}
        is_read = self._mode == "validation"
        return _choice([one.value for one in kind]) if is_read else {"type": "integer"}

    def _written(self, value: object) -> object:
        """Return a value of an Enum or a Literal as it is sent or received in JSON."""
        value = self.own.sent(value)
        if type(value) not in _JSON_NAMES:
            is_text = self._mode == "validation" and not isinstance(value, timedelta | bytes)
            with suppress(ValueError):  # the value can't be sent
                return str(value) if is_text else loads(dumps(value))
            return str(value)
        return value

    def _union(self, members: Sequence[object], metadata: Sequence[object] = ()) -> Schema:
        """Return the schema of a union. If the union's structures are distinguished by a field,
        this field is the schema's ``discriminator``. Then exactly one structure is valid, and some
        generators need ``oneOf`` to know that.
        """
        structures = [one for one in members if one is not types.NoneType]
        if len(members) > len(structures) > 1:
            return {"anyOf": [self._union(structures, metadata), self.of(None)]}
        found = [self.of(member) for member in members]
        tags = _tags_of(members, metadata)
        if tags is None:
            return {"anyOf": found}
        name, values = tags
        mapping = {tag: one["$ref"] for one, own in zip(found, values, strict=True) for tag in own}
        return {"oneOf": found, "discriminator": {"propertyName": name, "mapping": mapping}}

    def _constrained(self, info: TypeInfo, metadata: Sequence[object]) -> Schema:
        is_union = len(info.members) > 1
        schema = self._union(info.members, metadata) if is_union else self.of(info.annotation)
        members = [one for one in schema.get("anyOf", [schema]) if one != {"type": "null"}]
        is_base64 = any("contentEncoding" in one for one in members)
        lengths = dict.fromkeys(_LENGTHS.get(one.get("type"), "Length") for one in members)
        for given in metadata:
            for part in (given, *getattr(given, "metadata", ())):
                for name, keyword in _KEYWORDS.items():
                    value = getattr(part, name, None)
                    if isinstance(value, int | float | str | Decimal):
                        number: Any = float(value) if isinstance(value, Decimal) else value
                        if is_base64 and name in ("min_length", "max_length"):
                            number = 4 * -(-number // 3)  # that of the text for so many bytes
                        schema |= {keyword.replace("Length", one): number for one in lengths}
                schema |= self._stated(part)
            # annotated_types writes Timezone(None), and msgspec Meta(tz=False)
            if getattr(given, "tz", ...) is {"Timezone": None}.get(type(given).__name__, False):
                for one in members:
                    _make_local(one)
        return schema

    def _stated(self, part: object) -> Schema:
        """Return what metadata of msgspec or pydantic adds to a schema, apart from keywords."""
        found: Schema = {}
        examples = getattr(part, "examples", None)
        if isinstance(examples, list):
            found["examples"] = [*map(self._written, examples)]
        if getattr(part, "deprecated", None):
            found["deprecated"] = True
        for name in ("extra_json_schema", "json_schema_extra", "json_schema"):
            extra = getattr(part, name, None)
            found |= extra if isinstance(extra, Mapping) else {}
        return found

    def _array(self, kind: object, arguments: tuple[object, ...]) -> Schema:
        schema: Schema = {"type": "array"}
        if kind is tuple and arguments and arguments[-1] is not Ellipsis:
            return _tuple(map(self.of, arguments))
        schema["items"] = self.of(arguments[0]) if arguments else {}
        return {**schema, "uniqueItems": True} if kind in _SETS else schema

    def _object(self, key: object = str, member: object = Any) -> Schema:
        names = _names_for(self.of(key), ChainMap(self._named, self.components))
        members = self.of(member)
        return {
            "type": "object",
            **({"propertyNames": names} if names else {}),
            **({"additionalProperties": members} if members else {}),
        }

    def _structure(self, info: TypeInfo) -> Schema:
        """Return the schema of a structure, and store the schemas that it refers to by name in
        ``components``. If a name is taken, put the module's name before it. If this name is taken
        too, as for two classes of one module, append a number.
        """
        structure = info.annotation
        key = id(self.own), structure
        if key in self._known:
            return dict(self._known[key])
        # pydantic doesn't call the encoders that apply to the fields of other classes
        is_pydantics = info.is_model or (info.is_pydantics and not self.own.encoders)
        own = partial(self._stored, info, partial(self._fields, info))
        describe = partial(self._by_pydantic, structure) if is_pydantics else own
        if self._form and not is_pydantics:
            return describe()
        outer, known = (self._form, self._named), self._known
        long = f"{structure.__module__}.{{name}}"
        forms = chain(("{name}", long), (f"{long}{number}" for number in count(2)))
        described, is_free = {}, False
        while not is_free:
            self._form, self._named, self._known = next(forms), {}, {**known}
            described, named = describe(), self._named
            is_free = all(self.components.get(name, one) == one for name, one in named.items())
        self.components |= self._named
        self._form, self._named = outer
        self._known[key] = described
        return dict(described)

    def _stored(self, info: TypeInfo, describe: Callable[[], Schema]) -> Schema:
        """Store the schema of a class by its name, and return a reference to it."""
        key = id(self.own), info.annotation
        if key in self._known:
            return dict(self._known[key])
        name = self._form.format(name=re.sub(r"[^\w.-]", "_", info.name))
        while name in self._named:  # that of another class
            name = f"{info.kind.__module__}.{name}"
        reference = self._known[key] = {"$ref": f"{_SCHEMAS}{name}"}
        self._named[name] = {}  # the class may contain itself
        about = inspect.cleandoc(info.kind.__doc__ or "")
        if info.kind.__module__.startswith("micropie."):  # the rest is for Python programmers
            about = " ".join(about.partition("\n\n")[0].split())
        is_written = about and not about.startswith(f"{info.kind.__name__}(")
        stated = {"title": info.name} | ({"description": about} if is_written else {})
        self._named[name] = stated | describe()
        return dict(reference)

    def _fields(self, info: TypeInfo) -> Schema:
        parts = {name: _choice([value]) for name, value in info.tag.items()}
        needed = [*parts]
        for field in info.fields:
            parts[field.name] = found = self.of(field.hint)
            if field.required:
                needed.append(field.name)
                continue
            value = field.default
            with suppress(ValueError):  # there is no default
                value = self.own.sent(value) if self._is_encoded(type(value)) else value
                found["default"] = value if value is None else loads(dumps(value))
        if info.is_array:
            schema = {**_tuple(parts.values()), "minItems": len(needed)}
            if info.structure is not None and not info.is_closed:
                del schema["maxItems"]
            return schema
        closed = {"additionalProperties": False} if info.is_closed else {}
        return {"type": "object", "properties": parts, "required": needed, **closed}

    def _is_encoded(self, kind: type) -> bool:
        """Return whether an encoder of the application changes the values that are described. In a
        body, it does so only for the members of an Enum.
        """
        is_seen = self._mode == "serialization" or issubclass(kind, enum.Enum)
        return is_seen and self.own.encoder_of(kind) is not None

    def _by_pydantic(self, model: Any) -> Schema:
        # pydantic is imported already, because the type is one of its models
        pydantic = sys.modules["pydantic"].json_schema
        base = pydantic.GenerateJsonSchema
        unknown: dict[Mode, set[str]] = {mode: set() for mode in _BOTH}
        methods = {
            "handle_invalid_for_json_schema": lambda one, *found: self._beyond_pydantic(
                unknown[one.mode], *found
            ),
            "dict_schema": lambda one, found: {
                **base.dict_schema(one, found),
                "propertyNames": one.generate_inner(found.get("keys_schema", {"type": "any"})),
            },
            # The format "binary" would be that of a file beside one.
            "bytes_schema": lambda one, found: {
                name: value
                for name, value in base.bytes_schema(one, found).items()
                if value != "binary"
            },
            # pydantic describes only the members of a Flag
            "enum_schema": lambda one, found: (
                self._flags(found["cls"])
                if issubclass(found["cls"], enum.Flag)
                else base.enum_schema(one, found)
            ),
        }
        options = {"schema_generator": type("_Generator", (base,), methods)}
        adapter = _adapter_for(model)
        body, answer = (adapter.json_schema(mode=mode, **options) for mode in _BOTH)
        if unknown[self._mode]:
            problem = (
                "%s: pydantic can't describe %s, so the OpenAPI document allows any value there"
            )
            logger.warning(problem, model.__qualname__, ", ".join(sorted(unknown[self._mode])))
        # If the schemas for received and for sent values differ, pydantic creates two names:
        # Dog-Input and Dog-Output.
        modes = [self._mode] if body == answer else _BOTH
        template = f"{_SCHEMAS}{self._form.replace('{name}', '{model}')}"
        schemas, document = adapter.json_schemas(
            [(model, mode, adapter) for mode in modes], ref_template=template, **options
        )
        others = "-Output" if self._mode == "validation" else "-Input"
        found = {
            self._form.format(name=name): one
            for name, one in document.get("$defs", {}).items()
            if not name.endswith(others)
        }
        schema, found = rewritten(
            (schemas[model, self._mode], found), partial(_for_generators, found)
        )
        self._named |= found
        described: Schema = schema
        return described

    def _beyond_pydantic(self, unknown: set[str], found: Schema, about: str) -> Schema:
        """Return the schema of a type that pydantic can't describe. The schema comes from the
        return annotation of the type's encoder. If there is no encoder, add the type to
        ``unknown``.
        """
        schema = self.of(found.get("cls", Any))
        if schema and "$ref" not in str(schema):  # pydantic rejects references to other schemas
            return schema
        unknown.add(about)
        return {}


_LOCAL = {"date-time": "date-time-local", "time": "time-local", "partial-time": "time-local"}


def _make_local(schema: Schema) -> None:
    """Change the format of a datetime or a time that must not have an offset. RFC 3339 requires
    one, so OpenAPI's registry of formats has other names.
    """
    known = schema.get("format")
    schema |= {"format": _LOCAL[known]} if known in _LOCAL else {}


def _adapter_for(_hint: object) -> Any:
    # in a function of its own, because pydantic looks up the names in annotations among the
    # variables of the caller first
    return sys.modules["pydantic"].TypeAdapter(_hint)


def with_short_names(document: Schema) -> Schema:
    """Return a document with short names for models. A model that is only received or only sent has
    the name ``Dog``; any other has the names ``Dog-Input`` and ``Dog-Output``. If several models
    have the same title, each gets its name as the title, because client generators name classes
    after titles.
    """
    known = document.get("components", {}).get("schemas", {})
    forms = [name.rpartition("-") for name in known]
    bases = [base for base, _, mode in forms if mode in _MODES]
    short = {
        f"{base}-{mode}": base
        for base, _, mode in forms
        if mode in _MODES and bases.count(base) == 1 and base not in known
    }
    if short:
        renamed = {f"{_SCHEMAS}{name}": f"{_SCHEMAS}{base}" for name, base in short.items()}

        def with_new_names(found: Schema) -> Schema:
            return {
                key: renamed.get(one, one) if isinstance(one, str) else one
                for key, one in found.items()
            }

        document = rewritten(document, with_new_names)
        known = {
            short.get(name, name): one for name, one in document["components"]["schemas"].items()
        }
        document["components"]["schemas"] = known
    titles = Counter(schema.get("title", name) for name, schema in known.items())
    for name, schema in known.items():
        if "title" in schema and titles[schema["title"]] > 1:
            known[name] = {**schema, "title": name}
    return document


_MODES = ("Input", "Output")


_SCHEMAS = "#/components/schemas/"


def rewritten(found: object, change: Callable[[Schema], Schema]) -> Any:
    """Return a copy of a document in which each object is what ``change`` returns for it. The
    objects inside it are changed first.
    """
    if isinstance(found, tuple | list):
        return [rewritten(one, change) for one in found]
    if not isinstance(found, dict):
        return found
    return change({name: rewritten(one, change) for name, one in found.items()})


def _tags_of(
    members: Sequence[Any], metadata: Sequence[object]
) -> tuple[str, list[list[str]]] | None:
    """Return the field that distinguishes the structures of a union, and its values for each
    structure, or None.

    The field is the tag of msgspec Structs, or the field in ``Field(discriminator=...)`` of a union
    of pydantic models.
    """
    # the innermost one is first
    every = (getattr(one, "discriminator", None) for one in metadata)
    stated = next((one for one in every if one is not None), None)
    tags = [
        {name: (value,) for name, value in info.tag.items()}
        or {
            field.name: TypeInfo(field.hint).arguments
            for field in info.fields
            if field.attribute == stated
        }
        for info in map(TypeInfo, members)
    ]
    names = {*chain(*tags)}
    if len(names) != 1 or not all(tags):
        return None
    (name,) = names
    return name, [[*map(_text, one[name])] for one in tags]


def _text(value: object) -> str:
    return str(value.value if isinstance(value, enum.Enum) else value)


def _tuple(members: Iterable[Schema]) -> Schema:
    listed = [*members]
    return {
        "type": "array",
        "prefixItems": listed,
        "minItems": len(listed),
        "maxItems": len(listed),
    }


def _schema_of(info: TypeInfo) -> Schema | None:
    """Return the schema of a type that contains no other types, or None."""
    try:
        schema = info.converter().schema
    except SetupError:
        return None
    return None if schema is None else {**schema}


def _choice(values: Collection[object]) -> Schema:
    """Return the schema that allows exactly these values of JSON, with a separate ``enum`` for each
    type of value.
    """
    by_kind: dict[str, list[object]] = {}
    for value in values:
        by_kind.setdefault(_JSON_NAMES[type(value)], []).append(value)
    found: list[Schema] = [
        {"type": kind} if kind == "null" else {"type": kind, "enum": own}
        for kind, own in by_kind.items()
    ]
    return found[0] if len(found) == 1 else {"anyOf": found}


# How the names in an object are written whose values become numbers.
_NUMERALS = {
    "integer": "^[+-]?[0-9]+$",
    "number": r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?$",
}


def _names_for(schema: Schema, named: Mapping[str, Schema] = types.MappingProxyType({})) -> Schema:
    """Return the schema for the names in an object that become values with a schema, or {} if any
    name is valid. Names are strings, even if they become numbers.

    ``named``: the schemas to which the schema may refer.
    """
    target = named.get(schema.get("$ref", "").removeprefix(_SCHEMAS), schema)
    kind = target.get("type")
    if "anyOf" in target:
        found = [_names_for(one, named) for one in target["anyOf"]]
        return {"anyOf": found} if all(found) else {}
    if "enum" in target and kind in (*_NUMERALS, None):  # without a type, it has several
        return {"type": "string", "enum": [*map(str, target["enum"])]}
    if kind in _NUMERALS:
        return {"type": "string", "pattern": _NUMERALS[kind]}
    if kind == "boolean":
        return {"type": "string", "enum": ["true", "false"]}
    # pydantic leaves out the type of names
    about = {name: one for name, one in schema.items() if name not in ("type", "title")}
    return ({"type": "string"} | about if "$ref" not in about else about) if about else {}


def _for_generators(named: Mapping[str, Schema], schema: Schema) -> Schema:
    """Return a schema from msgspec or pydantic in the form that client generators need: with
    ``items`` in each array, but not in a tuple, values of a single type in each ``enum``, strings
    as ``propertyNames``, and no default that a client must not send.

    ``named``: the schemas to which the schema may refer.
    """
    # the default of pydantic's ``Json``, which is no text, and the stars of a secret
    is_secret = any(one.get("writeOnly") for one in schema.get("anyOf", [schema]))
    is_text = isinstance(schema.get("default", ""), str)
    if "default" in schema and (is_secret if is_text else schema.get("type") == "string"):
        return {name: one for name, one in schema.items() if name != "default"}
    if isinstance(names := schema.get("propertyNames"), dict):
        rest = {name: one for name, one in schema.items() if name != "propertyNames"}
        written = _names_for(names, named)
        return {**rest, "propertyNames": written} if written else rest
    if isinstance(values := schema.get("enum"), list) and len({*map(type, values)}) > 1:
        return {**{name: one for name, one in schema.items() if name != "enum"}, **_choice(values)}
    if schema.get("type") != "array":
        return schema
    return schema if "prefixItems" in schema else {"items": {}, **schema}


def without_infinities(found: object) -> Any:
    """Return a copy of a document without infinities and NaN, which JSON can't represent. If a
    default contains one, the whole default is omitted.
    """
    if isinstance(found, tuple | list):
        return [without_infinities(one) for one in found if _is_writable("", one)]
    if not isinstance(found, dict):
        return found
    return {name: without_infinities(one) for name, one in found.items() if _is_writable(name, one)}


def _is_writable(name: str, value: object) -> bool:
    """Return whether the value of a schema's member can be written as JSON: it contains no infinity
    and no NaN.
    """
    if name != "default" and not isinstance(value, float):
        return True
    try:
        dumps(value)
    except ValueError:
        return False
    return True
