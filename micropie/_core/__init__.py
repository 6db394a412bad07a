"""The core: the life of a request, independent of any server.

Nothing in it is public. Public names are in the packages and modules beside ``_core``.
"""
