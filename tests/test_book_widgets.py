"""The widgets of the pages, in a real browser, against the package."""

import base64
import copy
import dataclasses
import random
import re

import numpy as np
import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright
from sphinx.errors import ExtensionError

from bert import BertConfig, BertForMaskedLM, BertTokenizer, fill_mask
from bert.tokenizer import SPECIAL_PATTERN, SPECIAL_TOKENS
from bert.wordpiece import LONGEST_WORD
from bookkit import checkpoint_path, live, widgets
from bookkit.palette import css
from tests.test_tokenizer import random_texts

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--no-first-run",
]  # fmt: skip
SENTENCE = widgets.EXAMPLE
PAIR = ("Where did the dog go?", "It went to the [MASK] again.")


@pytest.fixture(scope="module")
def tokenizer():
    return BertTokenizer.from_pretrained(checkpoint_path())


@pytest.fixture(scope="module")
def model():
    return BertForMaskedLM.from_pretrained(checkpoint_path())


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=FLAGS
        )
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, tmp_path):
    """A function that opens HTML from the disk; fails on any page error."""
    contexts, errors = [], []

    def open_page(html, failing=False, **options):
        options = {"viewport": {"width": 1000, "height": 800}} | options
        theme = "dark" if options.get("color_scheme") == "dark" else "light"
        file = tmp_path / "page.html"
        file.write_text(
            f'<!doctype html><html lang="en" data-theme="{theme}" '
            'data-content_root="./"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width">'
            f"<title>A page</title><style>{css()}"
            ":root { --pst-color-background: var(--fig-ground);"
            " --pst-color-text-base: var(--fig-ink); }"
            " body { background: var(--fig-ground); color: var(--fig-ink); }"
            "</style></head><body><main><h1>A page</h1>"
            f"<h2>A part</h2><h3>A part of it</h3>{html}</main></body></html>",
            "utf-8",
        )
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.requests = []
        page.on("request", lambda request: page.requests.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on(
            "console",
            lambda message: (
                message.type == "error"
                and not failing
                and errors.append(message.text)
            ),
        )
        page.goto(file.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []


PHONE = {
    "viewport": {"width": 390, "height": 800},
    "has_touch": True,
    "is_mobile": True,
}
MODES = {"light": {}, "dark": {"color_scheme": "dark"}, "phone": PHONE}


@pytest.fixture(scope="module")
def views(tokenizer, model):
    """The widgets that need no further files."""
    pair = tokenizer(*PAIR, return_tensors="pt")
    with torch.no_grad():
        out = model(**pair, output_attentions=True)
    tokens = tokenizer.convert_ids_to_tokens(pair["input_ids"][0].tolist())
    segments = pair["token_type_ids"][0].tolist()
    return {
        "tokenizer-view": widgets.tokenizer_view(tokenizer),
        "attention-view": widgets.attention_view(
            tokens, out.attentions, segments, layer=1, head=2
        ),
        "trace-view": widgets.trace_view(model, tokenizer),
    }


# --- the tokenizer's twin --------------------------------------------------


@pytest.fixture
def twin(open_page):
    """A function that runs the page's own tokenizer."""

    def twin(tokenizer):
        page = open_page(widgets.tokenizer_view(tokenizer)._repr_html_())
        page.evaluate(
            "() => { const { tokenizer } = "
            "document.querySelector('tokenizer-view');"
            " globalThis.ids = (text) => tokenizer.encode(text).ids;"
            " globalThis.words = (text) => tokenizer.explain(text)"
            ".flatMap((part) => part.special ?? part.words"
            ".map(({ word }) => word)); }"
        )
        return lambda what, texts: page.evaluate(
            f"(texts) => texts.map({what})", texts
        )

    return twin


def test_twin_cuts_every_code_point_as_the_package(twin, tokenizer):
    """Words, not ids: an unknown word's id would hide what is in it."""
    run = twin(tokenizer)
    points = [*range(0xD800), *range(0xE000, 0x110000)]
    for start in range(0, len(points), 0x4000):
        some = points[start : start + 0x4000]
        text = " ".join(f"x{chr(point)}y" for point in some)
        (found,) = run("words", [text])
        assert found == tokenizer.words(text), f"from U+{some[0]:04X} on"


def fuzz_texts(count):
    """Texts that a tokenizer finds hard, from a fixed seed."""
    chance = random.Random(20)
    marks = [chr(c) for c in (0x301, 0x327, 0x93C, 0x302E, 0x1B44, 0x1D165)]
    ingredients = [
        *"abcxyzABCXYZ0123456789.,;:!?'\"-_$~`^ \t\n\r\0\x7f",
        *"éÉñÅßıİſΣςǅﬁ½²ªΩÅ가힣각한国語々〆ー。、「🙂👩‍🚀‍\ufeff\xad\u200b\u3000",
        *marks, *marks,
        "[MASK]", "[SEP]", "[mask]", "[UNK", "##", "un", "affable", "ing",
        "unaffable", "supercalifragilistic", "x" * 101, "naïve", "Ångström",
    ]  # fmt: skip
    points = [*range(0x20, 0xD800), *range(0xE000, 0x30000)]
    for _ in range(count):
        length = chance.randint(0, 30)
        yield "".join(
            chance.choice(ingredients)
            if chance.random() < 0.85
            else chr(chance.choice(points))
            for _ in range(length)
        )


def test_twin_equals_the_package_on_hard_texts(twin, tokenizer):
    run = twin(tokenizer)
    texts = list(fuzz_texts(3000))
    found = zip(texts, run("ids", texts), run("words", texts), strict=True)
    for text, ids, words in found:
        assert ids == tokenizer.encode(text), repr(text)
        parts = SPECIAL_PATTERN.split(text)
        expected = [
            word
            for part in parts
            for word in (
                [part] if part in SPECIAL_TOKENS else tokenizer.words(part)
            )
        ]
        assert words == expected, repr(text)


def test_twin_has_the_ids_of_the_tokenizers_own_test(twin, tokenizer):
    texts = random_texts(0, tokenizer.tokens, 3000)
    assert twin(tokenizer)("ids", texts) == tokenizer(texts)["input_ids"]


def test_twin_gives_up_at_the_length_of_the_package(twin, tokenizer):
    run = twin(tokenizer)
    texts = ["a" * (LONGEST_WORD + more) for more in (-1, 0, 1)]
    assert run("ids", texts) == [tokenizer.encode(text) for text in texts]
    assert len(tokenizer.encode(texts[1])) > len(tokenizer.encode(texts[2]))


def test_twin_equals_the_package_on_pairs(open_page, tokenizer):
    page = open_page(widgets.tokenizer_view(tokenizer)._repr_html_())
    found = page.evaluate(
        "([a, b]) => document.querySelector('tokenizer-view')"
        ".tokenizer.encode(a, b)",
        PAIR,
    )
    expected = tokenizer(*PAIR)
    assert found["ids"] == expected["input_ids"]
    assert found["segments"] == expected["token_type_ids"]


@pytest.mark.parametrize(
    "settings",
    [
        {"do_lower_case": False},
        {"do_lower_case": False, "strip_accents": True},
        {"strip_accents": False},
        {"tokenize_chinese_chars": False},
    ],
)
def test_twin_follows_the_settings_of_the_package(twin, tokenizer, settings):
    other = BertTokenizer(tokenizer.vocab, **settings)
    texts = ["Rome rome naïve İÉ", "国語 x国y", "ÅSΣ\u302e\u1b44"]
    expected = [other.words(text) for text in texts]
    assert twin(other)("words", texts) == expected
    assert expected != [tokenizer.words(text) for text in texts]


def test_twin_never_asks_the_browser_about_a_character():
    script = (widgets.SCRIPTS / "wordpiece.js").read_text("utf-8")
    asking = r"normalize\(|toLowerCase|toLocale|\\p\{|\\s|\\w|\.trim\("
    assert re.findall(asking, script) == []


def test_typing_shows_the_ids_of_the_package(open_page, tokenizer):
    page = open_page(widgets.tokenizer_view(tokenizer)._repr_html_())
    page.get_by_label("Your text").fill("Unaffable 国\u00e9")
    shown = page.locator(".ids li").all_inner_texts()
    ids = [int(text.split()[-1]) for text in shown]
    assert ids == tokenizer.encode("Unaffable 国\u00e9")


def test_search_is_stepped_by_keyboard(open_page, tokenizer):
    page = open_page(
        widgets.tokenizer_view(tokenizer, "in unaffable ways")._repr_html_()
    )
    buttons = page.locator(".words button")
    assert buttons.nth(1).get_attribute("aria-pressed") == "true"
    page.get_by_role("button", name="From the start").focus()
    page.keyboard.press("Enter")
    status = page.locator("tokenizer-view [role=status]")
    assert "Try 1 of" in status.inner_text()
    assert "unaffable is not in" in status.inner_text()
    focused = "document.querySelector('tokenizer-view').shadowRoot"
    focused += ".activeElement.textContent"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # There is no way back: nothing happens.
    assert page.evaluate(focused) == "Back"
    assert "Try 1 of" in status.inner_text()
    page.keyboard.press("Tab")
    for _ in range(200):
        if page.get_by_role("button", name="Next try").is_disabled():
            break
        page.keyboard.press("Enter")
    at_the_end = status.inner_text()
    page.keyboard.press("Enter")
    assert page.evaluate(focused) == "Next try"
    assert status.inner_text() == at_the_end
    pieces = tokenizer.tokenize("unaffable")
    assert f"The word is {' '.join(pieces)}." in status.inner_text()
    buttons.nth(1).focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    assert buttons.nth(0).get_attribute("aria-pressed") == "true"
    assert "in is in the vocabulary" in status.inner_text()


def test_search_is_stepped_by_touch(open_page, tokenizer):
    page = open_page(
        widgets.tokenizer_view(tokenizer, "an unaffable man")._repr_html_(),
        **PHONE,
    )
    page.locator(".words button").nth(1).tap()
    page.get_by_role("button", name="Back").tap()
    tries = page.locator(".tries li").count()
    page.get_by_role("button", name="Back").tap()
    assert page.locator(".tries li").count() == tries - 1


# --- attention -------------------------------------------------------------


def test_attention_bytes_are_the_weights_of_the_package(
    views, model, tokenizer
):
    data = views["attention-view"].data
    found = np.frombuffer(base64.b64decode(data["weights"]), np.uint8) / 255
    with torch.no_grad():
        out = model(
            **tokenizer(*PAIR, return_tensors="pt"), output_attentions=True
        )
    exact = torch.cat(out.attentions).numpy().ravel()
    assert np.abs(found - exact).max() <= 0.5 / 255 + 1e-6


def test_attention_refuses_weights_of_other_tokens(model, tokenizer):
    batch = tokenizer(SENTENCE, return_tensors="pt")
    out = model(**batch, output_attentions=True)
    with pytest.raises(ValueError, match="do not fit 2 tokens"):
        widgets.attention_view(["a", "b"], out.attentions)


def described(text):
    """The (word, weight) pairs of a sentence of the attention widget."""
    words = text.partition("looks at ")[2].partition(". In its")[0]
    return re.findall(r"(\S+) (\d\.\d\d)", words)


def weights_of(view):
    data = view.data
    seq = len(data["tokens"])
    raw = np.frombuffer(base64.b64decode(data["weights"]), np.uint8)
    return raw.reshape(data["layers"], data["heads"], seq, seq) / 255


def test_attention_by_keyboard(open_page, views):
    view = views["attention-view"]
    weights, tokens = weights_of(view), view.data["tokens"]
    page = open_page(view._repr_html_())
    # Two heads to the right and one layer down, then the next word.
    page.get_by_role("button", name="Layer 1, head 2", exact=True).focus()
    for key in ["ArrowRight", "ArrowRight", "ArrowDown", "Enter"]:
        page.keyboard.press(key)
    rows = page.locator("attention-view tbody button")
    rows.nth(2).focus()
    page.keyboard.press("ArrowDown")
    text = page.locator("attention-view .looks").inner_text()
    assert text.startswith(f"Layer 2, head 4: {tokens[3]} looks at")
    best = np.sort(weights[2, 4, 3])[::-1][:4]
    found = [float(weight) for _, weight in described(text)]
    assert found == pytest.approx(best, abs=0.0051)
    own = weights[2, 4, 3][np.array(view.data["segments"]) == 0].sum()
    said = float(re.search(r"own sentence (\d\.\d\d)", text)[1])
    assert said == pytest.approx(min(own, 1), abs=0.0051)


def test_attention_by_touch_and_two_heads_compared(open_page, views):
    page = open_page(views["attention-view"]._repr_html_(), **PHONE)
    page.get_by_role("button", name="Pin, to compare").tap()
    page.get_by_role("button", name="Layer 0, head 1", exact=True).tap()
    captions = page.locator("attention-view .large caption")
    assert captions.all_inner_texts() == [
        "Layer 1, head 2 (pinned)",
        "Layer 0, head 1",
    ]
    page.locator(".large table").nth(1).locator("tbody button").nth(4).tap()
    word = views["attention-view"].data["tokens"][4]
    text = page.locator(".looks p").all_inner_texts()
    assert len(text) == 2
    assert all(f": {word} looks at" in line for line in text)
    page.get_by_role("button", name="Unpin").tap()
    assert captions.count() == 1


def test_attention_maps_are_painted_in_both_themes(open_page, views):
    page = open_page(views["attention-view"]._repr_html_())
    pixel = (
        "() => [...document.querySelector('attention-view').shadowRoot"
        ".querySelector('canvas').getContext('2d')"
        ".getImageData(0, 0, 1, 1).data]"
    )
    light = page.evaluate(pixel)
    page.evaluate("() => { document.documentElement.dataset.theme = 'dark' }")
    page.wait_for_timeout(100)
    dark = page.evaluate(pixel)
    strength = 255 * np.sqrt(weights_of(views["attention-view"])[0, 0, 0, 0])
    assert light[3] == pytest.approx(strength, abs=1)
    assert dark[3] == light[3]
    assert dark[:3] != light[:3]


# --- one number ------------------------------------------------------------


def test_trace_parts_add_up_to_their_number(views):
    trace = views["trace-view"].trace
    assert len(trace.steps) > 100
    assert 0 < trace.error < 1e-12


def test_trace_begins_at_the_logits_of_the_package(views, model, tokenizer):
    batch = tokenizer(SENTENCE, return_tensors="pt")
    at = batch["input_ids"][0].tolist().index(tokenizer.mask_token_id)
    with torch.no_grad():
        logits = model(**batch).logits[0, at]
    trace = views["trace-view"].trace
    for token, name in trace.starts:
        number = tokenizer.convert_tokens_to_ids(token)
        assert trace.steps[name].value == pytest.approx(
            float(logits[number]), abs=2e-5
        )


def test_trace_of_a_head_is_its_product_with_a_gradient(views):
    """What a head adds, by torch's gradient with norms and GELU held."""
    trace = views["trace-view"].trace
    name = trace.starts[0][1]
    pieces, at = trace.pieces, trace.at
    kept, last = pieces.layers[-1], len(pieces.layers) - 1
    attention = kept["layer"].attention
    value = attention.value(pieces.states[-2])  # [seq, hidden]
    width = value.shape[1] // attention.heads
    direction = held_direction(pieces, kept, at, int(name))
    parts = trace.steps[f"{name}.layers.a{last}"].parts
    heads = [part for part in parts if part.label.startswith("head ")]
    assert len(heads) > 5
    for part in heads:
        h = int(part.label.removeprefix("head "))
        columns = slice(h * width, (h + 1) * width)
        mixed = kept["weights"][h, at] @ value[:, columns]  # [head]
        added = attention.output.weight[:, columns] @ mixed  # [hidden]
        expected = float((direction @ added).detach())
        assert part.value == pytest.approx(expected, abs=1e-10)


def held_direction(pieces, kept, at, number):
    """The gradient of the logit by the last attention's output, all held."""
    added = kept["attended"][at].clone().requires_grad_()

    def norm_held(norm, x, before):
        root = (before.var(correction=0) + norm.eps).sqrt()
        return (x - x.mean()) / root * norm.weight + norm.bias

    layer, head = kept["layer"], pieces.head
    before = pieces.states[-2][at] + added
    middle = norm_held(
        layer.attention_norm, before, kept["before_attention_norm"][at]
    )
    state = norm_held(
        layer.feed_forward_norm,
        middle + kept["fed"][at],
        kept["before_norm"][at],
    )
    inner = head.dense(pieces.states[-1][at]).detach()
    factor = head.activation(inner) / inner
    units = head.dense(state) * factor
    vector = norm_held(head.norm, units, head.activation(inner))
    logit = head.decoder.weight[number] @ vector
    return torch.autograd.grad(logit, added)[0]


def test_trace_names_sections_that_are_there(views, monkeypatch):
    kinds = views["trace-view"].data["kinds"]
    assert kinds.keys() == {
        step["kind"] for step in views["trace-view"].data["steps"].values()
    }
    for kind in kinds.values():
        page, _, label = kind["section"]["href"].partition("#")
        text = (widgets.ROOT / "book" / page).with_suffix(".md").read_text()
        title = kind["section"]["text"].partition(", ")[2]
        assert re.search(rf"\({label}\)=\n#+ {re.escape(title)}\n", text)
    monkeypatch.setitem(widgets.SOURCES, "head", ("", "no-such-label"))
    with pytest.raises(LookupError, match="no-such-label"):
        widgets.section("head")


def test_trace_counts_layers_heads_and_positions_from_zero(views, model):
    trace = views["trace-view"].trace
    labels = {
        part.label for step in trace.steps.values() for part in step.parts
    }
    last = model.config.num_hidden_layers - 1
    assert f"layer {last}, attention" in labels
    assert f"layer {last + 1}, attention" not in labels
    for step in trace.steps.values():
        if step.kind == "head":
            token, _, rest = step.parts[0].label.partition(", position ")
            assert trace.tokens[int(rest.partition(",")[0])] == token


def test_trace_of_the_decoder_is_the_formula_of_the_chapter(views):
    """Every product is an embedding's feature times one of t."""
    trace = views["trace-view"].trace
    name = trace.starts[0][1]
    head, state = trace.pieces.head, trace.pieces.states[-1][trace.at]
    with torch.no_grad():
        t = head.norm(head.activation(head.dense(state)))
        products = head.decoder.weight[int(name)] * t
    parts = trace.steps[name].parts
    named = [part for part in parts if part.label.startswith("feature ")]
    assert len(named) > 5
    for part in named:
        d = int(part.label.removeprefix("feature ").partition(":")[0])
        assert part.value == pytest.approx(float(products[d]), abs=1e-10)


def test_trace_by_keyboard_down_to_the_embeddings(open_page, views):
    view = views["trace-view"]
    page = open_page(view._repr_html_())
    widget = page.locator("trace-view")
    for _ in range(2):  # decoder, transform, layers
        widget.locator("button.earlier").focus()
        page.keyboard.press("Enter")
    path = widget.locator(".path button")
    assert path.all_inner_texts() == ["decoder", "transform", "layers"]
    steps = view.data["steps"]
    for name in way_to_a_source(view):
        label = next(
            label
            for step in steps.values()
            for label, _, behind in step["parts"]
            if behind == name
        )
        widget.get_by_role("button", name=label).first.focus()
        page.keyboard.press("Enter")
        assert path.last.inner_text() == steps[name]["short"]
    shown = widget.locator(".parts").inner_text()
    assert all(label in shown for label, _, _ in steps[name]["parts"])
    path.first.focus()
    page.keyboard.press("Enter")
    assert path.count() == 1


def way_to_layers(view):
    """The name of the step that splits the first logit by layers."""
    step = view.data["steps"][view.data["starts"][0]["step"]]
    return view.data["steps"][step["next"]]["next"]


def way_to_a_source(view):
    """Names of an attention, one of its heads and a token behind that.

    Embeddings are among the token's largest parts.
    """
    steps = view.data["steps"]

    def behind(name, kind):
        return [
            step
            for _, _, step in steps[name]["parts"]
            if step and steps[step]["kind"] == kind
        ]

    return next(
        [attention, head, source]
        for attention in behind(way_to_layers(view), "attention")
        for head in behind(attention, "head")
        for source in behind(head, "source")
        if any("embedding of" in part for part, _, _ in steps[source]["parts"])
    )


def test_trace_by_touch_shows_the_numbers_of_the_package(open_page, views):
    view = views["trace-view"]
    page = open_page(view._repr_html_(), **PHONE)
    page.locator("button.earlier").tap()
    page.locator("button.earlier").tap()
    name = way_to_layers(view)
    step = view.trace.steps[name]
    cells = page.locator(".parts tbody td:nth-child(2)").all_inner_texts()
    found = [float(cell.replace("−", "-")) for cell in cells]
    parts = [*step.parts, step.rest]
    expected = [part.value for part in parts]
    assert found == pytest.approx(expected, abs=5.1e-5)
    assert sum(found) == pytest.approx(step.value, abs=len(found) * 5.1e-5)


# --- every widget ----------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_widgets_are_accessible_and_fit(open_page, views, mode):
    html = "".join(view._repr_html_() for view in views.values())
    page = open_page(html, **MODES[mode])
    found = Axe().run(page).response
    assert [
        (rule["id"], rule["nodes"][0]["html"]) for rule in found["violations"]
    ] == []
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= page.viewport_size["width"]
    assert all(url.startswith("file:") for url in page.requests)


def test_without_scripts_the_fallbacks_stand_there(open_page, views):
    html = "".join(view._repr_html_() for view in views.values())
    page = open_page(html, java_script_enabled=False)
    for name in views:
        assert page.locator(f"{name} table").first.is_visible()


def test_on_paper_the_fallbacks_stand_there(open_page, views):
    html = "".join(view._repr_html_() for view in views.values())
    page = open_page(html)
    for name in views:
        assert not page.locator(f"{name} > div table").first.is_visible()
    page.emulate_media(media="print")
    for name in views:
        assert page.locator(f"{name} > div table").first.is_visible()
        assert not page.locator(f"{name} .live").is_visible()


def test_scripts_are_small_and_ask_no_network():
    for script in widgets.SCRIPTS.glob("*.js"):
        text = script.read_text("utf-8")
        assert len(text) < 20_000, script.name
        assert re.findall(r"https?://|fetch\(|XMLHttp|import\(", text) == []


# --- the live page ---------------------------------------------------------


@pytest.fixture(scope="module")
def made():
    return live.export(checkpoint_path())


@pytest.fixture
def live_page(open_page, made, tmp_path):
    """The live page's widget, opened from the disk, with its weights."""
    made.write(tmp_path)

    def live_page(**options):
        return open_page(widgets.live_view()._repr_html_(), **options)

    return live_page


def weights_asked_for(page):
    return [url for url in page.requests if "_static/live" in url]


def run_by_keyboard(page, sentence, pair=""):
    """Type and press Enter; wait until all is there."""
    page.get_by_label("A sentence with").fill(sentence)
    page.get_by_label("A second sentence").fill(pair)
    page.keyboard.press("Enter")
    wait_until_done(page)


def wait_until_done(page):
    page.wait_for_function(
        "() => { const widget = document.querySelector('live-bert');"
        " return !widget.button.disabled"
        " && widget.shadowRoot.querySelector('attention-view'); }",
        timeout=120_000,
    )


def results(page, which="coarse"):
    """Logits and attention weights that the page computed."""
    found = page.evaluate(
        "(which) => { const run = document.querySelector('live-bert')"
        ".runs[which]; return [run.logits.map((x) => [...x]),"
        " run.attentions.map((x) => [...x])]; }",
        which,
    )
    return [np.array(part) for part in found]


def expected(model, tokenizer, *texts):
    batch = tokenizer(*texts, return_tensors="pt")
    masks = batch["input_ids"][0] == tokenizer.mask_token_id
    with torch.no_grad():
        out = copy.deepcopy(model).double()(**batch, output_attentions=True)
    attentions = torch.stack(out.attentions).flatten(start_dim=1)
    return out.logits[0, masks].numpy(), attentions.numpy()


def test_live_page_equals_the_package(live_page, made):
    page = live_page()
    rounded = live.rounded_model(made.model, fine=False)
    for texts in [(SENTENCE,), PAIR]:
        run_by_keyboard(page, *texts)
        logits, attentions = results(page)
        exact_logits, exact_attentions = expected(
            rounded, made.tokenizer, *texts
        )
        # Both compute in float64; but the package's copy of the weights has
        # been rounded to float32.
        assert np.abs(logits - exact_logits).max() < 1e-5
        assert np.abs(attentions - exact_attentions).max() < 1e-6
    assert "in a worker" in page.locator("[role=status]").first.inner_text()
    assert all(url.startswith(("file:", "blob:")) for url in page.requests)


def test_live_page_ranks_the_words_of_the_package(live_page, made):
    page = live_page()
    run_by_keyboard(page, "The [MASK] is in the [MASK].")
    rounded = live.rounded_model(made.model, fine=False)
    both = fill_mask(
        rounded, made.tokenizer, "The [MASK] is in the [MASK].", top_k=10
    )
    tables = page.locator(".masks table")
    assert tables.count() == len(both) == 2
    for table, guesses in zip(tables.all(), both, strict=True):
        rows = table.locator("tr").all_inner_texts()
        for row, guess in zip(rows, guesses, strict=True):
            _, word, percent = row.split("\t")[:3]
            assert word == guess.token
            found = float(percent.removesuffix("%"))
            assert found == pytest.approx(100 * guess.probability, abs=0.051)


def test_live_page_measures_the_error_of_int8(live_page, made):
    page = live_page()
    run_by_keyboard(page, *PAIR)
    page.get_by_role("button", name="Load the rest").press("Enter")
    page.locator(".error table").wait_for()
    exact, attentions = expected(made.model, made.tokenizer, *PAIR)
    coarse, _ = results(page, "coarse")
    fine, fine_attentions = results(page, "fine")
    error = np.abs(coarse - exact).max()
    rest = np.abs(fine - exact).max()
    assert rest < error / 50
    assert np.abs(fine_attentions - attentions).max() < 0.002
    rows = page.locator(".error tr").all_inner_texts()
    shown = dict(row.split("\t") for row in rows)
    said = float(shown["Largest difference of a logit"])
    # What is said differs from the error against float32 by at most what
    # the finer weights still lack.
    assert said == pytest.approx(error, abs=rest + 5.1e-5)


def test_live_page_counts_positions_from_zero(live_page, tokenizer):
    page = live_page()
    run_by_keyboard(page, *PAIR)
    at = tokenizer(*PAIR)["input_ids"].index(tokenizer.mask_token_id)
    captions = page.locator(".masks caption").all_inner_texts()
    assert captions == [f"For [MASK], position {at}"]
    note = page.locator(".note", has_text="Turned by").inner_text()
    assert f"those of [MASK], position {at}." in note


FOCUSED = (
    "() => document.querySelector('live-bert').shadowRoot.activeElement"
    "?.textContent"
)


def test_live_page_keeps_the_focus_of_the_keyboard(live_page):
    page = live_page()
    page.locator("live-bert button[type=submit]").press("Enter")
    wait_until_done(page)
    assert page.evaluate(FOCUSED) == "Run"
    page.get_by_role("button", name="Load the rest").press("Enter")
    page.locator(".error table").wait_for()
    wait_until_done(page)
    assert page.evaluate(FOCUSED) == "What int8 costs on this input"
    page.get_by_role("button", name="Forget the weights").press("Enter")
    page.get_by_text("has forgotten").wait_for()
    page.wait_for_function(f"({FOCUSED})() === 'Run'")


def test_live_page_says_what_the_second_sentence_is_for(live_page):
    field = live_page().get_by_label("A second sentence, if you like")
    described = field.evaluate(
        "(input) => input.getRootNode()"
        ".getElementById(input.getAttribute('aria-describedby')).textContent"
    )
    assert "becomes segment 1" in described


def test_live_page_loads_nothing_before_it_is_asked(live_page, made):
    page = live_page()
    assert weights_asked_for(page) == []
    size = sum(part["bytes"] for part in made.manifest["parts"])
    name = f"Load {made.name} ({size / 1e6:.0f} MB) and run it"
    page.get_by_role("button", name=name).focus()
    page.keyboard.press("Enter")
    wait_until_done(page)
    parts = len(made.manifest["parts"]) + 1  # and the words
    assert len(weights_asked_for(page)) == parts


def test_browser_keeps_the_weights_until_told_to_forget(live_page):
    page = live_page(**PHONE)

    def visit():
        page.reload()
        page.requests.clear()
        page.locator("live-bert button[type=submit]").tap()
        wait_until_done(page)
        return len(weights_asked_for(page))

    first = visit()
    assert first > 10
    assert visit() == 0
    page.get_by_role("button", name="Forget the weights").tap()
    page.get_by_text("has forgotten").wait_for()
    assert visit() == first


def test_live_page_runs_without_worker_and_storage(live_page, made):
    page = live_page()
    page.evaluate("() => { delete globalThis.Worker }")
    page.evaluate(
        "() => { Object.defineProperty(globalThis, 'indexedDB',"
        " { get() { throw Error('no storage') } }) }"
    )
    run_by_keyboard(page, SENTENCE)
    assert "in the page" in page.locator("[role=status]").first.inner_text()
    rounded = live.rounded_model(made.model, fine=False)
    exact, _ = expected(rounded, made.tokenizer, SENTENCE)
    assert np.abs(results(page)[0] - exact).max() < 1e-5
    hidden = page.get_by_role("button", name="Forget the weights").is_hidden()
    assert hidden


def test_live_page_says_what_it_cannot_do(live_page):
    page = live_page()
    run_by_keyboard(page, "No word is missing here.")
    status = page.locator("live-bert [role=status]").first
    assert "Write [MASK]" in status.inner_text()
    assert page.locator(".masks table").count() == 0
    page.get_by_label("A sentence with").fill("very " * 100)
    page.keyboard.press("Enter")
    page.get_by_text("102 tokens; the page takes at most").wait_for()


def test_live_page_says_that_its_weights_are_missing(open_page):
    page = open_page(widgets.live_view()._repr_html_(), failing=True)
    page.locator("live-bert button[type=submit]").click()
    page.get_by_text("That did not work").wait_for()
    text = page.locator("[role=status]").first.inner_text()
    assert "words.js is not there" in text


def test_another_checkpoint_gets_what_fits(monkeypatch, tmp_path, open_page):
    config = BertConfig.from_pretrained(checkpoint_path())
    other = tmp_path / "other"
    torch.manual_seed(5)
    small = dataclasses.replace(
        config, hidden_size=24, intermediate_size=40, num_hidden_layers=1,
        num_attention_heads=3, hidden_act="relu",
    )  # fmt: skip
    BertForMaskedLM(small).save_pretrained(other)
    BertTokenizer.from_pretrained(checkpoint_path()).save_pretrained(other)
    monkeypatch.setenv("BERT_CHECKPOINT", str(other))
    page = open_page(widgets.live_view()._repr_html_())
    text = page.locator(".instead").inner_text()
    assert "made with other" in text
    assert "its activation is relu, not gelu" in text
    assert "Load pocket-bert" in page.locator("button").first.inner_text()


def test_a_model_that_is_too_large_is_refused(made, monkeypatch):
    assert live.why_not(made.model) is None
    monkeypatch.setattr(live, "LIMIT", 1_000_000)
    assert "more than the 1 MB" in live.why_not(made.model)


@pytest.mark.parametrize("mode", MODES)
def test_live_page_is_accessible_and_fits(live_page, mode):
    page = live_page(**MODES[mode])
    run_by_keyboard(page, SENTENCE)
    found = Axe().run(page).response
    assert [
        (rule["id"], rule["nodes"][0]["html"]) for rule in found["violations"]
    ] == []
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= page.viewport_size["width"]


# --- in a notebook, and when the book is built -----------------------------


def test_a_notebook_shows_the_widgets(open_page, views):
    """A notebook sets an output's HTML, then runs copies of its scripts."""
    page = open_page('<div id="output"></div>')
    for name, view in views.items():
        page.evaluate(
            "(html) => { const output = document.querySelector('#output');"
            " output.innerHTML = html;"
            " for (const old of output.querySelectorAll('script')) {"
            "   const script = document.createElement('script');"
            "   script.type = old.type; script.textContent = old.textContent;"
            "   old.replaceWith(script); } }",
            view._repr_html_(),
        )
        assert page.locator(f"{name} .live").is_visible()
        assert page.locator(f"{name} button").count() > 0


class Build:
    """As much of Sphinx as the end of a build needs."""

    def __init__(self, folder, pages):
        self.outdir = str(folder)
        self.env = self.builder = self
        self.all_docs, self.format = dict.fromkeys(pages), "html"


def test_a_build_writes_the_weights_of_the_live_page(tmp_path, made):
    live.write_parts(Build(tmp_path, ["book/index"]), None)
    assert list(tmp_path.iterdir()) == []
    page = tmp_path / "book" / "live.html"
    page.parent.mkdir()
    page.write_text(widgets.live_view()._repr_html_(), "utf-8")
    live.write_parts(Build(tmp_path, ["book/index", "book/live"]), None)
    folder = tmp_path / made.manifest["folder"]
    written = {path.name: path.stat().st_size for path in folder.iterdir()}
    for part in [*made.manifest["parts"], *made.manifest["rests"]]:
        assert written[part["file"]] == part["bytes"]
    assert (folder / "words.js").is_file()


def test_a_live_page_of_other_weights_fails_the_build(tmp_path):
    (tmp_path / "live.html").write_text("_static/live/other", "utf-8")
    with pytest.raises(ExtensionError, match="made for other weights"):
        live.write_parts(Build(tmp_path, ["live"]), None)
