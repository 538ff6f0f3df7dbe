"""The mask that is added to the scores."""

import pytest
import torch

from bert.inputs import added_mask, check_range

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
