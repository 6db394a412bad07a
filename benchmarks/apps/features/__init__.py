"""The contenders of `benchmarks.features`, one file each.

A file has `make_asgi()`, `make_wsgi()` or both, which return an application for each case: hooks
and middleware of one case must not slow down another. A case for which a framework has nothing is
left out. Each is written as the framework's own documentation writes it; where the framework has
nothing for a part of the "real site", such as a check against forged forms or an access log, the
part is written by hand in a few lines, because a site needs it.
"""
