"""From text to ids and back: the same as transformers, or a refusal."""

import json
import random
from pathlib import Path

import pytest
import torch
from transformers import BertTokenizer as Referee

from bert.tokenizer import SPECIAL_TOKENS, BertTokenizer, share_room
from bookkit.checkpoint import POCKET_BERT

ROOT = Path(__file__).parents[1]
KINDS = ["pad", "unk", "cls", "sep", "mask"]
SMALL = [
    *SPECIAL_TOKENS,
    *"a b c d A B á Á . , ! ? ' ## # 中 [ ] mask mas".split(),
    *"##a ##b ##c ##s ##á n't 's 've don t s 0 ##0".split(),
]


def folder_with(path, tokens=SMALL, settings=None, json_settings=None):
    """Write a tokenizer's files into a folder."""
    if json_settings is None:
        text = "".join(token + "\n" for token in tokens)
        (path / "vocab.txt").write_text(text, encoding="utf-8")
    else:
        vocab = {token: number for number, token in enumerate(tokens)}
        Referee(vocab=vocab, **json_settings).save_pretrained(path)
        (path / "tokenizer_config.json").unlink()
    if settings is not None:
        text = json.dumps(settings)
        (path / "tokenizer_config.json").write_text(text, encoding="utf-8")
    (path / "config.json").write_text('{"model_type": "bert"}')
    return path


@pytest.fixture(scope="module")
def ours():
    return BertTokenizer.from_pretrained(POCKET_BERT)


@pytest.fixture(scope="module")
def theirs():
    return Referee.from_pretrained(POCKET_BERT)


def random_texts(seed, entries, count):
    """Texts made of what is likely to go wrong."""
    rng = random.Random(seed)
    specials = [*SPECIAL_TOKENS, "[mask]", "[MASK", "[[MASK]]"]

    def part():
        return rng.choice(
            [
                rng.choice(entries),
                rng.choice(entries),
                rng.choice(entries) + rng.choice(entries).strip("#"),
                rng.choice(specials),
                "".join(chr(rng.randint(1, 0xD7FF)) for _ in range(4)),
                "".join(chr(rng.randint(1, 0x250)) for _ in range(6)),
                chr(rng.randint(0xE000, 0x10FFFF)),
                "a" * rng.randint(99, 101),
            ]
        )

    return [
        rng.choice(["", " ", "\n"]).join(
            part() for _ in range(rng.randint(0, 10))
        )
        for _ in range(count)
    ]


def test_real_text_has_the_ids_of_transformers(ours, theirs):
    for path in sorted(ROOT.glob("book/*.md"))[:8]:
        lines = [line for line in path.read_text("utf-8").split("\n") if line]
        assert ours(lines) == dict(theirs(lines)), path.name


def test_random_texts_have_the_ids_of_transformers(ours, theirs):
    texts = random_texts(0, ours.tokens, 3000)
    assert ours(texts) == dict(theirs(texts))
    assert [ours.tokenize(text) for text in texts[:500]] == [
        theirs.tokenize(text) for text in texts[:500]
    ]


@pytest.mark.parametrize("size", [3, 4, 9, 10, 31])
def test_random_pairs_are_cut_as_by_transformers(ours, theirs, size):
    texts = random_texts(size, ours.tokens, 400)
    partners = random_texts(size + 1, ours.tokens, 400)
    for options in ({"padding": False}, {"padding": "max_length"}):
        options |= {"truncation": True, "max_length": size}
        found = ours(texts, partners, **options)
        assert found == dict(theirs(texts, partners, **options))


def test_room_is_shared_as_by_transformers(ours, theirs):
    for first in range(9):
        for second in range(9):
            # In a batch: beside one text alone an empty pair counts as none.
            pair = ["a " * first], ["b " * second]
            for room in range(17):
                options = {"truncation": True, "max_length": room + 3}
                found = ours(*pair, **options)["input_ids"]
                assert found == theirs(*pair, **options)["input_ids"]
                kept = share_room(first, second, room)
                assert sum(kept) == min(first + second, room)


@pytest.mark.parametrize("padding", [True, "max_length"])
@pytest.mark.parametrize("truncation", [True, False])
def test_batches_are_padded_as_by_transformers(
    ours, theirs, padding, truncation
):
    texts = ["one two three", "", "four five six seven eight nine"]
    options = {"padding": padding, "truncation": truncation}
    if padding == "max_length":
        options["max_length"] = 11
    found = ours(texts, **options, return_tensors="pt")
    expected = theirs(texts, **options, return_tensors="pt")
    assert list(found) == list(expected)
    for name, tensor in found.items():
        assert tensor.dtype == torch.int64
        assert torch.equal(tensor, expected[name])


def test_max_length_is_the_models_own_when_left_out(ours, theirs):
    text = "word " * 700
    for options in ({"truncation": True}, {"padding": "max_length"}):
        texts = [text if "truncation" in options else "short"]
        found = ours(texts, **options)
        assert len(found["input_ids"][0]) == ours.model_max_length == 512
        assert found == dict(theirs(texts, **options))


def test_a_longer_text_without_truncation_stays_whole(ours):
    assert len(ours("word " * 700)["input_ids"]) == 702


@pytest.mark.parametrize("skip", [True, False])
def test_decoding_agrees_with_transformers(ours, theirs, skip):
    rng = random.Random(0)
    rows = [
        [rng.randrange(ours.vocab_size) for _ in range(rng.randint(0, 15))]
        for _ in range(2000)
    ]
    rows += [[number] for number in range(0, ours.vocab_size, 7)]
    rows += ours(random_texts(5, ours.tokens, 500))["input_ids"]
    for row in rows:
        found = ours.decode(row, skip_special_tokens=skip)
        assert found == theirs.decode(row, skip_special_tokens=skip)


def test_a_tensor_of_ids_is_decoded(ours):
    ids = ours("hello world!", return_tensors="pt")["input_ids"][0]
    assert ours.decode(ids, skip_special_tokens=True) == "hello world!"


def test_special_tokens_are_found_in_the_raw_text(ours, theirs):
    for text in ["x[MASK]y", "[MASK][MASK]", "[mask] [ MASK]", "[MA\u0301SK]"]:
        assert ours.tokenize(text) == theirs.tokenize(text)
    assert ours.tokenize("x[MASK]y") == ["x", "[MASK]", "y"]


def test_one_text_gives_rows_and_a_list_gives_batches(ours):
    one, many = ours("hello"), ours(["hello"])
    assert {name: [row] for name, row in one.items()} == many
    assert ours("a", "b") == {k: v[0] for k, v in ours(["a"], ["b"]).items()}
    assert ours("a", "b")["token_type_ids"] == [0, 0, 0, 1, 1]


def test_an_empty_partner_counts_only_in_a_batch(ours, theirs):
    assert ours("a", "") == dict(theirs("a", ""))
    assert ours(["a"], [""]) == dict(theirs(["a"], [""]))
    assert ours("a", "") != {k: v[0] for k, v in ours(["a"], [""]).items()}


def test_tokens_and_ids_are_looked_up_both_ways(ours, theirs):
    tokens = ["hello", "no such token", "[MASK]"]
    assert ours.convert_tokens_to_ids(tokens) == (
        theirs.convert_tokens_to_ids(tokens)
    )
    assert ours.convert_ids_to_tokens(103) == "[MASK]" == ours.mask_token
    assert ours.convert_ids_to_tokens([0, 101]) == ["[PAD]", "[CLS]"]
    for kind in KINDS:
        for name in (f"{kind}_token", f"{kind}_token_id"):
            assert getattr(ours, name) == getattr(theirs, name)
    assert ours.vocab_size == theirs.vocab_size
    assert sorted(ours.all_special_ids) == sorted(theirs.all_special_ids)


SETTINGS = [
    {},
    {"do_lower_case": False},
    {"strip_accents": False},
    {"do_lower_case": False, "strip_accents": True},
    {"tokenize_chinese_chars": False, "model_max_length": 9},
    {"clean_up_tokenization_spaces": True},
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_the_checkpoints_settings_are_obeyed(tmp_path, settings):
    folder = folder_with(tmp_path, settings=settings)
    ours = BertTokenizer.from_pretrained(folder)
    theirs = Referee.from_pretrained(folder)
    texts = ["A á Á a中a, aáb! don't", *random_texts(2, SMALL, 300)]
    found = ours(texts, truncation="model_max_length" in settings)
    expected = theirs(texts, truncation="model_max_length" in settings)
    assert found == dict(expected)
    for row in found["input_ids"]:
        assert ours.decode(row) == theirs.decode(row)


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_saved_tokenizer_is_opened_by_both(tmp_path, settings):
    vocab = {token: number for number, token in enumerate(SMALL)}
    saved = BertTokenizer(vocab, **settings)
    saved.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    text = "A á Á a中a, aáb! 0s"
    again = BertTokenizer.from_pretrained(tmp_path)
    assert vars(again) == vars(saved)
    assert saved.encode(text) == Referee.from_pretrained(tmp_path).encode(text)


def test_a_folder_is_made_for_what_is_saved(tmp_path, ours):
    ours.save_pretrained(tmp_path / "new" / "folder")
    again = BertTokenizer.from_pretrained(tmp_path / "new" / "folder")
    assert vars(again) == vars(ours)


def test_nothing_is_saved_beside_a_file_that_says_otherwise(tmp_path):
    folder = folder_with(tmp_path, json_settings={})
    vocab = {token: number for number, token in enumerate(SMALL)}
    for other in (
        BertTokenizer(vocab | {"more": len(vocab)}),
        BertTokenizer(vocab, strip_accents=False),
    ):
        with pytest.raises(ValueError, match="tokenizer.json: .* in both"):
            other.save_pretrained(folder)
        assert not (folder / "vocab.txt").exists()
    BertTokenizer(vocab).save_pretrained(folder)
    assert BertTokenizer.from_pretrained(folder).tokens == SMALL


def test_a_vocabulary_in_tokenizer_json_is_read(tmp_path):
    folder = folder_with(tmp_path, json_settings={})
    assert not (folder / "vocab.txt").exists()
    ours = BertTokenizer.from_pretrained(folder)
    assert ours.tokens == SMALL
    text = "a áb [MASK] mas!"
    assert ours.encode(text) == Referee.from_pretrained(folder).encode(text)


def test_only_a_line_feed_ends_an_entry(tmp_path):
    tokens = [*SMALL, "x\u2028y", "x\x85y", "last"]
    folder = folder_with(tmp_path, tokens)
    assert BertTokenizer.from_pretrained(folder).tokens == tokens


@pytest.mark.parametrize("end", ["\n", "\r\n", " \t\n"])
def test_lines_end_where_transformers_ends_them(tmp_path, end):
    tokens = [*SMALL, "x\ry", "x\u2028y", "last"]
    folder = folder_with(tmp_path, SMALL)
    written = "".join(token + end for token in tokens)
    (folder / "vocab.txt").write_bytes(written.encode())
    ours = BertTokenizer.from_pretrained(folder)
    assert ours.tokens == tokens
    assert ours.vocab == Referee.from_pretrained(folder).get_vocab()


def test_two_tokens_of_white_space_stay_two(tmp_path):
    # No text reaches them, but they keep their lines and so the ids.
    tokens = [*SMALL, "\u2028", "\u3000", "last"]
    folder = folder_with(tmp_path, tokens)
    assert BertTokenizer.from_pretrained(folder).tokens == tokens


@pytest.mark.parametrize("token", ["x\ny", "x ", "x\r", "x\u2028"])
def test_a_token_that_no_line_holds_is_not_saved(tmp_path, token):
    vocab = {name: index for index, name in enumerate([*SMALL, token])}
    with pytest.raises(ValueError, match="wanted tokens that fill one line"):
        BertTokenizer(vocab).save_pretrained(tmp_path / "saved")
    assert not (tmp_path / "saved").exists()


def refuse(folder, match, error=ValueError):
    with pytest.raises(error, match=match):
        BertTokenizer.from_pretrained(folder)


def test_an_entry_that_stands_twice_is_refused(tmp_path):
    folder = folder_with(tmp_path, [*SMALL, "a"])
    lines = f"line 6 and again on line {len(SMALL) + 1}"
    refuse(folder, f"'a' stands on {lines}; wanted each token once")


def test_a_vocabulary_without_special_tokens_is_refused(tmp_path):
    tokens = [t for t in SMALL if t not in ("[CLS]", "[MASK]")]
    folder = folder_with(tmp_path, tokens)
    missing = rf"of {len(tokens)} tokens without \[CLS\], \[MASK\]"
    refuse(folder, missing + "; wanted all of")


def test_ids_with_a_gap_are_refused():
    vocab = {token: number for number, token in enumerate(SMALL)}
    vocab["a"] = 77
    match = f"wanted each id from 0 to {len(SMALL) - 1} once"
    with pytest.raises(ValueError, match=match):
        BertTokenizer(vocab)


def test_a_folder_without_vocabulary_is_refused(tmp_path):
    refuse(tmp_path, "neither vocab.txt nor tokenizer", FileNotFoundError)


@pytest.mark.parametrize(
    "settings, match",
    [
        ({"additional_special_tokens": ["<e1>"]}, "'<e1>' is added to the"),
        (
            {"added_tokens_decoder": {"7": {"content": "[X]"}}},
            r"'\[X\]' is added to the vocabulary; this tokenizer knows",
        ),
        ({"extra_special_tokens": ["<e2>"]}, "'<e2>' is added to the"),
        ([], r"wanted an object, found \[\]"),
        *(
            ({name: "<other>"}, f"{name} is '<other>', this tokenizer knows")
            for name in [
                "tokenizer_class",
                *(f"{kind}_token" for kind in KINDS),
                "bos_token",
                "eos_token",
                "padding_side",
                "truncation_side",
            ]
        ),
    ],
)
def test_settings_that_it_does_not_know_are_refused(tmp_path, settings, match):
    refuse(folder_with(tmp_path, settings=settings), match)


def test_usual_settings_of_saved_checkpoints_are_taken(tmp_path):
    settings = {
        "mask_token": {"content": "[MASK]", "lstrip": False},
        "added_tokens_decoder": {"0": {"content": "[PAD]", "special": True}},
        "model_max_length": 10**30,
        "never_split": None,
        "bos_token": None,
        "eos_token": "[SEP]",
        "additional_special_tokens": None,
        "tokenizer_class": "BertTokenizer",
    }
    folder = folder_with(tmp_path, settings=settings)
    assert BertTokenizer.from_pretrained(folder).model_max_length is None


# Each in a file of its own, beside vocab.txt.
ADDED = [
    ("added_tokens", {"blorp": 77}, "'blorp' is added to the vocabulary"),
    ("special_tokens_map", {"mask_token": "a"}, "mask_token is 'a', this"),
    ("special_tokens_map", {"sep_token": {"content": "b"}}, "token is 'b'"),
    ("special_tokens_map", {"eos_token": "c"}, "eos_token is 'c', this"),
    (
        "special_tokens_map",
        {"additional_special_tokens": [{"content": "d"}]},
        "'d' is added to the vocabulary",
    ),
    ("tokenizer", {"added_tokens": [{"content": "e"}]}, "'e' is added to"),
]


@pytest.mark.parametrize("name, stored, match", ADDED)
def test_tokens_that_another_file_adds_are_refused(
    tmp_path, name, stored, match
):
    folder = folder_with(tmp_path)
    (folder / f"{name}.json").write_text(json.dumps(stored))
    refuse(folder, f"{name}.json: .*{match}")


def test_the_usual_tokens_in_every_file_are_taken(tmp_path):
    # As transformers 4 wrote bert-base-uncased: two forms of a token.
    folder = folder_with(tmp_path, json_settings={})
    folder_with(tmp_path)
    usual = {
        "cls_token": "[CLS]",
        "mask_token": {"content": "[MASK]", "lstrip": False},
        "additional_special_tokens": [],
    }
    (folder / "special_tokens_map.json").write_text(json.dumps(usual))
    (folder / "added_tokens.json").write_text('{"[MASK]": 4}')
    assert {path.name for path in folder.iterdir()} == {
        "added_tokens.json",
        "config.json",
        "special_tokens_map.json",
        "tokenizer.json",
        "vocab.txt",
    }
    text = "a áb [MASK] mas!"
    ours = BertTokenizer.from_pretrained(folder)
    assert ours.encode(text) == Referee.from_pretrained(folder).encode(text)


def test_two_vocabularies_that_differ_are_refused(tmp_path):
    folder = folder_with(tmp_path, json_settings={})
    turned = SMALL[:5] + SMALL[:4:-1]
    refuse(
        folder_with(folder, turned),
        f"'##0' has the id {len(SMALL) - 1}, but in vocab.txt 5; wanted the",
    )
    refuse(folder_with(folder, [*SMALL, "more"]), "'more' has the id None, b")
    refuse(folder_with(folder, SMALL[:-1]), "'##0' .* but in vocab.txt None")


def test_a_vocabulary_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "vocab.txt").write_bytes(b"[PAD]\n\xff\n")
    refuse(tmp_path, "vocab.txt is not UTF-8: ")


def test_another_normalizer_is_refused(tmp_path):
    folder = folder_with(tmp_path)
    text = '{"normalizer": {"type": "Lowercase"}}'
    (folder / "tokenizer.json").write_text(text)
    refuse(folder, "a normalizer of type 'Lowercase', wanted 'BertNorm")


@pytest.mark.parametrize(
    "name, match",
    [
        ("do_lower_case", "lowercase is False, .* makes do_lower_case True"),
        (
            "tokenize_chinese_chars",
            "handle_chinese_chars is False, .* tokenize_chinese_chars True",
        ),
        ("strip_accents", "accents is False, .* makes strip_accents None"),
    ],
)
def test_two_files_that_disagree_are_refused(tmp_path, name, match):
    folder = folder_with(tmp_path, json_settings={name: False})
    refuse(folder, f"{match}; wanted the same in both")


@pytest.mark.parametrize(
    "text, match",
    [
        ("{", "tokenizer.json is not JSON"),
        ('{"model": {"type": "BPE"}}', "type is 'BPE', wanted 'WordPiece'"),
        ('{"model": {"type": "WordPiece"}}', "the model has no vocab"),
        (
            '{"model": {"continuing_subword_prefix": "@@"}}',
            "continuing_subword_prefix is '@@', wanted '##'",
        ),
        ('{"model": {"unk_token": "<unk>"}}', "is '<unk>', wanted '.UNK.'"),
        (
            '{"model": {"max_input_chars_per_word": 200}}',
            "max_input_chars_per_word is 200, wanted 100",
        ),
        ('{"added_tokens": [{"content": "<x>"}]}', "'<x>' is added to the"),
    ],
)
def test_a_strange_tokenizer_json_is_refused(tmp_path, text, match):
    (tmp_path / "tokenizer.json").write_text(text)
    refuse(tmp_path, match)


@pytest.mark.parametrize(
    "arguments, match",
    [
        ((3,), "text: found 3, wanted a string or a list"),
        (([],), r"text: found \[\], wanted a string or a list"),
        ((["a", None],), "text: found None of type NoneType, wanted a string"),
        (("a", ["b"]), "both be a string or both a list, found str and list"),
        ((["a"], "b"), "both be a string or both a list, found list and str"),
        (("a", 3), "both be a string or both a list, found str and int"),
    ],
)
def test_what_is_no_text_is_refused(ours, arguments, match):
    with pytest.raises(TypeError, match=match):
        ours(*arguments)


@pytest.mark.parametrize(
    "texts, options, match",
    [
        ((["a", "b"], ["c"]), {}, "2 texts but 1 in text_pair, wanted one"),
        (("ab\ud800",), {}, r"U\+D800 at character 2 is half a character"),
        (("a",), {"padding": "longest"}, "padding is 'longest', wanted one"),
        (("a",), {"truncation": "only_first"}, "truncation is 'only_first'"),
        (("a",), {"return_tensors": "np"}, "return_tensors is 'np', wanted"),
        *(
            (("a",), {"max_length": found, name: value}, wanted)
            for found, wanted in [
                (0, "max_length is 0, wanted a whole number of at least 1"),
                (-1, "max_length is -1, wanted a whole number"),
                (2.5, "max_length is 2.5, wanted a whole number"),
                ("7", "max_length is '7', wanted a whole number"),
                (True, "max_length is True, wanted a whole number"),
            ]
            for name, value in [
                ("truncation", True),
                ("padding", "max_length"),
            ]
        ),
        (("a",), {"max_length": 5}, "max_length is 5 but has nothing to do"),
        (
            ("a",),
            {"max_length": 1, "truncation": True},
            "max_length is 1, wanted at least 2: the special tokens alone",
        ),
        (
            ("a", "b"),
            {"max_length": 2, "truncation": True},
            "max_length is 2, wanted at least 3",
        ),
        (
            (["a", "b b"],),
            {"return_tensors": "pt"},
            "rows of 3 to 4 tokens make no tensor: wanted padding=True",
        ),
    ],
)
def test_options_that_cannot_work_are_refused(ours, texts, options, match):
    with pytest.raises(ValueError, match=match):
        ours(*texts, **options)


def test_padding_needs_to_know_how_far(ours):
    endless = BertTokenizer(ours.vocab)
    with pytest.raises(ValueError, match="'max_length' without max_length"):
        endless("a", padding="max_length")


def test_truncation_needs_to_know_how_far(ours):
    endless = BertTokenizer(ours.vocab)
    with pytest.raises(ValueError, match="^truncation .*without max_length"):
        endless("a", truncation=True)
    cut = endless("a a a", truncation=True, max_length=3)
    assert len(cut["input_ids"]) == 3


def test_tokens_are_no_ids_and_ids_no_tokens(ours):
    with pytest.raises(TypeError, match="tokens: found 101 of type int"):
        ours.convert_tokens_to_ids([101, 2023])
    with pytest.raises(TypeError, match="tokens: found {'input_ids'"):
        ours.convert_tokens_to_ids(ours("a"))
    with pytest.raises(TypeError, match="ids: found '.', wanted whole"):
        ours.convert_ids_to_tokens("[MASK]")
    with pytest.raises(TypeError, match="ids: found 'h', wanted whole"):
        ours.decode("hello")
    with pytest.raises(TypeError, match="ids: found 0.5, wanted whole"):
        ours.decode(torch.tensor([0.5]))
    assert ours.convert_tokens_to_ids([]) == []


def test_one_id_alone_is_decoded(ours, theirs):
    for one in (7592, torch.tensor(7592)):
        assert ours.decode(one) == theirs.decode(one) == "hello"


@pytest.mark.parametrize("vocab", ["vocab.txt", ["[PAD]", "[UNK]"], None])
def test_a_vocabulary_is_a_dict(vocab):
    with pytest.raises(TypeError, match="wanted a dict from tokens to ids"):
        BertTokenizer(vocab)


def test_settings_are_checked_without_a_file_too(ours):
    with pytest.raises(ValueError, match="^do_lower_case is 'false', wanted"):
        BertTokenizer(ours.vocab, do_lower_case="false")
    with pytest.raises(ValueError, match="^model_max_length is '512', want"):
        BertTokenizer(ours.vocab, model_max_length="512")


def test_a_batch_is_not_decoded_as_one_text(ours):
    batch = ours(["hello", "world"], return_tensors="pt")["input_ids"]
    with pytest.raises(ValueError, match="found a batch of 2 rows, wanted"):
        ours.decode(batch)


@pytest.mark.parametrize("number", [-1, 30522])
def test_an_id_outside_the_vocabulary_is_refused(ours, number):
    match = f"id {number} is not in the vocabulary, wanted 0 to 30521"
    with pytest.raises(ValueError, match=match):
        ours.decode([101, number])


@pytest.mark.parametrize(
    "name, value, wanted",
    [
        ("do_lower_case", "false", "bool"),
        ("do_lower_case", None, "bool"),
        ("strip_accents", 1, "bool"),
        ("model_max_length", "512", "int"),
        ("model_max_length", True, "int"),
    ],
)
def test_a_setting_of_another_kind_is_refused(tmp_path, name, value, wanted):
    folder = folder_with(tmp_path, settings={name: value})
    refuse(folder, f"{name} is {value!r}, wanted {wanted}")


@pytest.mark.parametrize("value", [None, int(1e30), 1e30])
def test_an_unknown_length_has_three_spellings(tmp_path, value):
    folder = folder_with(tmp_path, settings={"model_max_length": value})
    assert BertTokenizer.from_pretrained(folder).model_max_length is None
