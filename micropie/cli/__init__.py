"""The command line: ``micropie run app:app``, also ``python -m micropie``.

To change a command, open the module named after it: ``run.py``, ``routes.py``, ``check.py``,
``shell.py``, ``new.py``, and ``moving`` for ``check --from``. Open ``main.py`` to add a command.
Other files and packages:

- ``target.py``: how an application is found
- ``command.py``: an application's own commands
- ``pytest_plugin.py``: the fixture ``any_client``
- ``serving``: how servers are started
"""
