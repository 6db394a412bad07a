"""A handler's signature: ``plan.py`` compiles it, ``parameters.py`` finds the value of a parameter.

``sources.py`` has the sources that an annotation may state, and ``results.py`` reads the annotation
of the result.
"""
