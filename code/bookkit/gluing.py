"""Numbers that a cell computes and a sentence shows."""

from IPython import get_ipython


class Bare:
    """A text whose printed form has no quotation marks."""

    def __init__(self, text: str):
        self.text = text

    def __repr__(self) -> str:
        return self.text


def glue(name: str, value: object, format: str = "{}") -> None:
    r"""Keep `value` for the sentence that says `{glue:text}` and `name`.

    Args:
        name: What the sentence calls it; unique in the chapter.
        value: A number, a string, anything that `format` takes.
        format: How it is written, such as "{:.2f}" or "{:,}".
    """
    text = Bare(format.format(value))
    # Without a kernel there is no page to show it on.
    if get_ipython() is not None:
        from myst_nb import glue as keep

        keep(name, text, display=False)
