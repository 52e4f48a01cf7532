"""The directive `option-table` for pages: the options of a configuration class, from their declarations.

Its argument is the class as `package.module.Class`; `:without:` names classes whose options stand elsewhere.
"""

import importlib
from typing import Any, ClassVar

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from docs.option_tables import option_table


class OptionTable(SphinxDirective):
    """See the module."""

    required_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {"without": str.split}

    def run(self) -> list[nodes.Node]:
        """Let the page's own parser read the table."""
        config_class = _load(self.arguments[0])
        table = option_table(config_class, map(_load, self.options.get("without", ())))
        self.env.note_dependency(importlib.import_module(config_class.__module__).__file__ or "")
        holder = nodes.Element()
        self.state.nested_parse(StringList(table.splitlines(), self.arguments[0]), self.content_offset, holder)
        return holder.children


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directive."""
    app.add_directive("option-table", OptionTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _load(name: str) -> type:
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)
