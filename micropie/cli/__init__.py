"""The command line: ``micropie run app:app``, also ``python -m micropie``.

One module for each command.
"""
