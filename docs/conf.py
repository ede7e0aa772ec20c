"""How Sphinx builds the documentation: `make docs`. Nothing is loaded from a network, at build or by the pages."""

from __future__ import annotations

from importlib.metadata import version as version_of

project = "trackhooks"
author = "The trackhooks developers"
copyright = "2026, The trackhooks developers"  # noqa: A001  (Sphinx reads this name)
version = release = version_of("trackhooks")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["Thumbs.db", ".DS_Store"]

html_theme = "furo"
html_title = f"trackhooks {version}"
html_show_sphinx = False

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# Docstrings are written for who reads the source: `x` is code there, as in Markdown.
default_role = "literal"
napoleon_numpy_docstring = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100

copybutton_prompt_text = "$ "
