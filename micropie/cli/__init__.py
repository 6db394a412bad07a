"""The command line: ``micropie run app:app``, also ``python -m micropie``.

Open the module named after a command to change it: ``run.py``, ``routes.py``, ``check.py``,
``shell.py``, ``new.py``, and ``moving`` for ``check --from``. Open ``main.py`` to add a command,
``target.py`` for how an application is found, ``command.py`` for an application's own commands,
``pytest_plugin.py`` for the fixture ``any_client``. ``serving`` starts servers.
"""
