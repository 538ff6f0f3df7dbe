# Written from the book by `make tangle`: book/03-wordpiece.md.
"""From a text to the ids that the model reads, and back."""

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from bert.config import resolve_folder
from bert.normalization import normalize, split_words
from bert.wordpiece import CONTINUES, LONGEST_WORD, UNKNOWN, split_word

# book/03-wordpiece.md: The vocabulary of a checkpoint
SPECIAL_TOKENS = ("[PAD]", UNKNOWN, "[CLS]", "[SEP]", "[MASK]")


def tokens_in(text: str) -> list[str]:
    """The tokens of a `vocab.txt`, in the order of their ids."""
    # Not splitlines(): a token may itself be a rare line separator.
    lines = text.removesuffix("\n").split("\n")
    return [line.rstrip() or line for line in lines]


def read_vocab(folder: Path) -> dict[str, int]:
    """Read the vocabulary of a checkpoint, token to id.

    It stands in `vocab.txt`, one token a line in the order of the ids,
    or else in `tokenizer.json`.
    """
    path = folder / "vocab.txt"
    if not path.is_file():
        return read_tokenizer_json(folder / "tokenizer.json")
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8: {error}") from None
    tokens = tokens_in(text)
    vocab = {token: index for index, token in enumerate(tokens)}
    for index, token in enumerate(tokens):
        if vocab[token] != index:
            raise ValueError(
                f"{path}: {token!r} stands on line {index + 1} and again on "
                f"line {vocab[token] + 1}; wanted each token once"
            )
    return vocab


# What the file may say of its model, if it says anything.
FIXED_MODEL = {
    "type": "WordPiece",
    "unk_token": UNKNOWN,
    "continuing_subword_prefix": CONTINUES,
    "max_input_chars_per_word": LONGEST_WORD,
}


def read_tokenizer_json(path: Path) -> dict[str, int]:
    """Read the vocabulary out of a `tokenizer.json`."""
    if not path.is_file():
        raise FileNotFoundError(
            f"{path.parent} holds neither vocab.txt nor tokenizer.json"
        )
    stored = read_json(path)
    refuse_other_settings(stored, path)
    model = stored.get("model") or {}
    for name, wanted in FIXED_MODEL.items():
        found = model.get(name, wanted)
        if found != wanted:
            raise ValueError(
                f"{path}: the model's {name} is {found!r}, wanted {wanted!r}"
            )
    if "vocab" not in model:
        raise ValueError(f"{path}: the model has no vocab")
    return model["vocab"]


def read_json(path: Path) -> dict:
    """Read a JSON object; a file that is not there counts as empty."""
    if not path.is_file():
        return {}
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from None
    if not isinstance(stored, dict):
        raise ValueError(f"{path}: wanted an object, found {stored!r:.40}")
    return stored


def check_vocab(vocab: dict[str, int]) -> None:
    """Raise when a special token is missing or the ids have gaps."""
    if not isinstance(vocab, dict):
        raise TypeError(
            f"vocab is a {type(vocab).__name__}, wanted a dict from tokens to "
            "ids; BertTokenizer.from_pretrained opens a folder"
        )
    missing = [token for token in SPECIAL_TOKENS if token not in vocab]
    if missing:
        raise ValueError(
            f"vocabulary of {len(vocab)} tokens without {', '.join(missing)}; "
            f"wanted all of {', '.join(SPECIAL_TOKENS)}"
        )
    if sorted(vocab.values()) != list(range(len(vocab))):
        raise ValueError(
            f"vocabulary of {len(vocab)} tokens: wanted each id from 0 to "
            f"{len(vocab) - 1} once"
        )


# book/03-wordpiece.md: The checkpoint's settings
SETTINGS = (
    "do_lower_case",
    "tokenize_chinese_chars",
    "strip_accents",
    "model_max_length",
    "clean_up_tokenization_spaces",
)
# What a file may say about the rest, if it says anything.
FIXED_SETTINGS = {
    "tokenizer_class": ("BertTokenizer", "BertTokenizerFast"),
    "pad_token": ("[PAD]",),
    "unk_token": (UNKNOWN,),
    "cls_token": ("[CLS]",),
    "sep_token": ("[SEP]",),
    "mask_token": ("[MASK]",),
    "bos_token": (None, *SPECIAL_TOKENS),
    "eos_token": (None, *SPECIAL_TOKENS),
    "padding_side": ("right",),
    "truncation_side": ("right",),
}


def read_settings(folder: Path) -> dict:
    """Read `tokenizer_config.json`, if there is one.

    Raises:
        ValueError: It wants what this tokenizer never does, or a setting
            has a value of another type.
    """
    path = folder / "tokenizer_config.json"
    stored = read_json(path)
    refuse_other_settings(stored, path)
    settings = {name: stored[name] for name in SETTINGS if name in stored}
    # transformers writes 10^30 for "not known".
    length = settings.get("model_max_length")
    if isinstance(length, int | float) and length >= 10**9:
        settings["model_max_length"] = None
    check_settings(settings, f"{path}: ")
    return settings


def check_settings(settings: dict, where: str = "") -> None:
    """Raise when a setting has a value of another type."""
    for name, value in settings.items():
        if value is None and name in ("model_max_length", "strip_accents"):
            continue
        wanted = int if name == "model_max_length" else bool
        if type(value) is not wanted:
            raise ValueError(
                f"{where}{name} is {value!r}, wanted {wanted.__name__}"
            )


def refuse_other_settings(stored: dict, path: Path) -> None:
    """Raise when a file wants what this tokenizer never does."""
    for name, known in FIXED_SETTINGS.items():
        found = token_name(stored.get(name, known[0]))
        if found not in known:
            raise ValueError(
                f"{path}: {name} is {found!r}, this tokenizer knows "
                + " or ".join(map(repr, known))
            )
    added = [
        *(stored.get("added_tokens_decoder") or {}).values(),
        *(stored.get("additional_special_tokens") or []),
        *(stored.get("extra_special_tokens") or []),
        *(stored.get("added_tokens") or []),
    ]
    for token in map(token_name, added):
        if token not in SPECIAL_TOKENS:
            raise ValueError(
                f"{path}: {token!r} is added to the vocabulary; this "
                f"tokenizer knows {', '.join(SPECIAL_TOKENS)}"
            )


def token_name(token: object) -> object:
    """A token as it is written, also where it has its own small settings."""
    return token.get("content") if isinstance(token, dict) else token


# What the two files call the same setting, and what it is if left out.
TWO_NAMES = {
    "do_lower_case": ("lowercase", True),
    "tokenize_chinese_chars": ("handle_chinese_chars", True),
    "strip_accents": ("strip_accents", None),
}


def refuse_contradiction(
    vocab: dict[str, int], settings: dict, folder: Path
) -> None:
    """Raise when another file in `folder` says otherwise."""
    path = folder / "special_tokens_map.json"
    refuse_other_settings(read_json(path), path)
    path = folder / "added_tokens.json"  # each token and its id
    refuse_other_settings({"added_tokens": list(read_json(path))}, path)
    path = folder / "tokenizer.json"
    if not path.is_file():
        return
    refuse_other_normalizer(settings, path)
    other = read_tokenizer_json(path)
    for token in {**vocab, **other}:
        found, wanted = other.get(token), vocab.get(token)
        if found != wanted:
            raise ValueError(
                f"{path}: {token!r} has the id {found}, but in vocab.txt "
                f"{wanted}; wanted the same in both"
            )


def refuse_other_normalizer(settings: dict, path: Path) -> None:
    """Raise when a `tokenizer.json` cleans a text in another way."""
    other = read_json(path).get("normalizer") or {}
    kind = other.get("type", "BertNormalizer")
    if kind != "BertNormalizer":
        raise ValueError(
            f"{path}: found a normalizer of type {kind!r}, "
            "wanted 'BertNormalizer'"
        )
    for name, (their_name, default) in TWO_NAMES.items():
        found, wanted = other.get(their_name), settings.get(name, default)
        if their_name in other and found != wanted:
            raise ValueError(
                f"{path}: {their_name} is {found}, but tokenizer_config.json "
                f"makes {name} {wanted}; wanted the same in both"
            )


# book/03-wordpiece.md: Special tokens inside a text
# In parentheses, so that re.split keeps what it splits at.
SPECIAL_PATTERN = re.compile(f"({'|'.join(map(re.escape, SPECIAL_TOKENS))})")


# book/03-wordpiece.md: The tokenizer
class BertTokenizer:
    """Turns texts into ids as a BERT checkpoint wants them, and back.

    Same names and same ids as transformers' BertTokenizer.

    Args:
        vocab: Each token and its id, counted from 0.
        do_lower_case: Lower all letters (uncased models).
        tokenize_chinese_chars: Make each Chinese character a word.
        strip_accents: Take accents off; None means "when lowering".
        model_max_length: The most tokens that the model takes, if known.
        clean_up_tokenization_spaces: Let `decode` close up more signs.

    Raises:
        ValueError: A special token is missing, the ids have gaps, or a
            setting has a value of another type.
    """

    pad_token, unk_token, cls_token, sep_token, mask_token = SPECIAL_TOKENS

    def __init__(
        self,
        vocab: dict[str, int],
        do_lower_case: bool = True,
        tokenize_chinese_chars: bool = True,
        strip_accents: bool | None = None,
        model_max_length: int | None = None,
        clean_up_tokenization_spaces: bool = False,
    ) -> None:
        check_vocab(vocab)
        self.vocab = vocab
        self.tokens = sorted(vocab, key=vocab.__getitem__)
        self.do_lower_case = do_lower_case
        self.tokenize_chinese_chars = tokenize_chinese_chars
        self.strip_accents = strip_accents
        self.model_max_length = model_max_length
        self.clean_up_tokenization_spaces = clean_up_tokenization_spaces
        check_settings({name: getattr(self, name) for name in SETTINGS})
        self.all_special_ids = [vocab[token] for token in SPECIAL_TOKENS]
        (
            self.pad_token_id,
            self.unk_token_id,
            self.cls_token_id,
            self.sep_token_id,
            self.mask_token_id,
        ) = self.all_special_ids

    @property
    def vocab_size(self) -> int:
        """How many tokens the vocabulary has."""
        return len(self.vocab)

    @classmethod
    def from_pretrained(cls, name: str | os.PathLike) -> Self:
        """Open the tokenizer of a folder or of a hub name.

        Raises:
            FileNotFoundError: No such folder, or no vocabulary in it.
            ValueError: A setting or a token that this tokenizer does not
                know, or two files that disagree.
        """
        folder = resolve_folder(name)
        vocab, settings = read_vocab(folder), read_settings(folder)
        refuse_contradiction(vocab, settings, folder)
        return cls(vocab, **settings)

    def save_pretrained(self, folder: str | os.PathLike) -> None:
        """Write `vocab.txt` and `tokenizer_config.json` into `folder`.

        Raises:
            ValueError: A file that is there already says otherwise, or a token
                cannot be read back from a line. Nothing is written then.
        """
        for token in self.tokens:
            if tokens_in(token + "\n") != [token]:
                raise ValueError(
                    f"{token!r} has a line break in it or white space at its "
                    "end; wanted tokens that fill one line of vocab.txt"
                )
        Path(folder).mkdir(parents=True, exist_ok=True)
        settings = {name: getattr(self, name) for name in SETTINGS}
        refuse_contradiction(self.vocab, settings, Path(folder))
        settings["tokenizer_class"] = "BertTokenizer"
        lines = "".join(token + "\n" for token in self.tokens)
        Path(folder, "vocab.txt").write_text(lines, encoding="utf-8")
        Path(folder, "tokenizer_config.json").write_text(
            json.dumps(settings, indent=2) + "\n", encoding="utf-8"
        )

    def tokenize(self, text: str) -> list[str]:
        """Cut a text into tokens, without `[CLS]` and `[SEP]` around it."""
        tokens = []
        # Special tokens are found in the raw text: cleaning breaks them up.
        for part in SPECIAL_PATTERN.split(text):
            if part in SPECIAL_TOKENS:
                tokens.append(part)
                continue
            for word in self.words(part):
                tokens += split_word(word, self.vocab)
        return tokens

    def words(self, text: str) -> list[str]:
        """Clean a text as this checkpoint wants it, and cut it into words."""
        text = normalize(
            text,
            self.do_lower_case,
            self.tokenize_chinese_chars,
            self.strip_accents,
        )
        return split_words(text)

    def ids(self, text: str) -> list[int]:
        """The ids of `tokenize`'s tokens."""
        return [
            self.vocab.get(token, self.unk_token_id)
            for token in self.tokenize(text)
        ]

    def convert_tokens_to_ids(
        self, tokens: str | Sequence[str]
    ) -> int | list[int]:
        """The id of one token or of each; that of `[UNK]` for unknown ones."""
        if isinstance(tokens, str):
            return self.vocab.get(tokens, self.unk_token_id)
        if tokens != []:
            check_texts(tokens, "tokens")
        return [self.vocab.get(token, self.unk_token_id) for token in tokens]

    def convert_ids_to_tokens(
        self, ids: int | Sequence[int]
    ) -> str | list[str]:
        """The token of one id or of each."""
        if isinstance(ids, int):
            return self.look_up([ids])[0]
        return self.look_up(ids)

    def look_up(self, ids: Sequence[int]) -> list[str]:
        """The tokens of some ids.

        Raises:
            TypeError: One is no whole number.
            ValueError: One is not in the vocabulary.
        """
        for index in ids:
            if not hasattr(index, "__index__"):
                raise TypeError(
                    f"ids: found {index!r:.40}, wanted whole numbers"
                )
            if not 0 <= index < self.vocab_size:
                raise ValueError(
                    f"id {index} is not in the vocabulary, "
                    f"wanted 0 to {self.vocab_size - 1}"
                )
        return [self.tokens[index] for index in ids]

    def encode(self, text: str, text_pair: str | None = None) -> list[int]:
        """Turn a text, or a pair, into ids with `[CLS]` and `[SEP]`."""
        return self(text, text_pair)["input_ids"]

    def assemble(
        self, first: list[int], second: list[int] | None
    ) -> dict[str, list[int]]:
        """Put the special tokens around one text or two, and number them."""
        input_ids = [self.cls_token_id, *first, self.sep_token_id]
        segments = [0] * len(input_ids)
        if second is not None:
            input_ids += [*second, self.sep_token_id]
            segments += [1] * (len(second) + 1)
        return {
            "input_ids": input_ids,
            "token_type_ids": segments,
            "attention_mask": [1] * len(input_ids),
        }

    def encode_row(
        self, text: str, text_pair: str | None, max_length: int | None
    ) -> dict[str, list[int]]:
        """Encode one text or pair, cut to `max_length` tokens if given."""
        first = self.ids(text)
        if text_pair is None:
            room = self.room(max_length, specials=2)
            return self.assemble(first[:room], None)
        second = self.ids(text_pair)
        room = self.room(max_length, specials=3)
        if room is not None:
            n_first, n_second = share_room(len(first), len(second), room)
            first, second = first[:n_first], second[:n_second]
        return self.assemble(first, second)

    def room(self, max_length: int | None, specials: int) -> int | None:
        """How many tokens fit beside the special ones; None means any."""
        if max_length is None:
            return None
        if max_length < specials:
            raise ValueError(
                f"max_length is {max_length}, wanted at least {specials}: "
                "the special tokens alone take that many"
            )
        return max_length - specials

    def pad(self, rows: Sequence[dict], length: int | None) -> None:
        """Fill all rows on the right, up to `length` or to the longest."""
        if length is None:
            length = max(len(row["input_ids"]) for row in rows)
        for row in rows:
            missing = length - len(row["input_ids"])
            row["input_ids"] += [self.pad_token_id] * missing
            row["token_type_ids"] += [0] * missing
            row["attention_mask"] += [0] * missing

    def __call__(
        self,
        text: str | Sequence[str],
        text_pair: str | Sequence[str] | None = None,
        padding: bool | str = False,
        truncation: bool = False,
        max_length: int | None = None,
        return_tensors: str | None = None,
    ) -> dict:
        """Turn texts into what the model reads.

        Args:
            text: One text, or a batch of texts.
            text_pair: A second text for each first one.
            padding: True pads to the longest of the batch, "max_length" to
                `max_length`.
            truncation: Cut what is longer than `max_length`.
            max_length: In tokens, special ones counted; where it is left
                out, the model's own.
            return_tensors: "pt" for tensors `[batch, seq]`, else lists.

        Returns:
            `input_ids`, `token_type_ids` (0 first text, 1 second) and
            `attention_mask` (1 real token, 0 padding).
        """
        texts, pairs = as_batch(text, text_pair)
        check_options(padding, truncation, max_length, return_tensors)
        limit = self.model_max_length if max_length is None else max_length
        if limit is None and (truncation or padding == "max_length"):
            raise ValueError(
                "truncation or padding='max_length' without max_length, and "
                "this checkpoint does not say how many tokens its model takes"
            )
        rows = [
            self.encode_row(first, second, limit if truncation else None)
            for first, second in zip(texts, pairs, strict=True)
        ]
        if padding:
            self.pad(rows, limit if padding == "max_length" else None)
        if isinstance(text, str) and return_tensors is None:
            return rows[0]
        batch = {name: [row[name] for row in rows] for name in rows[0]}
        if return_tensors == "pt":
            return {name: as_tensor(lists) for name, lists in batch.items()}
        return batch

    def decode(
        self, ids: Sequence[int] | Tensor, skip_special_tokens: bool = False
    ) -> str:
        """Turn ids into a text; what cleaning took away stays lost."""
        if isinstance(ids, Tensor):
            ids = ids.tolist()
        if isinstance(ids, int):  # one id alone, as transformers takes it
            ids = [ids]
        if len(ids) and isinstance(ids[0], list | tuple):
            raise ValueError(
                f"decode: found a batch of {len(ids)} rows, wanted one row"
            )
        if skip_special_tokens:
            ids = [index for index in ids if index not in self.all_special_ids]
        tokens = self.look_up(ids)
        text = "".join(tokens[:1] + [joined(token) for token in tokens[1:]])
        return clean_up(text) if self.clean_up_tokenization_spaces else text


# book/03-wordpiece.md: Texts that are too long
def share_room(first: int, second: int, room: int) -> tuple[int, int]:
    """Share `room` places between two texts, cutting the longer first.

    Args:
        first, second: How many tokens the two texts have.
        room: How many may stay.

    Returns:
        How many tokens of each text stay.
    """
    if first + second <= room:
        return first, second
    # Cut only the longer one, as long as it stays the longer one; else
    # both get half, and the odd place goes to the longer (or the second).
    shorter = min(first, second, room // 2)
    if first > second:
        return room - shorter, shorter
    return shorter, room - shorter


# book/03-wordpiece.md: Batches
def as_batch(
    text: str | Sequence[str], text_pair: str | Sequence[str] | None
) -> tuple[list[str], list[str | None]]:
    """Bring one text or many, with or without pairs, into two lists."""
    one = isinstance(text, str)
    if text_pair is not None and isinstance(text_pair, str) != one:
        raise TypeError(
            "text and text_pair must both be a string or both a list, "
            f"found {type(text).__name__} and {type(text_pair).__name__}"
        )
    texts = check_texts([text] if one else text, "text")
    # As transformers: beside one text, an empty second text is none.
    if text_pair is None or text_pair == "":
        return texts, [None] * len(texts)
    pairs = check_texts([text_pair] if one else text_pair, "text_pair")
    if len(pairs) != len(texts):
        raise ValueError(
            f"{len(texts)} texts but {len(pairs)} in text_pair, "
            "wanted one for each"
        )
    return texts, [*pairs]


def check_texts(texts: object, name: str) -> list[str]:
    """Raise unless this is a list of proper strings, at least one."""
    if not isinstance(texts, (list, tuple)) or not texts:
        raise TypeError(
            f"{name}: found {texts!r:.40}, wanted a string or a list of them"
        )
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(
                f"{name}: found {text!r:.40} of type {type(text).__name__}, "
                "wanted a string"
            )
        try:
            text.encode()  # fails at half a character, quicker than a search
        except UnicodeEncodeError as error:
            raise ValueError(
                f"{name}: U+{ord(text[error.start]):X} at character "
                f"{error.start} is half a character, wanted Unicode text"
            ) from None
    return list(texts)


def check_options(
    padding: bool | str,
    truncation: bool,
    max_length: int | None,
    return_tensors: str | None,
) -> None:
    """Raise when an option is none of those known, or has no effect."""
    known: dict[str, tuple[object, tuple]] = {
        "padding": (padding, (False, True, "max_length")),
        "truncation": (truncation, (False, True)),
        "return_tensors": (return_tensors, (None, "pt")),
    }
    for name, (found, wanted) in known.items():
        if found not in wanted:
            raise ValueError(
                f"{name} is {found!r}, wanted one of "
                + ", ".join(map(repr, wanted))
            )
    if max_length is None:
        return
    if type(max_length) is not int or max_length < 1:
        raise ValueError(
            f"max_length is {max_length!r}, wanted a whole number of at "
            "least 1"
        )
    if not (truncation or padding == "max_length"):
        raise ValueError(
            f"max_length is {max_length} but has nothing to do: wanted "
            "truncation=True or padding='max_length' beside it"
        )


def as_tensor(rows: list[list[int]]) -> Tensor:
    """Stack rows of one length into `[batch, seq]`, int64."""
    lengths = sorted({len(row) for row in rows})
    if len(lengths) > 1:
        raise ValueError(
            f"rows of {lengths[0]} to {lengths[-1]} tokens make no tensor: "
            "wanted padding=True, and truncation=True where a text is too "
            "long"
        )
    return torch.tensor(rows)  # [batch, seq]


# book/03-wordpiece.md: And back
# Before these the decoder writes no blank.
CLOSE_UP = (".", "?", "!", ",", "n't", "'m", "'s", "'ve", "'re")


def joined(token: str) -> str:
    """Write a token as it follows another: closed up, or after a blank."""
    if token.startswith(CONTINUES):
        return token.removeprefix(CONTINUES)
    return token if token.startswith(CLOSE_UP) else " " + token


def clean_up(text: str) -> str:
    """Close up the same signs and the apostrophe in a whole text."""
    signs = [" " + sign for sign in CLOSE_UP]
    for spaced in (*signs[:4], " ' ", *signs[4:]):
        text = text.replace(spaced, spaced.strip())
    return text
