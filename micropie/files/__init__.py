"""Static files as responses."""

from micropie.files.static import directory_route, open_file, static_file

__all__ = [
    "directory_route",
    "open_file",
    "static_file",
]
