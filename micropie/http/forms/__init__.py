"""Query strings and forms: bytes in, fields and files out.

The rules are the same for a query, an urlencoded form and a multipart form:
- limits are checked field by field, in the order of the bytes, so that the first problem decides the answer;
- too much (fields, files, bytes of a field) is 413, malformed is 400, a charset other than UTF-8 is 415;
- text is valid UTF-8 without NUL; only ``&`` separates; a name without ``=`` has the value ``""``;
- a parser that raised has closed the files that it had opened, and can't be used again.
"""

from __future__ import annotations

from micropie.http.forms.data import Limits
from micropie.http.forms.uploads import UploadFile

__all__ = ["Limits", "UploadFile"]
