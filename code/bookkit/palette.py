"""One colour for each kind of thing, light and dark; the one source of both.

The colours were searched for, not chosen by taste alone: within each group
of TOGETHER every two of them differ, on either page, for readers with each
kind of colour blindness; and each is dark or light enough to write with.
`tests/test_book_figures.py` computes both.
"""

# name: (on a light page, on a dark page)
PALETTE: dict[str, tuple[str, str]] = {
    "ink": ("#1f2328", "#e6e6e6"),
    "muted": ("#6e7781", "#9aa4ae"),
    "ground": ("#ffffff", "#121212"),
    "token": ("#80694a", "#fdbf49"),
    "position": ("#5e2d8d", "#e8c2fe"),
    "segment": ("#035d57", "#34a699"),
    "hidden": ("#0062a8", "#5ab4f0"),
    "query": ("#323d9a", "#cad6ff"),
    "key": ("#873c02", "#ffcca0"),
    "value": ("#5a7e52", "#93be9b"),
    "head": ("#a33525", "#fb9a8b"),
    "attention": ("#c2410c", "#ff9466"),
    "feed-forward": ("#01583b", "#5be0a9"),
    "norm": ("#55407e", "#ccc6fe"),
    "logit": ("#9a497d", "#cd91be"),
    "loss": ("#9a2d5c", "#fecde3"),
    "highlight": ("#b60118", "#fd7e76"),
}

# What may stand side by side in a figure and be told apart by colour. Every
# other difference is also written, dashed, or drawn as another shape.
TOGETHER: tuple[tuple[str, ...], ...] = (
    ("token", "position", "segment", "hidden"),
    ("query", "key", "value", "hidden"),
    ("query", "key", "value", "attention"),
    ("attention", "feed-forward", "norm", "hidden"),
    ("hidden", "attention", "feed-forward", "loss", "token"),
    ("token", "hidden", "attention", "norm", "logit"),
    ("logit", "highlight", "hidden"),
    ("highlight", "hidden", "muted"),
    ("loss", "attention", "muted"),
    ("head", "hidden"),
)


def css() -> str:
    """The rules that give every `--fig-...` variable its colour.

    `--fig-page` is what lies under a figure: nothing on these pages, white
    where the rules are missing, as in a notebook with a dark theme.
    """
    light, dark = (
        "".join(f"--fig-{name}:{pair[i]};" for name, pair in PALETTE.items())
        for i in (0, 1)
    )
    return (
        f":root{{--fig-page:transparent;{light}}}\n"
        f'html[data-theme="dark"]{{{dark}}}\n'
    )
