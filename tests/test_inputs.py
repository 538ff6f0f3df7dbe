"""The mask that is added to the scores."""

import pytest
import torch

from bert.config import BertConfig
from bert.inputs import added_mask, check_ids, check_inputs, check_range

KEEP = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0]])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_mask_has_one_number_for_each_key(dtype):
    mask = added_mask(KEEP, dtype)
    assert mask.shape == (2, 1, 1, 4) and mask.dtype is dtype
    assert torch.equal(mask[:, 0, 0] == 0, KEEP == 1)
    assert mask.min() == torch.finfo(dtype).min


def test_hidden_keys_get_exactly_nothing():
    scores = torch.randn(2, 3, 5, 4)
    weights = torch.softmax(scores + added_mask(KEEP, scores.dtype), dim=-1)
    assert (weights[0, :, :, 3] == 0).all()
    assert (weights[1, :, :, 1:] == 0).all()
    assert (weights[1, :, :, 0] == 1).all()


def test_a_boolean_mask_is_as_good():
    whole = added_mask(KEEP, torch.float32)
    assert torch.equal(added_mask(KEEP.bool(), torch.float32), whole)


def test_whole_numbers_in_range_pass():
    check_range("ids", torch.tensor([0, 6]), 7)
    with pytest.raises(ValueError, match="ids holds 7, wanted 0 to 6"):
        check_range("ids", torch.tensor([0, 7]), 7)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32])
def test_ids_of_a_type_that_torch_looks_up_pass(dtype):
    ids = torch.tensor([0, 6], dtype=dtype)
    check_ids("ids", ids, 7)
    assert torch.nn.functional.embedding(ids, torch.eye(7)).shape == (2, 7)


@pytest.mark.parametrize(
    "dtype", [torch.bool, torch.uint8, torch.int16, torch.float32]
)
def test_ids_of_another_type_are_refused(dtype):
    ids = torch.tensor([0, 1], dtype=dtype)
    with pytest.raises(ValueError, match=f"ids holds {dtype}, wanted torch."):
        check_ids("ids", ids, 7)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64])
def test_a_mask_may_have_any_whole_type(dtype):
    check_range("mask", KEEP.to(dtype), 2)


@pytest.mark.parametrize(
    "name", ["input_ids", "attention_mask", "token_type_ids"]
)
def test_a_list_is_refused_with_the_way_to_a_tensor(name):
    given = dict.fromkeys(
        ["input_ids", "attention_mask", "token_type_ids"], KEEP
    ) | {name: KEEP.tolist()}
    with pytest.raises(TypeError, match=f"{name} is a list, wanted a tensor"):
        check_inputs(BertConfig(), **given)


def test_what_is_left_out_is_not_checked():
    check_inputs(BertConfig(), KEEP, None, None)
