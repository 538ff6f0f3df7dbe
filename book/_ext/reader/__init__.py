"""Make the rendered book light, offline and accessible.

A Sphinx extension for Jupyter Book 1.0.4 (Sphinx 7.4, sphinx-book-theme
1.3.0). Every repair names the fault that it removes, and does nothing where
the theme has mended it.
"""

from reader import formulas, head, offline, package_cells, repairs


def setup(app) -> dict[str, bool]:
    """Connect all parts to Sphinx."""
    for part in (formulas, head, offline, package_cells, repairs):
        part.connect(app)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
