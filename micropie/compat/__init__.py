"""Modules that stand in for other frameworks, for applications that move in:
``from micropie.compat import bottle``.

``install("bottle")`` makes it what every ``import bottle`` of the process gives, those of plugins
too. Nothing here is imported by ``import micropie``.
"""

from micropie.compat.missing import ADVICE, advice_for
from micropie.compat.stand_in import install

__all__ = ["ADVICE", "advice_for", "install"]
