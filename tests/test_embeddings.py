"""bert.embeddings: a lookup is a product, and the sum is transformers'."""

import pytest
import torch
from transformers import BertModel as TheirBert

from bert.config import BertConfig
from bert.embeddings import Embedding, Embeddings
from bert.model import BertModel

CONFIG = BertConfig(
    vocab_size=99,
    hidden_size=35,
    num_attention_heads=5,
    max_position_embeddings=43,
    type_vocab_size=3,
    pad_token_id=4,
)
BATCH, SEQ = 3, 11


def filled(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """The module with seeded random numbers in all its weights."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(generator=generator)
    return module


def random_ids(top: int, seed: int = 1) -> torch.Tensor:
    """Ids below `top`, `[BATCH, SEQ]`."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, top, (BATCH, SEQ), generator=generator)


def test_a_lookup_is_a_product_with_one_hot_rows():
    table = filled(Embedding(17, 5))
    ids = random_ids(17)
    one_hot = torch.nn.functional.one_hot(ids, 17).float()
    assert torch.equal(table(ids), one_hot @ table.weight)


@pytest.mark.parametrize("shape", [(), (7,), (2, 3), (2, 3, 5)])
def test_ids_may_have_any_shape(shape):
    table = filled(Embedding(17, 5))
    ids = torch.full(shape, 13)
    assert table(ids).shape == (*shape, 5)
    assert (table(ids) == table.weight[13]).all()


def test_the_padding_row_gets_no_gradient_and_others_the_sum():
    table = filled(Embedding(9, 3, padding_row=4))
    table(torch.tensor([2, 4, 2, 4, 7])).sum().backward()
    expected = torch.zeros(9, 3)
    expected[2], expected[7] = 2.0, 1.0
    assert torch.equal(table.weight.grad, expected)


def test_the_padding_row_is_looked_up_like_any_other():
    table = filled(Embedding(9, 3, padding_row=4))
    assert torch.equal(table(torch.tensor([4]))[0], table.weight[4])


def test_the_sum_equals_the_loop():
    module = filled(Embeddings(CONFIG))
    ids, segments = random_ids(99), random_ids(3, seed=2)
    found = module(ids, segments)
    assert found.shape == (BATCH, SEQ, 35)
    for row in range(BATCH):
        for place in range(SEQ):
            expected = (
                module.word.weight[ids[row, place]].double()
                + module.segment.weight[segments[row, place]].double()
                + module.position.weight[place].double()
            )
            error = (found[row, place] - expected).abs().max()
            assert error < 2e-6


def test_a_text_of_every_length_up_to_all_positions_fits():
    module = filled(Embeddings(CONFIG))
    for seq in (1, 2, 43):
        ids = torch.zeros(1, seq, dtype=torch.int64)
        found = module(ids, ids)
        without = module.word.weight[0] + module.segment.weight[0]
        expected = without + module.position.weight[:seq]
        assert torch.equal(found[0], expected)


def test_one_text_does_not_move_another():
    module = filled(Embeddings(CONFIG))
    ids, segments = random_ids(99), random_ids(3, seed=2)
    changed = ids.clone()
    changed[1] = (changed[1] + 1) % 99
    before, after = module(ids, segments), module(changed, segments)
    assert torch.equal(before[[0, 2]], after[[0, 2]])
    assert not torch.equal(before[1], after[1])


def test_order_counts_only_through_the_position():
    module = filled(Embeddings(CONFIG))
    ids, segments = random_ids(99), random_ids(3, seed=2)
    turned = module(ids.flip(1), segments.flip(1)).flip(1)
    place = module.position.weight[:SEQ]
    error = turned - module(ids, segments) - (place.flip(0) - place)
    assert error.abs().max() < 4e-6
    assert not torch.allclose(turned, module(ids, segments))


@pytest.mark.parametrize("layout", ["published", "no_prefix", "half"])
def test_the_sum_is_that_of_transformers(small, layout):
    ours = BertModel.from_pretrained(small[layout]).embeddings
    theirs = TheirBert.from_pretrained(
        small[layout], dtype=torch.float32, local_files_only=True
    ).embeddings
    caught = []
    theirs.LayerNorm.register_forward_pre_hook(
        lambda module, inputs: caught.append(inputs[0])
    )
    ids, segments = random_ids(99), random_ids(2, seed=2)
    with torch.inference_mode():
        theirs(ids, segments)
        error = (ours(ids, segments) - caught[0]).abs().max()
    assert error < 1e-6


@pytest.mark.parametrize("wrong", [99, -1])
def test_an_id_outside_of_the_table_never_returns_a_row(wrong):
    with pytest.raises(IndexError, match="out of range"):
        filled(Embedding(99, 3))(torch.tensor([wrong]))
