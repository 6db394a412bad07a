"""Bodies in chunks: streams, and events.

``source.py`` makes a stream, once, of what a handler returned. It has two classes: for chunks that
are made on an event loop, and for those that are made in a thread. A stream knows how it begins,
ends and is closed. The signal that ends streams is there, too. ``events.py`` has server-sent
events. ``threaded.py`` advances sync streams in threads for an event loop; the drivers' halves,
which send and wait, are ``asgi/streaming.py`` and ``wsgi/streaming.py``.

A generator may keep a cancel scope, a task group or a time-out open across ``yield``. Such a scope
nests in the scopes that its task has entered before, so one task advances and closes it, and no
scope is entered around a later chunk alone (``LoopStream``). If the client leaves while its stream
waits, the stream is cancelled. Between two chunks it is closed instead, so that its clean-up may
wait.

Under ASGI a companion works beside the request's task: it watches for the client's disconnect, and
sends the heart-beats of silent events. Its tasks cost as much as many a whole stream, so they start
when one has waited for a while. Under WSGI the server's thread waits for each chunk, and sends a
heart-beat when its wait is over without one. The chunks of a sync stream are made ahead, so that
one way to a thread makes many. The thread wakes the request's task for a chunk that is waited for,
so no chunk waits for a later one, and a slow client holds a full buffer and no thread.
"""

from typing import TYPE_CHECKING

from micropie._core.on_demand import names_on_demand
from micropie._core.streams.files import FILE_CHUNK, PART_CHUNK, FileRange
from micropie._core.streams.source import (
    END,
    HEART_BEAT,
    LEFT,
    LoopStream,
    ShutdownSignal,
    Stream,
    ThreadStream,
    as_bytes,
    current_shutdown,
    is_stream,
    stream_of,
)

if TYPE_CHECKING:
    from micropie._core.streams.events import EventStream, event, follow_events
    from micropie._core.streams.threaded import MadeAhead

# fmt: off
__all__ = [
    "END", "FILE_CHUNK", "HEART_BEAT", "LEFT", "PART_CHUNK", "EventStream", "FileRange",
    "LoopStream", "MadeAhead", "ShutdownSignal", "Stream", "ThreadStream", "as_bytes",
    "current_shutdown", "event", "follow_events", "is_stream", "stream_of",
]
# fmt: on

__getattr__, __dir__ = names_on_demand(
    __name__, {"events": "EventStream event follow_events", "threaded": "MadeAhead"}
)
