"""The contenders, one file each.

A file has `make_asgi()` (async handlers), `make_wsgi()` (sync handlers) or both, each of which
returns an application that answers every case of `benchmarks/cases.py`, written as the framework's
own documentation writes it, in the fastest way that the documentation shows. It imports its
framework at its top: a framework that isn't installed is then an `ImportError`, and the report
lists it as missing.
"""
