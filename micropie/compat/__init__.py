"""Modules that stand in for other frameworks, for applications that move in: ``from micropie.compat import bottle``.

Nothing here is imported by ``import micropie``.
"""
