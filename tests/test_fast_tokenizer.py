"""The fast tokenizer gives the plain one's ids, whatever the text."""

import copy
import pickle
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import tokenizer as benchmark
from bert import BertTokenizer, fast_tokenizer
from bert.fast_tokenizer import LONGEST_KEY, BertTokenizerFast, Remembered
from bert.tokenizer import SPECIAL_TOKENS

POCKET = Path(__file__).resolve().parents[1] / "models" / "pocket-bert"
PLAIN = BertTokenizer.from_pretrained(POCKET)
FAST = BertTokenizerFast.from_pretrained(POCKET)

SENTENCES = {
    "English": "Don't panic: the doctor's re-entry cost $3.50 (or more)!",
    "German": "Übermäßig große Straßen führen über Köln nach Osnabrück.",
    "French": "Où est-ce que l'élève a posé son cœur déçu, à Noël ?",
    "Turkish": "İstanbul'da IŞIK çok güzel, ığdır'da da öyle.",
    "Greek": "Ο Οδυσσέας γύρισε στην Ιθάκη· ΟΔΟΣ, ὁδός.",
    "Russian": "Ёжик в тумане ищет йод и чай.",
    "Arabic": "السَّلامُ عَلَيْكُم، كيف حالك؟",
    "Hebrew": "בְּרֵאשִׁית בָּרָא, מה שלומך?",
    "Hindi": "नमस्ते दुनिया, क्या हाल है?",
    "Thai": "สวัสดีชาวโลก น้ำใจ",
    "Chinese": "今天天气很好，我们去公园吧。Python真好",
    "Japanese": "吾輩は猫である。ガギグゲゴ、がぎぐげご。",
    "Korean": "안녕하세요 세계, 한국어 띄어쓰기.",
    "Vietnamese": "Tiếng Việt có nhiều dấu: ệ, ậ, ỗ, ữ.",
    "emoji": "ok👍🏽 family👨‍👩‍👧 flag🇩🇪 1️⃣",
}
ODD = [
    *SPECIAL_TOKENS,
    "a[MASK]b[SEP][SEP]c[mask][MA\x0bSK]",
    "[UNK][CLS",
    "[[MASK]]",
    "",
    " \t\n\r ",
    "\x0b\x0c\x1c\x1d\x1e\x1f\x85",
    "page one\x0cpage two\x85three\x1cfour",
    "a\u00a0b\u1680c\u2000d\u2028e\u202ff\u205fg\u3000h\u200bi\ufeffj",
    "a" * 100 + " " + "a" * 101,
    "x," * 200,
    "a\u0301\u0323 a\u0323\u0301 \u0301 \u302e\U0001d165 e\u302f\u302e",
    "\0\ufffd\uffff",
    "ﬁ ß ẞ ŉ ǰ Å Å K",
    "##ly ##",
    "[unused0] a [unused1]b",
]


def same(texts: list[str], **options) -> None:
    """Compare both tokenizers twice: what is remembered counts as well."""
    wanted = PLAIN(texts, **options)
    assert FAST(texts, **options) == wanted
    assert FAST(texts, **options) == wanted


@pytest.mark.parametrize("language", SENTENCES)
def test_many_languages(language: str):
    same([SENTENCES[language]])


@pytest.mark.parametrize("text", ODD)
def test_odd_texts(text: str):
    same([text, "before " + text, text + "after"])


def test_every_character_alone_and_between_letters():
    texts = [
        " ".join(f"{c}x{c} {c} y{c}z" for c in map(chr, range(start, end)))
        for start, end in (
            (0, 0x500),
            (0x500, 0x1000),
            (0x1E00, 0x2200),
            (0x3000, 0x3200),
            (0xFE00, 0xFFFF),
            (0x1D100, 0x1D200),
        )
    ]
    same(texts)


@pytest.mark.parametrize("lower", [True, False])
def test_every_ascii_character_in_an_ascii_text(lower: bool):
    plain = BertTokenizer(PLAIN.vocab, do_lower_case=lower)
    fast = BertTokenizerFast(PLAIN.vocab, do_lower_case=lower)
    for c in map(chr, range(128)):
        text = f"{c}x{c} {c} y{c}z"
        assert fast.words(text) == plain.words(text), ascii(c)
        assert fast.ids(text) == plain.ids(text), ascii(c)


@given(st.text(st.characters(max_codepoint=127), max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_ascii_text(text: str):
    same([text])


def test_ascii_needs_no_table_of_all_characters():
    fast = BertTokenizerFast(PLAIN.vocab)
    fast.known_characters = None
    assert fast.words("Rome, " * 1000) == ["rome", ","] * 1000


def test_only_what_depends_on_its_neighbours_is_left_to_the_plain_way():
    assert FAST.known_characters[0x301] == ""
    assert FAST.known_characters[0x302E] == fast_tokenizer.NOT_ALONE
    keeps = BertTokenizerFast(PLAIN.vocab, strip_accents=False)
    assert keeps.known_characters[0x302E] == "\u302e"
    assert keeps.known_characters[0x301] == "\u0301"
    cased = BertTokenizerFast(PLAIN.vocab, do_lower_case=False)
    assert cased.known_characters[0x301] == "\u0301"


@given(st.lists(st.text(max_size=60), min_size=1, max_size=4))
@settings(max_examples=300, deadline=None)
def test_any_text(texts: list[str]):
    same(texts)


@given(
    st.lists(
        st.one_of(
            st.sampled_from([*SPECIAL_TOKENS, *ODD, " ", "\x0c", "e\u0301"]),
            st.characters(exclude_categories=["Cs"]),
        ),
        max_size=20,
    ).map("".join)
)
@settings(max_examples=300, deadline=None)
def test_mixtures(text: str):
    same([text])


@pytest.mark.parametrize(
    "choice",
    [
        {"do_lower_case": False},
        {"do_lower_case": False, "strip_accents": True},
        {"strip_accents": False},
        {"tokenize_chinese_chars": False},
    ],
    ids=str,
)
def test_other_settings(choice: dict):
    plain = BertTokenizer(PLAIN.vocab, **choice)
    fast = BertTokenizerFast(PLAIN.vocab, **choice)
    for text in [*SENTENCES.values(), *ODD]:
        assert fast.encode(text) == plain.encode(text), text
        assert fast.words(text) == plain.words(text), text


def test_equals_transformers():
    from transformers import BertTokenizer as Theirs

    theirs = Theirs.from_pretrained(POCKET)
    texts = [*SENTENCES.values(), *ODD]
    assert FAST(texts)["input_ids"] == theirs(texts)["input_ids"]


def test_a_small_vocabulary(small: dict[str, Path]):
    plain = BertTokenizer.from_pretrained(small["published"])
    fast = BertTokenizerFast.from_pretrained(small["published"])
    texts = [*SENTENCES.values(), *ODD]
    assert fast(texts)["input_ids"] == plain(texts)["input_ids"]


def test_a_text_is_cut_into_the_same_words():
    for text in [*SENTENCES.values(), *ODD]:
        assert FAST.words(text) == PLAIN.words(text)
        assert FAST.tokenize(text) == PLAIN.tokenize(text)


def test_all_options_are_inherited():
    texts, pairs = list(SENTENCES.values()), list(SENTENCES.values())[::-1]
    same(texts, text_pair=pairs)
    same(texts, text_pair=pairs, truncation=True, max_length=17)
    same(texts, padding=True)
    assert FAST.tokenize(texts[0]) == PLAIN.tokenize(texts[0])
    assert FAST.decode(FAST.encode(texts[0])) == PLAIN.decode(
        PLAIN.encode(texts[0])
    )


def test_what_is_given_back_can_be_changed():
    FAST.encode("rome").append(7)
    FAST.ids("rome").clear()
    assert FAST.encode("rome") == PLAIN.encode("rome")


def test_half_a_character_is_refused():
    with pytest.raises(ValueError, match="U\\+D800 at character 2"):
        FAST("a \ud800b")


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fast_tokenizer, "LIMIT", 100)
    fast = BertTokenizerFast(PLAIN.vocab)
    for start in range(0, 1000, 50):
        numbers = range(start, start + 50)
        text = " ".join(f"xw{n} {chr(0x400 + n)}" for n in numbers)
        assert fast.ids(text) == PLAIN.ids(text)
        for memory in (fast.known_words, fast.known_characters):
            assert len(memory) <= memory.n_known + 100
    assert fast.known_characters.n_known == 128
    assert fast.known_words.n_known == len(PLAIN.vocab)
    assert all(fast.known_words[t] == (i,) for t, i in PLAIN.vocab.items())


def test_long_words_are_not_kept():
    fast = BertTokenizerFast(PLAIN.vocab)
    fast.ids("a" * 65 + " " + "b" * 64)
    new = list(fast.known_words)[fast.known_words.n_known :]
    assert new == ["b" * 64]


def test_a_token_that_is_too_long_for_a_word_is_unknown():
    vocab = PLAIN.vocab | {"a" * 101: len(PLAIN.vocab)}
    plain, fast = BertTokenizer(vocab), BertTokenizerFast(vocab)
    assert fast.ids("a" * 101) == plain.ids("a" * 101) == [fast.unk_token_id]
    assert fast.ids("a" * 100) == plain.ids("a" * 100)


@pytest.mark.parametrize(
    "bit",
    ["中", "!", "ab,", "á-", "각.", "\u302e\u302f", "x\u302e,"],
    ids=ascii,
)
def test_a_long_text_without_blanks_takes_time_in_proportion(bit: str):
    short, long = 10_000 // len(bit) * bit, 160_000 // len(bit) * bit
    assert len((short + long).split()) == 1
    assert FAST.ids(short) == PLAIN.ids(short)
    # Sixteen times as long; the square would be 256.
    assert quickest(long) < 64 * quickest(short)


def quickest(text: str) -> float:
    """Seconds for the ids of a text, best of several."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        FAST.ids(text)
        times.append(time.perf_counter() - start)
    return min(times)


def test_remembered_works_each_key_out_once():
    asked = []

    def double(key: str) -> str:
        asked.append(key)
        return 2 * key

    known = Remembered(double, {"z": "two z"})
    long = LONGEST_KEY * "y" + "y"
    assert [known[k] for k in ("x", "x", long, long)] == [
        "xx", "xx", 2 * long, 2 * long,
    ]  # fmt: skip
    assert known["z"] == "two z"
    assert asked == ["x", long, long]


def test_remembered_forgets_what_came_and_keeps_what_it_knew(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(fast_tokenizer, "LIMIT", 2)
    known = Remembered(str.upper, {"b": "stays", "a": "stays"})
    assert "".join(known[key] for key in "xyxab") == "XYXstaysstays"
    assert list(known) == ["b", "a", "x", "y"]
    assert known["z"] == "Z"
    assert list(known) == ["b", "a", "z"]


def test_remembered_keeps_all_code_points():
    asked = []
    known = Remembered(lambda code: asked.append(code) or chr(code), {})
    assert "aba".translate(known) == "aba"
    assert asked == [97, 98]


def test_can_be_copied_and_pickled():
    FAST.encode("rome")
    text = SENTENCES["English"]
    for other in (copy.deepcopy(FAST), pickle.loads(pickle.dumps(FAST))):
        assert other.known_words is not FAST.known_words
        assert other.known_words.work_out.__self__ is other
        assert other.encode(text) == PLAIN.encode(text)


def test_threads_may_share_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fast_tokenizer, "LIMIT", 50)
    fast = BertTokenizerFast(PLAIN.vocab)
    texts = [
        " ".join(f"x{n}{chr(0x400 + n % 200)}" for n in range(k, k + 40))
        for k in range(0, 8000, 40)
    ]
    wanted = [PLAIN.ids(text) for text in texts]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(fast.ids, texts * 2))
    finally:
        sys.setswitchinterval(interval)
    assert found == wanted * 2


def test_the_texts_that_are_timed_are_the_pinned_ones():
    english = benchmark.english()
    assert benchmark.pinned("docutils", english) is english
    assert benchmark.pinned("sphinx", benchmark.many_languages())
    with pytest.raises(ValueError, match="texts from docutils .* the sha256"):
        benchmark.pinned("docutils", [*english, "one more"])
