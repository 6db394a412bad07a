"""The applications of ``benchmarks.techempower``: one file per framework, each written as its own
documentation writes it. They share the queries (``data.py``) and the template.
"""
