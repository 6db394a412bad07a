"""Static files as responses.

Open ``static.py`` to change the headers of a file, ``lookup.py`` for which file belongs to a path,
``content_types.py`` for its type and the name under which it is saved (``attachment``),
``fingerprints.py`` for ``static_url``, and ``recent.py`` for what is cached about files.

``static_file`` returns a ``FileReference``. The flow opens the file in one IO step, or without a
step if a thread has checked the file within the last second, because then the kernel has it in
memory. The file is looked up on disk each time; only the headers for each version of a file are
cached. A small file is sent as bytes, like any other body. A large file is a ``FileRange``: an open
file and the exact number of bytes to send. The request closes this file when it ends, so a driver
can't leak an open file, whatever happens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from micropie._core.on_demand import names_on_demand

if TYPE_CHECKING:
    from micropie._core.files.lookup import validators_of
    from micropie._core.files.static import describe, directory_route, open_file, static_file

__all__ = ["describe", "directory_route", "open_file", "static_file", "validators_of"]

__getattr__, __dir__ = names_on_demand(
    __name__,
    {
        "lookup": "validators_of",
        "static": "describe directory_route open_file static_file",
    },
)
