"""Bodies in chunks: their sources, the head that waits for the first chunk, and events.

``source.py`` has the protocol and makes it of what a handler returned. ``head.py`` says how long the head waits.
``events.py`` has server-sent events. ``scoped.py`` and ``threaded.py`` advance sources on an event loop and in threads;
the drivers' halves are ``asgi/streaming.py`` and ``wsgi/streaming.py``.
"""

from micropie.streams.events import EventStream, event, follow_events
from micropie.streams.files import FILE_CHUNK, PART_CHUNK, FileRange
from micropie.streams.head import ASK_AFTER, EarlyHead
from micropie.streams.scoped import ScopedSource
from micropie.streams.source import END, LATE, LoopSource, Stream, ThreadSource, is_stream, stream_of, transform_stream
from micropie.streams.threaded import in_threads

__all__ = [
    "ASK_AFTER",
    "END",
    "FILE_CHUNK",
    "LATE",
    "PART_CHUNK",
    "EarlyHead",
    "EventStream",
    "FileRange",
    "LoopSource",
    "ScopedSource",
    "Stream",
    "ThreadSource",
    "event",
    "follow_events",
    "in_threads",
    "is_stream",
    "stream_of",
    "transform_stream",
]
