"""Two ways to the same numbers: how far apart they are, and may be."""

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

# A tolerance over this many times the error seen could hide a mistake.
LOOSE = 100


def agree(
    name: str, found: object, expected: object, roundings: float
) -> float:
    """Print how far `found` is from `expected`, and raise if too far.

    The tolerance is `roundings` x eps x the largest |expected|, where eps is
    that of the coarser of the two dtypes: how many roundings of the largest
    number may lie between two orders of the same sums.

    Args:
        name: What is compared, in words, for the printed line.
        found: A tensor, array, number, string, or a list or dict of them.
        expected: The same from another way.
        roundings: How many; 0 asks for equality to the last bit, and is
            the only choice for strings, for whole numbers, and for lists
            whose rows differ in length.

    Returns:
        The largest error, for `glue`.

    Raises:
        AssertionError: The shapes or kinds differ, a number is not finite
            on one side alone, the error is over the tolerance, or the
            tolerance is over 100 times the error seen (counted as at least
            one rounding), which would let mistakes pass.
    """
    if not (math.isfinite(roundings) and roundings >= 0):
        raise ValueError(f"{name}: roundings is {roundings}, wanted 0 or more")
    if isinstance(found, Mapping) or isinstance(expected, Mapping):
        return agree_by_key(name, found, expected, roundings)
    if any(holds_text(x) or is_ragged(x) for x in (found, expected)):
        return agree_exactly(name, found, expected, roundings)
    return agree_in_numbers(
        name, as_tensor(name, found), as_tensor(name, expected), roundings
    )


def agree_by_key(
    name: str, found: object, expected: object, roundings: float
) -> float:
    """Compare two dicts, key by key; return the largest of the errors."""
    if not (isinstance(found, Mapping) and isinstance(expected, Mapping)):
        raise AssertionError(
            f"{name}: found a {type(found).__name__}, "
            f"expected a {type(expected).__name__}"
        )
    if found.keys() != expected.keys():
        raise AssertionError(
            f"{name}: the keys differ; only in found: "
            f"{sorted(map(str, found.keys() - expected.keys()))}, only in "
            f"expected: {sorted(map(str, expected.keys() - found.keys()))}"
        )
    if not found:
        raise AssertionError(f"{name}: nothing to compare, both are empty")
    errors = [
        agree(f"{name}, {key}", found[key], expected[key], roundings)
        for key in expected
    ]
    return max(errors)


def holds_text(value: object) -> bool:
    """Say whether a value is a string, None, or a list with one inside."""
    if isinstance(value, (list, tuple)):
        return any(map(holds_text, value))
    return value is None or isinstance(value, (str, bytes))


def is_ragged(value: object) -> bool:
    """Say whether a list has rows of different lengths."""
    if not isinstance(value, (list, tuple)):
        return False
    lengths = {
        len(item) if isinstance(item, (list, tuple)) else None
        for item in value
    }
    return len(lengths) > 1 or any(map(is_ragged, value))


def agree_exactly(
    name: str, found: object, expected: object, roundings: float
) -> float:
    """Compare strings, or lists that are no matrix: item by item."""
    if roundings:
        raise ValueError(
            f"{name}: texts and lists of different lengths have no "
            "tolerance; say roundings=0"
        )
    if isinstance(found, (list, tuple)) and isinstance(
        expected, (list, tuple)
    ):
        if len(found) != len(expected):
            raise AssertionError(
                f"{name}: found {len(found)} items, expected {len(expected)}"
            )
        for place, pair in enumerate(zip(found, expected, strict=True)):
            if not equal(*pair):
                raise AssertionError(
                    f"{name}: item {place} is {pair[0]!r}, "
                    f"expected {pair[1]!r}"
                )
    elif not equal(found, expected):
        raise AssertionError(f"{name}: found {found!r}, expected {expected!r}")
    print(f"{name}: equal")
    return 0.0


def equal(found: object, expected: object) -> bool:
    """Compare to the last item; a list and a tuple may be equal."""
    if isinstance(found, (list, tuple)) and isinstance(
        expected, (list, tuple)
    ):
        # Python's own == would let a NaN pass that is the same object.
        return len(found) == len(expected) and all(map(equal, found, expected))
    return bool(found == expected)


def as_tensor(name: str, value: object) -> Tensor:
    """Turn numbers of any kind into a tensor that keeps their precision."""
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, (list, tuple)) and any(
        isinstance(item, (Tensor, np.ndarray)) for item in value
    ):
        parts = [as_tensor(name, item) for item in value]
        shapes = {tuple(part.shape) for part in parts}
        if len(shapes) > 1:
            raise AssertionError(
                f"{name}: a list of tensors of different shapes, "
                f"{sorted(shapes)}; compare them one by one"
            )
        return torch.stack(parts)
    # Python's own floats are float64, which numpy keeps and torch does not.
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise AssertionError(
            f"{name}: cannot compare a {type(value).__name__}: {value!r:.60}"
        )
    return torch.from_numpy(array.copy())


def agree_in_numbers(
    name: str, found: Tensor, expected: Tensor, roundings: float
) -> float:
    """Compare two tensors; see `agree`."""
    if found.shape != expected.shape:
        raise AssertionError(
            f"{name}: found the shape {list(found.shape)}, "
            f"expected {list(expected.shape)}"
        )
    if not found.numel():
        raise AssertionError(f"{name}: nothing to compare, both are empty")
    refuse_unlike_infinities(name, found, expected)
    finite = torch.isfinite(expected)
    apart = (found.double() - expected.double()).abs()[finite]
    error = apart.max().item() if apart.numel() else 0.0
    if not roundings:
        if error or not bool((found == expected).all()):
            raise AssertionError(
                f"{name}: {int((found != expected).sum())} of "
                f"{found.numel()} numbers differ, by up to {error:.2g}; "
                "expected equality to the last bit"
            )
        print(f"{name}: equal to the last bit")
        return 0.0
    one = one_rounding(name, found, expected)
    tolerance = roundings * one
    print(f"{name}: largest error {error:.1e}, tolerance {tolerance:.1e}")
    if error > tolerance:
        raise AssertionError(
            f"{name}: the largest error, {error:.2g}, is over the tolerance, "
            f"{tolerance:.2g} ({roundings:g} roundings of {one:.2g})"
        )
    if tolerance > LOOSE * max(error, one):
        raise AssertionError(
            f"{name}: the tolerance, {tolerance:.2g}, is over {LOOSE} times "
            f"the error seen, {error:.2g} (one rounding is {one:.2g}), and "
            f"would let mistakes pass; lower roundings from {roundings:g}"
        )
    return error


def refuse_unlike_infinities(
    name: str, found: Tensor, expected: Tensor
) -> None:
    """Raise on any NaN, and on an infinity that stands on one side alone."""
    for side, tensor in (("found", found), ("expected", expected)):
        if count := int(torch.isnan(tensor).sum()):
            raise AssertionError(
                f"{name}: {side} holds {count} NaN, which equal nothing"
            )
    endless = torch.isinf(found) | torch.isinf(expected)
    unlike = endless & (found.double() != expected.double())
    if count := int(unlike.sum()):
        raise AssertionError(
            f"{name}: {count} of {found.numel()} numbers are infinite on one "
            "side, and something else on the other"
        )


def one_rounding(name: str, found: Tensor, expected: Tensor) -> float:
    """Return eps of the coarser dtype times the largest |expected|."""
    kinds = {tensor.dtype for tensor in (found, expected)}
    floating = [kind for kind in kinds if kind.is_floating_point]
    if not floating:
        raise ValueError(
            f"{name}: whole numbers have no rounding; say roundings=0"
        )
    eps = max(torch.finfo(kind).eps for kind in floating)
    sizes = expected.double().abs()[torch.isfinite(expected)]
    largest = sizes.max().item() if sizes.numel() else 0.0
    return eps * largest
