"""``cherrypy._cpreqbody``, whose name applications use for its classes and processors."""

from micropie.compat.cherrypy.body import (
    Entity,
    Part,
    RequestBody,
    process_multipart,
    process_multipart_form_data,
    process_urlencoded,
)

__all__ = [
    "Entity",
    "Part",
    "RequestBody",
    "process_multipart",
    "process_multipart_form_data",
    "process_urlencoded",
]
