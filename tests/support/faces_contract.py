"""import-linter's contract of the faces: outside of a package of micropie one imports from the
package, not from its modules.
"""

from __future__ import annotations

from typing import Any

import grimp
from importlinter import Contract, ContractCheck, fields, output
from importlinter.application import contract_utils


class FacesContract(Contract):
    """Each import of a module by another package.

    ``package``: the root; ``ignore_imports``: the exceptions.
    """

    type_name = "faces"

    package = fields.StringField()
    ignore_imports = fields.SetField(subfield=fields.ImportExpressionField(), required=False)

    def check(self, graph: grimp.ImportGraph, verbose: bool) -> ContractCheck:
        """See ``Contract``."""
        # import-linter puts the values of an instance in the place of the class's fields.
        package = str(self.package)
        exceptions: Any = self.ignore_imports
        error = contract_utils.AlertLevel.ERROR
        warnings = contract_utils.remove_ignored_imports(graph, exceptions, error)
        depth = package.count(".") + 2
        wrong = sorted(
            (importer, imported)
            for importer in graph.modules
            for imported in graph.find_modules_directly_imported_by(importer)
            if imported.count(".") >= depth
            and imported.startswith(f"{package}.")
            and importer.split(".")[:depth] != imported.split(".")[:depth]
        )
        return ContractCheck(kept=not wrong, warnings=warnings, metadata={"wrong": wrong})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """See ``Contract``."""
        for importer, imported in check.metadata["wrong"]:
            output.print_error(
                f"{importer} imports {imported}: import from the package", bold=False
            )
