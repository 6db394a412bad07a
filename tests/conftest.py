"""The tests' fixtures and options are in ``tests/support/plugin.py``, which compat/tests has as well."""

pytest_plugins = ["tests.support.plugin"]
