"""Cleaning: equal to transformers on every character, on any Python."""

import random
import types
import unicodedata

import pytest

from bert import normalization
from bert.normalization import (
    DECOMPOSED,
    MARKS,
    PUNCTUATION,
    WHITE_SPACE,
    clean,
    inside,
    lower,
    normalize,
    read_spans,
    remove_accents,
    split_words,
)

SURROGATES = range(0xD800, 0xE000)
EVERY_CHARACTER = [chr(n) for n in range(0x110000) if n not in SURROGATES]

SCRIPTS = {
    "Latin": "Zażółć gęślą jaźń, ÅNGSTRÖM",
    "Greek": "Ξεσκεπάζω τὴν ΨΥΧΟΦΘΌΡΑ ΒΔΕΛΥΓΜΊΑΣ",
    "Cyrillic": "Съешь же ещё этих мягких Й булок",
    "Armenian": "Բարեւ, աշխարհ։",
    "Georgian": "გამარჯობა ᲒᲐᲛᲐᲠᲯᲝᲑᲐ",
    "Hebrew": "שָׁלוֹם, עוֹלָם־",
    "Arabic": "مَرْحَبًا، يا عالم؟",
    "Syriac": "ܫܠܡܐ ܥܠܡܐ܀",
    "Devanagari": "नमस्ते दुनिया। क़लम",
    "Bengali": "ওহে বিশ্ব ড়",
    "Tamil": "வணக்கம் உலகம்",
    "Telugu": "హలో ప్రపంచం",
    "Thai": "สวัสดีชาวโลก",
    "Tibetan": "འཛམ་གླིང་།",
    "Ethiopic": "ሰላም፡ልዑል።",
    "Khmer": "សួស្តី\u200bពិភពលោក",
    "Han": "你好，世界！㐀豈",
    "Kana": "こんにちは、ガイド・ﾊﾟﾋﾟ",
    "Hangul": "안녕하세요 세계 ㅎㅏㄴ",
    "Cherokee": "ᎣᏏᏲ ᎡᎶᎯ ꭰ",
    "Adlam": "𞤀𞤁𞤂 𞤢𞤣𞤤\U0001e944",
    "signs": "≠ ½ € $5 C++ a_b 👩‍🚀 e\u0301\u0323 \ufeff\ufffd",
}


@pytest.fixture(scope="module")
def judge():
    """Normal form and words of a text, as transformers has them."""
    from transformers import BertTokenizer

    made = {}

    def judged(text, **settings):
        key = tuple(settings.items())
        if key not in made:
            made[key] = BertTokenizer(**settings).backend_tokenizer
        tokenizer = made[key]
        text = tokenizer.normalizer.normalize_str(text)
        cut = tokenizer.pre_tokenizer.pre_tokenize_str(text)
        return text, [word for word, _ in cut]

    return judged


@pytest.mark.parametrize("do_lower_case", [True, False])
def test_every_character_is_cleaned_as_by_transformers(judge, do_lower_case):
    for first in range(0, len(EVERY_CHARACTER), 4096):
        block = EVERY_CHARACTER[first : first + 4096]
        # Between two letters; and alone, for those that lowering touches.
        text = "x".join(block)
        if do_lower_case:
            text += " " + " ".join(block)
        expected, words = judge(text, do_lower_case=do_lower_case)
        found = normalize(text, do_lower_case=do_lower_case)
        assert found == expected, f"from U+{ord(block[0]):04X}"
        assert split_words(found) == words, f"from U+{ord(block[0]):04X}"


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"do_lower_case": False},
        {"strip_accents": False},
        {"do_lower_case": False, "strip_accents": True},
        {"tokenize_chinese_chars": False},
    ],
)
def test_scripts_are_cleaned_as_by_transformers(judge, script, settings):
    expected, words = judge(SCRIPTS[script], **settings)
    assert normalize(SCRIPTS[script], **settings) == expected
    assert split_words(expected) == words


def test_random_strings_are_cleaned_as_by_transformers(judge):
    rng = random.Random(0)
    pools = [
        EVERY_CHARACTER[:0x250],
        EVERY_CHARACTER,
        [c for c in EVERY_CHARACTER if inside(c, MARKS)],
        [c for c in EVERY_CHARACTER if inside(c, DECOMPOSED)],
        [c for c in EVERY_CHARACTER if unicodedata.combining(c)],
        [c for c in EVERY_CHARACTER if inside(c, PUNCTUATION)],
    ]
    for _ in range(20_000):
        text = "".join(
            rng.choice(rng.choice(pools)) for _ in range(rng.randint(1, 9))
        )
        expected, words = judge(text)
        assert normalize(text) == expected, ascii(text)
        assert split_words(expected) == words, ascii(text)


def test_only_what_unicode_9_decomposes_is_left_to_python(monkeypatch):
    handed_over = set()

    def record(form, text):
        handed_over.update(text)
        return unicodedata.normalize(form, text)

    monkeypatch.setattr(
        normalization, "unicodedata", types.SimpleNamespace(normalize=record)
    )
    remove_accents("".join(EVERY_CHARACTER))
    assert handed_over == {c for c in EVERY_CHARACTER if inside(c, DECOMPOSED)}
    # Of Unicode 10, 11, 13, 14 and 16: marks that a later Python would
    # put in order, letters that it would take apart.
    later = "\u1df6\u09fe\U00011938\u0898\U000105c9"
    assert not handed_over & set(later)


def test_a_python_with_other_categories_changes_nothing(monkeypatch):
    def no_category(character):
        raise AssertionError("asked for a category")

    expected = {name: normalize(text) for name, text in SCRIPTS.items()}
    monkeypatch.setattr(unicodedata, "category", no_category)
    assert expected == {n: normalize(text) for n, text in SCRIPTS.items()}


def test_inside_equals_the_loop_over_spans():
    edges = read_spans("41-5A 5F 61-63")
    assert edges == [0x41, 0x5B, 0x5F, 0x60, 0x61, 0x64]
    for number in range(0x80):
        by_loop = any(
            first <= number < end
            for first, end in zip(edges[::2], edges[1::2], strict=True)
        )
        assert inside(chr(number), edges) == by_loop


@pytest.mark.parametrize("edges", [MARKS, PUNCTUATION, DECOMPOSED])
def test_the_edges_of_a_table_rise(edges):
    assert edges == sorted(set(edges))
    assert len(edges) % 2 == 0


def test_white_space_becomes_a_blank_and_controls_vanish():
    assert clean("a\tb\nc\rd\u00a0e\u2028f\u3000g") == "a b c d e f g"
    assert clean("to\x85day \x1f\x0b\u200b\u00ad\ue000\ufffd\x00") == "today "
    assert all(clean(c) == " " for c in " \t\n\r\u2003" if c)
    assert not inside("\x85", WHITE_SPACE)


def test_the_last_sigma_of_a_word_is_lowered_like_the_others():
    assert lower("ΟΔΟΣ") == "οδοσ" != "ΟΔΟΣ".lower()


def test_capitals_that_this_python_may_not_know_are_lowered():
    assert lower("\u1c89\ua7dc\U00010d50\U00016eb8") == (
        "\u1c8a\u019b\U00010d70\U00016ed3"
    )


def test_accents_melted_into_a_letter_are_dropped():
    assert remove_accents("café") == remove_accents("cafe\u0301") == "cafe"
    assert remove_accents("a ≠ b") == "a = b"
    assert remove_accents("ø") == "ø"


def test_each_sign_is_a_word():
    assert split_words("don't 3.14 5€ a+b") == [
        *"don ' t".split(),
        *"3 . 14 5€ a + b".split(),
    ]
    assert split_words("“¿a© «b") == ["“", "¿", "a©", "«", "b"]


def test_nothing_gives_no_words():
    assert split_words(normalize("")) == split_words(normalize(" \x00 ")) == []
