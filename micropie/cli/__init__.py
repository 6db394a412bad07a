"""The command line: ``micropie run app:app``, also ``python -m micropie``.

To change a command, open the module named after it: ``run.py``, ``routes.py``, ``check.py``,
``shell.py`` or ``new.py``. Open ``main.py`` to add a command. Other files and packages:

- ``target.py``: how an application is found
- ``command.py``: an application's own commands
- ``lost_names.py``: the names of templates and routes, for ``check`` and editors
- ``migrated.py``: the import of the package ``micropie_compat``, for ``check --from`` and
  ``run --stand-in``
- ``pytest_plugin.py``: the fixture ``any_client``
- ``serving``: how servers are started
"""
