"""The core: the life of a request, independent of any server.

Nothing in it is public. Public names are in the packages and modules beside ``_core``.

Open ``flow/http.py`` to change what happens when; it leads to all other packages. Open ``tree.py``
to change what an ``App`` registers, compiles and starts, ``errors.py`` to add an exception,
``on_demand.py`` to change what an import of micropie loads, and ``spellings.py`` for the second
names that applications written for MicroPie use. A new optional dependency is an extra in
``pyproject.toml`` and one module, which the contract "dependencies" there lists.
"""
