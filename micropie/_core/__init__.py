"""The core: the life of a request, independent of any server.

Nothing in ``_core`` is public. Public names are in the packages and modules next to it.

Open ``flow/http.py`` to change the stages of a request. This file calls all other packages. The
other files:

- ``tree.py``: what an ``App`` registers, compiles and starts
- ``errors.py``: the exceptions
- ``on_demand.py``: what an import of micropie loads
- ``spellings.py``: the alternative names that applications written for MicroPie use

A new optional dependency needs an extra in ``pyproject.toml``. Only one module may import it; add
this module to the contract "dependencies" in ``.importlinter``.
"""
