"""The messages of a WebSocket whose handler annotates the socket with
``WebSocket[Received, Sent]``.

str and bytes are sent and received unchanged, everything else as JSON. A received value is
converted like a whole body, with the same limits and error messages. A sent value is filtered by
its annotation, like a handler's result. This module is imported for the first handler with such an
annotation.
"""

from __future__ import annotations

from inspect import Parameter
from typing import Annotated, Any, Never, get_args, get_origin

from micropie._core.binding.annotations import Hint, bare, united
from micropie._core.binding.signatures.parameters import bound_parameter
from micropie._core.binding.signatures.results import result_filter
from micropie._core.binding.signatures.sources import Body
from micropie._core.binding.values.converters import OwnTypes
from micropie._core.errors import ResponseError, SetupError
from micropie._core.execution.placement import AnyFunction
from micropie._core.http import NULL
from micropie._core.http.json import dumps, exact, loads


class Messages:
    """Converts the messages that a WebSocket handler receives, and filters those that it sends.

    - ``received``: the type of the messages that the handler receives, or ``Never`` if it receives
      none.
    - ``sent``: the type of the messages that the handler sends.
    - ``is_raw``: whether it receives text or bytes that aren't even checked.
    - ``call``: two strings. The first is the name of the socket's method that receives such
      messages, such as "receive_text". The second is the key of the message in an ASGI event:
      "text" or "bytes".
    """

    def __init__(self, function: AnyFunction, received: Hint, sent: Hint, own: OwnTypes) -> None:
        self.received, self.sent = received, sent
        self._kinds = _raw_kind(received), _raw_kind(sent)
        self.is_raw = received in (str, bytes)
        self.call = _CALLS[self._kinds[0]]
        hint = object if received is Never else received
        self._parameter = bound_parameter(
            Parameter("message", Parameter.KEYWORD_ONLY, annotation=Annotated[hint, Body()]),
            False,
            own,
        )
        self._convert: Any = self._parameter.places["json"][1]
        own_filter = result_filter(function, united(sent), own=own)
        self._write = dumps if own_filter is None else own_filter.item_writer(dumps, own.encoders)

    def read(self, content: str | bytes) -> Any:
        """Convert a received message, or check text or bytes, and return the value.

        Raises ``ValueError`` for malformed JSON, and ``BindingError`` for an invalid value.
        """
        if self._kinds[0] is not None:
            return self._convert(self._parameter, content, "json")
        document = loads(content)
        if self._parameter.is_exact:
            data = content if isinstance(content, bytes) else content.encode()
            document = exact(data) or document
        return self._convert(self._parameter, NULL if document is None else document, "json")

    def write(self, value: object) -> str | bytes:
        """Return the message to send for a value, with only the fields that the annotation
        declares.

        Raises ``ResponseError`` for a value that is not of the declared type.
        """
        _, kind = self._kinds
        if kind is not None:
            if isinstance(value, kind):
                return value
            raise ResponseError(
                f"send() takes {kind.__name__}, as the socket's annotation declares, not "
                f"{type(value).__name__}"
            )
        return self._write(value).decode()


_CALLS = {
    str: ("receive_text", "text"),
    bytes: ("receive_bytes", "bytes"),
    None: ("receive", "text"),
}


def _raw_kind(hint: Hint) -> type[str] | type[bytes] | None:
    """Return str or bytes if messages of a type are text or bytes, or None if they are JSON."""
    return next((one for one in (str, bytes) if bare(hint) == (one, False)), None)


def messages_of(function: AnyFunction, annotation: Hint, own: OwnTypes) -> Messages | None:
    """Return the ``Messages`` for the annotation of a handler's socket. Return None if the
    annotation doesn't declare the types of messages.
    """
    if not hasattr(get_origin(annotation), "receive_json"):  # not a ``WebSocket[...]``
        return None
    received, sent = get_args(annotation)
    try:
        return Messages(function, received, sent, own)
    except SetupError as error:
        raise SetupError(f"a message of WebSocket[...]: {error}") from None
