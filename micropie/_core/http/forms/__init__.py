"""Query strings and forms: bytes in, fields and files out.

Open ``data.py`` to change queries, urlencoded forms or a limit of any form. The other files:

- ``multipart.py``: which multipart forms are refused; ``docs/forms.md`` lists them
- ``uploads.py``: uploaded files

The same rules apply to a query, a urlencoded form and a multipart form:

- limits are checked field by field, in the order in which fields arrive, so that the first problem
  decides the response;
- too many fields, files or bytes get a 413, malformed data a 400, a charset other than UTF-8 a 415;
- text is valid UTF-8 without NUL; only ``&`` separates fields; a name without ``=`` has the value
  ``""``;
- a parser that has raised an exception has closed its open files, and can't be used again.

``PartParser`` gets a multipart body's bytes as they arrive and yields events: the head of a part,
its bytes, its end. It also checks all limits. It is used in two places: ``MultipartParser`` stores
fields and files before the handler runs; ``http/body/form_parts.py`` passes each event on when it
is requested. Large bodies are parsed and bound in an IO step, which runs in a thread. Files are
written in large pieces, because using a thread costs more than a small write. If a request is
cancelled, the thread may still be writing a file. So files are closed under a lock, and ignore
later writes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from micropie._core.http.forms.data import (
    DEFAULT_LIMITS,
    ITSELF,
    MULTIPART,
    JsonText,
    Limits,
    Nested,
    json_in,
    nested,
    outer_name,
    parse_query,
    require_utf8,
    rows,
    text_of,
)
from micropie._core.http.forms.uploads import (
    BATCH,
    CHUNK,
    MAX_FILENAME,
    MOST_PIECES,
    NewFile,
    UploadFile,
    safe_filename,
)
from micropie._core.on_demand import names_on_demand

if TYPE_CHECKING:
    from micropie._core.http.forms.multipart import (
        MultipartParser,
        PartHead,
        PartParser,
        boundary_of,
        codec_of_part,
    )

# This module is imported on first use, because many sites don't need it.
__getattr__, __dir__ = names_on_demand(
    __name__,
    {
        "multipart": "MultipartParser PartHead PartParser boundary_of codec_of_part",
    },
)
