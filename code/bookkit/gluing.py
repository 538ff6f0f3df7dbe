"""Numbers that a cell computes and a sentence shows."""

from IPython import get_ipython


def glue(name: str, value: object, format: str = "{}") -> None:
    """Keep `value` for the sentence that says {glue:text}`name`.

    Args:
        name: What the sentence calls it; unique in the chapter.
        value: A number, a string, anything that `format` takes.
        format: How it is written, such as "{:.2f}" or "{:,}".
    """
    text = format.format(value)
    # Without a kernel there is no page to show it on.
    if get_ipython() is not None:
        from myst_nb import glue as keep

        # A string, which {glue:text} shows without its quotation marks. It
        # reads anything else as Python: 3.10 would lose its last digit, and
        # 30,522 become a pair.
        keep(name, text, display=False)
