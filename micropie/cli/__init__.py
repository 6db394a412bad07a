"""The command line: ``micropie run app:app``, also ``python -m micropie``.

To change a command, open the module named after it: ``run.py``, ``routes.py``, ``check.py``,
``shell.py``, ``new.py``, and ``moving`` for ``check --from``. Open ``main.py`` to add a command,
``target.py`` to change how an application is found, ``command.py`` for an application's own
commands, ``pytest_plugin.py`` for the fixture ``any_client``, and ``serving`` for how servers are
started.
"""
