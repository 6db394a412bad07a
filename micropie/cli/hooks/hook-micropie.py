"""A PyInstaller hook. It lists all modules of micropie and of the installed servers, because some
modules are imported by a name in a string, and PyInstaller doesn't find such imports.
"""

from importlib.util import find_spec

from PyInstaller.utils.hooks import collect_submodules

from micropie.cli.serving.servers import SERVERS

_packages = ["micropie", *dict.fromkeys(one.name for one in SERVERS if one.package is not None)]
hiddenimports = [
    name
    for package in _packages
    if find_spec(package) is not None
    for name in collect_submodules(package, filter=lambda name: name.split(".")[1:2] != ["testing"])
]
