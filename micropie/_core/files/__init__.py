"""Static files as responses.

Open ``static.py`` to change the headers of a file. The other files:

- ``lookup.py``: which file belongs to a path
- ``content_types.py``: the file's type, and the name under which it is saved (``attachment``)
- ``fingerprints.py``: ``static_url``, and the ETag
- ``recent.py``: what is cached about files

``static_file`` returns a ``FileReference``. The flow opens the file in one IO step, which runs in a
thread. If the file was checked within the last second, the kernel has it in memory, so the flow
opens it without a step. Unless ``cached=True``, the file is looked up on disk each time, and only
the fingerprint and the headers for each version of a file are cached. A small file is sent as
bytes, like any other body. A large file is a ``FileRange``: an open file and the exact number of
bytes to send. The request closes this file when it ends, so a driver can't leak an open file,
whatever happens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from micropie._core.on_demand import names_on_demand

if TYPE_CHECKING:
    from micropie._core.files.fingerprints import validators_of
    from micropie._core.files.static import describe, directory_route, open_file, static_file

__getattr__, __dir__ = names_on_demand(
    __name__,
    {
        "fingerprints": "validators_of",
        "static": "describe directory_route open_file static_file",
    },
)
