"""A PyInstaller hook. It lists all modules of ``micropie_compat``, because some are imported by a
name in a string, and PyInstaller doesn't find such imports.
"""

from PyInstaller.utils.hooks import collect_submodules

hiddenimports = collect_submodules(
    "micropie_compat", filter=lambda name: name.split(".")[1:2] not in (["moving"], ["pyinstaller"])
)
