"""What makes the book: the tangler, comparing, gluing, figures, drawings."""

from bookkit.checkpoint import checkpoint_path
from bookkit.comparing import agree
from bookkit.gluing import glue
from bookkit.referee import referee

__all__ = ["agree", "checkpoint_path", "glue", "referee"]
