"""The command line: ``micropie run app:app``, also ``python -m micropie``.

Open the module with the command's name to change it: ``run.py``, ``routes.py``, ``check.py``,
``shell.py``, ``new.py``, ``moving`` for ``check --from``. Open ``main.py`` to add a command,
``target.py`` for how an application is found, ``command.py`` for an application's own commands,
``pytest_plugin.py`` for the fixture ``any_client``. ``serving`` starts servers.
"""
