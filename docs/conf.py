"""How Sphinx builds the documentation: `make docs`. Nothing is loaded from a network, at build or by the pages."""

from __future__ import annotations

import inspect
from importlib import import_module
from importlib.metadata import version as version_of
from typing import Any

import click
from docutils.nodes import Node, literal_block
from sphinx.application import Sphinx
from sphinx.ext.napoleon.docstring import GoogleDocstring
from sphinx.util.docutils import SphinxDirective

from trackhooks.cli.main import main

project = "trackhooks"
author = "The trackhooks developers"
copyright = "2026, The trackhooks developers"  # noqa: A001 — Sphinx reads this name
version = release = version_of("trackhooks")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton"]

html_theme = "furo"
html_title = f"trackhooks {version}"
html_show_sphinx = False
html_static_path = ["static"]
html_css_files = ["tables.css"]

myst_heading_anchors = 3

default_role = "literal"  # `x` is code in our docstrings, as in Markdown
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100

copybutton_prompt_text = "$ "


def _parse_sections(app: Sphinx, what: Any, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Reads `Args:` and `Raises:` as Google's style has them.

    Not napoleon's own handler: in an attribute's docstring it takes the text before a colon as the type.
    """
    kind: Any = "object" if what in ("attribute", "data", "property") else what
    lines[:] = GoogleDocstring(lines, what=kind, name=name, obj=obj, options=options).lines()


class ModuleText(SphinxDirective):
    """`module-text`: a module's docstring, which is Markdown in ours, as a part of a page."""

    required_arguments = 1

    def run(self) -> list[Node]:
        """The parsed docstring."""
        text = inspect.getdoc(import_module(self.arguments[0])) or ""
        return self.parse_text_to_nodes(text)


class CommandHelp(SphinxDirective):
    """`command-help`: what `trackhooks COMMAND --help` prints; the arguments name the command."""

    optional_arguments = 1

    def run(self) -> list[Node]:
        """The help as a block of text."""
        context = click.Context(main, info_name="trackhooks", **main.context_settings)
        for name in self.arguments:
            context = click.Context(main.commands[name], context, name)
        text = context.get_help()
        return [literal_block(text, text, language="text")]


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.add_directive("command-help", CommandHelp)
    app.add_directive("module-text", ModuleText)
    app.connect("autodoc-process-docstring", _parse_sections)
