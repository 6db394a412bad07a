"""Bodies in chunks: streams, and events.

Open ``source.py`` to change how a stream begins, continues and ends, ``events.py`` for server-sent
events, ``files.py`` for files that servers send themselves, and ``threaded.py`` for sync streams on
an event loop. ``asgi/streaming.py`` and ``wsgi/streaming.py`` send the chunks, and wait for them.

``stream_of`` turns what a handler returned into a stream: a ``LoopStream``, whose chunks are made
on an event loop, or a ``ThreadStream``, whose chunks are made in a thread.

A generator may keep a cancel scope, a task group or a timeout open across ``yield``. Such a scope
is nested in the scopes that its task entered before. So a single task advances and closes the
generator, and no scope is entered for a single chunk after the first one. If the client disconnects
while the stream waits for an item, the stream is cancelled. Between two chunks it is closed
instead, so that its clean-up may wait.

Under ASGI, a second task may run next to the request's task. It watches for the client's
disconnect, and sends the heartbeats of silent events. Starting it costs as much as a whole short
stream, so it is started only when a stream has waited for a while. Under WSGI, the server's thread
waits for each chunk, and sends a heartbeat if no chunk came in time. On an event loop, a worker
thread makes several chunks of a sync stream ahead at a time, because using the thread takes longer
than making a chunk. It wakes the request's task for each chunk that the task waits for, so no chunk
is delayed by a later one. A slow client fills a buffer but blocks no thread.
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
