"""The masked-word head, its tied decoder, and the losses."""

import pytest
import torch
import torch.nn.functional as F

from bert import BertForMaskedLM, BertForPreTraining
from bert.heads import label_loss


def test_the_decoder_is_the_word_embeddings(small):
    model = BertForMaskedLM.from_pretrained(small["published"])
    words = model.bert.embeddings.word.weight
    assert model.masked_words.decoder.weight is words


def test_an_untied_decoder_is_its_own(small):
    model = BertForMaskedLM.from_pretrained(small["untied"])
    words = model.bert.embeddings.word.weight
    assert not torch.equal(model.masked_words.decoder.weight, words)


def test_the_masked_lm_has_no_pooler(small):
    model = BertForMaskedLM.from_pretrained(small["published"])
    names = [name for name, _ in model.named_parameters()]
    assert not any("pooler" in name or "next" in name for name in names)


def test_logits_of_a_few_positions_are_those_of_all(small):
    model = BertForPreTraining.from_pretrained(small["published"])
    ids = torch.arange(5, 18)[None]
    with torch.inference_mode():
        hidden = model.bert(ids).last_hidden_state
        few = model.masked_words(hidden[:, [2, 7]])
        every = model(ids).prediction_logits[:, [2, 7]]
    assert (few - every).abs().max() < 2e-5


def test_the_loss_is_the_mean_over_asked_labels():
    logits = torch.randn(2, 3, 7, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([[-100, 4, -100], [0, -100, 6]])
    chances = F.log_softmax(logits, dim=-1)
    by_hand = -(chances[0, 1, 4] + chances[1, 0, 0] + chances[1, 2, 6]) / 3
    assert abs(label_loss(logits, labels, "labels") - by_hand) < 1e-6


@pytest.mark.parametrize("name", ["labels", "next_sentence_label"])
def test_the_loss_of_pretraining_wants_both_labels(small, name):
    model = BertForPreTraining.from_pretrained(small["published"])
    ids = torch.tensor([[5, 6, 7], [8, 9, 5]])
    given = {"labels": ids, "next_sentence_label": torch.tensor([0, 1])}
    assert model(ids, **given).loss > 0
    assert model(ids, **{name: given[name]}).loss is None


def test_both_classes_of_the_next_sentence_learn():
    # A label of 0 is a class here, not a label to ignore.
    logits = torch.zeros(2, 2, requires_grad=True)
    label_loss(logits, torch.tensor([0, 1]), "labels").backward()
    assert torch.equal(
        logits.grad, torch.tensor([[-0.25, 0.25], [0.25, -0.25]])
    )


@pytest.mark.parametrize(
    "labels, message",
    [
        (torch.zeros(2, 4).long(), r"shape \[2, 4\], wanted \[2, 3\]"),
        (torch.full((2, 3), -100), "nothing but -100"),
        (torch.full((2, 3), 7), "holds 7 to 7, wanted -100 or 0 to 6"),
        (torch.full((2, 3), -1), "holds -1 to -1"),
        (torch.ones(2, 3), "holds torch.float32, wanted torch.int64"),
        (torch.ones(2, 3).int(), "holds torch.int32, wanted torch.int64"),
    ],
)
def test_wrong_labels_are_refused_in_words(labels, message):
    with pytest.raises(ValueError, match=message):
        label_loss(torch.zeros(2, 3, 7), labels, "labels")


def test_labels_that_are_no_tensor_are_refused():
    for labels in ([[1, 2, 3]], torch.ones(1, 3).long().numpy()):
        with pytest.raises(TypeError, match="^labels: found .*wanted a tens"):
            label_loss(torch.zeros(1, 3, 7), labels, "labels")


@pytest.mark.parametrize("kind", [BertForMaskedLM, BertForPreTraining])
def test_labels_are_given_by_name(small, kind):
    """The fourth argument of transformers' models is the positions."""
    model = kind.from_pretrained(small["published"])
    ids = torch.ones(1, 3).long()
    with pytest.raises(TypeError, match="positional arguments but 5 were"):
        model(ids, ids, ids, ids)
