"""One colour for each kind of thing, light and dark; the one source of both.

Hues are from Okabe and Ito's set for colour-blind readers, darkened or
lightened until they stand out from the page's ground. The tests measure it.
"""

# name: (on a light page, on a dark page)
PALETTE: dict[str, tuple[str, str]] = {
    "ink": ("#1f2328", "#e6e6e6"),
    "muted": ("#6e7781", "#9aa4ae"),
    "ground": ("#ffffff", "#121212"),
    "token": ("#8a5a00", "#e6a93c"),
    "hidden": ("#0062a8", "#5ab4f0"),
    "attention": ("#c2410c", "#ff9466"),
    "feed-forward": ("#00795a", "#3fd0a4"),
    "loss": ("#a1216b", "#f08cc4"),
    "highlight": ("#b00020", "#ff7b86"),
    "query": ("#0062a8", "#5ab4f0"),
    "key": ("#8a5a00", "#e6a93c"),
    "value": ("#00795a", "#3fd0a4"),
    "position": ("#5b3fa8", "#b9a3ff"),
    "segment": ("#00795a", "#3fd0a4"),
    "head": ("#c2410c", "#ff9466"),
    "norm": ("#5b3fa8", "#b9a3ff"),
    "logit": ("#a1216b", "#f08cc4"),
}


def css() -> str:
    """The rules that give every `--fig-...` variable its colour."""
    light = "".join(f"--fig-{n}:{c[0]};" for n, c in PALETTE.items())
    dark = "".join(f"--fig-{n}:{c[1]};" for n, c in PALETTE.items())
    return f':root{{{light}}}\nhtml[data-theme="dark"]{{{dark}}}\n'
