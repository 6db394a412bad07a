"""Static files as responses.

``static_file`` returns a ``FileReference``, and the flow opens it in one IO step, or without a step
if a thread has looked at the file within the last second: then the kernel has it in memory
(``recent.py``). The disk is asked each time; only the checked head of each version of a file is
kept. A small file is bytes like any other answer. A large one is a ``FileRange``, an open file of
which exactly so many bytes are sent. The request closes it when it is over, so no path through the
drivers can leak it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from micropie._core.on_demand import names_on_demand

if TYPE_CHECKING:
    from micropie._core.files.lookup import validators_of
    from micropie._core.files.static import directory_route, open_file, static_file

__all__ = ["directory_route", "open_file", "static_file", "validators_of"]

__getattr__, __dir__ = names_on_demand(
    __name__,
    {
        "lookup": "validators_of",
        "static": "directory_route open_file static_file",
    },
)
