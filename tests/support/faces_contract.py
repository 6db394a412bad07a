"""import-linter's contract of the faces: outside of a package of micropie one imports from the
package, not from its modules.
"""

from __future__ import annotations

from typing import Any

import grimp
from importlinter import Contract, ContractCheck, fields, output


class FacesContract(Contract):
    """Each import of a module by another package.

    ``containers``: each module and package directly inside them is one with a face. ``parts``: those
    further inside that have a face too.
    """

    type_name = "faces"

    containers = fields.SetField(subfield=fields.StringField())
    parts = fields.SetField(subfield=fields.StringField())

    def check(self, graph: grimp.ImportGraph, verbose: bool) -> ContractCheck:
        """See ``Contract``."""
        wrong = sorted(
            (importer, imported)
            for importer in graph.modules
            for imported in graph.find_modules_directly_imported_by(importer)
            if (package := self.package_of(imported)) != imported
            and not importer.startswith(f"{package}.")
            and importer != package
        )
        return ContractCheck(kept=not wrong, metadata={"wrong": wrong})

    def package_of(self, module: str) -> str:
        """Return the package with a face in which a module is, or the module itself."""
        # import-linter puts the values of an instance instead of the class's fields.
        containers: Any = self.containers
        parts: Any = self.parts
        found = module
        while found not in parts and (above := found.rpartition(".")[0]) not in containers:
            if not above:
                return module
            found = above
        return found

    def render_broken_contract(self, check: ContractCheck) -> None:
        """See ``Contract``."""
        for importer, imported in check.metadata["wrong"]:
            output.print_error(
                f"{importer} imports {imported}: import from the package", bold=False
            )
