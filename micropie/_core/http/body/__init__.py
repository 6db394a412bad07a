"""The body of a request, from the pieces that a driver receives to forms and JSON.

``reader.py`` counts the bytes and enforces the limits. ``receiving.py`` decides how a body is read,
and ``received.py`` stores it and parses it. ``form_parts.py`` yields the parts of a multipart form
while they arrive. ``micropie._core.http`` exports the names.
"""
