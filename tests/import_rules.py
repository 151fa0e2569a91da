"""What import-linter holds our imports to, beyond its own contracts (pyproject.toml, `[tool.importlinter]`)."""

from __future__ import annotations

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class EngineContract(Contract):
    """The packages inside each of `packages` are the engine, the modules beside them are tables: the engine imports none.

    No list of tables is needed, so that adding one edits nothing here.
    """

    packages = fields.ListField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Find every import of a table by the engine."""
        broken: list[tuple[str, str]] = []
        for package in self.packages:
            children = graph.find_children(package)
            tables = {child for child in children if not graph.find_children(child)}
            engine = {module for child in children - tables for module in {child, *graph.find_descendants(child)}}
            broken += [
                (module, imported)
                for module in sorted(engine)
                for imported in sorted(graph.find_modules_directly_imported_by(module) & tables)
            ]
        return ContractCheck(kept=not broken, metadata={"broken": broken})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print each import that breaks it."""
        for module, imported in check.metadata["broken"]:
            output.print_error(f"{module} imports the table {imported}; pass what it needs as an argument")
