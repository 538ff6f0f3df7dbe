"""Checkpoints that others published, when they are at hand.

Set BERT_BASE to a folder of google-bert/bert-base-uncased to run the tests
of its published numbers, and BERT_CHECKPOINT to a folder of any BERT (for
instance sentence-transformers/all-MiniLM-L6-v2) to compare that one with
transformers instead of pocket-bert.
"""

import json
import os
from pathlib import Path

import pytest
import torch

from bert import BertForMaskedLM, BertModel, BertTokenizer, optimize
from bookkit import checkpoint_path, referee

HERE = Path(__file__).parent / "reference" / "bert-base-uncased.json"
REFERENCE = json.loads(HERE.read_text("utf-8"))
ROME = REFERENCE["when_in_rome"]
FOLDER = os.environ.get("BERT_BASE", "")
needs_base = pytest.mark.skipif(
    not Path(FOLDER or "absent").is_dir(),
    reason="BERT_BASE names no folder of bert-base-uncased",
)


def test_the_ids_are_the_published_ones(pocket):
    # pocket-bert has bert-base-uncased's own vocabulary.
    tokenizer = BertTokenizer.from_pretrained(pocket)
    for published in (ROME, REFERENCE["hello_world"]):
        found = tokenizer(published["text"])["input_ids"]
        assert found == published["input_ids"]


def cut(tensor: torch.Tensor) -> torch.Tensor:
    """The rows and columns that were published."""
    rows, columns = ROME["row_positions"], ROME["column_positions"]
    return tensor[0][rows][:, columns]


@needs_base
def test_every_published_step_is_met():
    model = BertForMaskedLM.from_pretrained(FOLDER)
    ids = torch.tensor([ROME["input_ids"]])
    trunk, head = model.bert, model.masked_words
    with torch.inference_mode():
        out = model(ids, output_hidden_states=True)
        dense = head.dense(out.hidden_states[-1])
        steps = {
            "word_embeddings": trunk.embeddings.word(ids),
            "embeddings_sum": trunk.embeddings(ids, torch.zeros_like(ids)),
            "embeddings_output": out.hidden_states[0],
            "last_hidden_state": out.hidden_states[-1],
            "mlm_dense": dense,
            "mlm_transform": head.norm(head.activation(dense)),
        }
    for name, found in steps.items():
        expected = torch.tensor(ROME[name])
        error = (cut(found) - expected).abs().max().item()
        assert error < ROME["tolerance"], (name, error)


@needs_base
def test_the_published_sentence_is_decoded():
    model = BertForMaskedLM.from_pretrained(FOLDER)
    tokenizer = BertTokenizer.from_pretrained(FOLDER)
    with torch.inference_mode():
        best = model(torch.tensor([ROME["input_ids"]])).logits[0].argmax(-1)
    assert tokenizer.decode(best.tolist()) == ROME["decoded_argmax"]


@needs_base
def test_the_published_slice_of_the_trunk_is_met():
    published = REFERENCE["bert_model_slice"]
    model = BertModel.from_pretrained(FOLDER)
    with torch.inference_mode():
        found = model(
            torch.tensor(published["input_ids"]),
            torch.tensor(published["attention_mask"]),
        ).last_hidden_state[:, 1:4, 1:4]
    error = (found - torch.tensor(published["values"])).abs().max().item()
    assert error < published["tolerance"]


@pytest.mark.parametrize(
    "way", [lambda model: model, optimize], ids=["plain", "optimized"]
)
def test_a_trunk_gives_transformers_numbers(way):
    tokenizer = BertTokenizer.from_pretrained(checkpoint_path())
    texts = [ROME["text"], "Zoë's naïve café — 東京!", "a " * 100]
    options = {"padding": True, "return_tensors": "pt"}
    batch = tokenizer(texts, **options)
    theirs = referee("tokenizer")(texts, **options)
    assert torch.equal(batch["input_ids"], theirs["input_ids"])
    model = way(BertModel.from_pretrained(checkpoint_path()))
    with torch.inference_mode():
        found = model(**batch).last_hidden_state
        expected = referee().bert(**batch).last_hidden_state
    real = batch["attention_mask"] == 1
    error = (found - expected)[real].abs().max()
    assert error <= 60 * torch.finfo(torch.float32).eps * expected.abs().max()
