"""Convert the values in a request's path, query and body to the arguments of a handler.

Open ``values/converters.py`` to add a type for parameters, and ``signatures/parameters.py`` to
change where a parameter's value comes from. ``docs/binding.md`` has a table row for each type and
each source. Other files that you may want to change:

- ``signatures/results.py``: which fields of a handler's result are sent
- ``signatures/links.py``: the names and texts in links
- ``annotations.py``: how an annotation is read
- ``fields.py``: how the fields of a structure are read
- ``type_info.py``: what all other packages learn about a type

These are the packages:

- ``signatures``: compiles a handler's signature once to a ``Plan``: its parameters, where each
  value comes from, and the message types of a WebSocket
- ``values``: converts strings or JSON values to a parameter's type
- ``structures``: creates one object, such as a dataclass, from a whole body, query or form; msgspec
  or pydantic converts the object's fields
"""

from typing import TYPE_CHECKING

from micropie._core.binding.annotations import (
    is_unset,
    owner_of,
    type_name,
)
from micropie._core.binding.signatures.parameters import BoundParameter
from micropie._core.binding.signatures.plan import (
    Plan,
    annotated,
    hints_for,
    is_key,
    is_provider,
    provider_keys,
    python_call_of,
)
from micropie._core.binding.signatures.results import (
    ResultFilter,
    answer_parts,
    answers_of,
    items_of,
    result_filter,
    sends_null,
)
from micropie._core.binding.signatures.sources import (
    Body,
    Cookie,
    Form,
    Header,
    Query,
    Session,
)
from micropie._core.binding.values.constraints import Message
from micropie._core.binding.values.converters import NO_OWN_TYPES, OwnTypes
from micropie._core.on_demand import names_on_demand

if TYPE_CHECKING:
    from micropie._core.binding.signatures.links import query_of
    from micropie._core.binding.signatures.messages import Messages
    from micropie._core.binding.type_info import TypeInfo

__getattr__, __dir__ = names_on_demand(
    __name__,
    {
        "signatures.messages": "Messages",
        "signatures.links": "query_of",
        "type_info": "TypeInfo",
    },
)
