"""Shared refusals: each says what was got, what was expected and what to do."""

import numpy as np
import pytest
import torch

from ood_core import checks
from ood_core.checks import ArtifactError, InputError, NotFittedError

REFUSED = [
    (lambda: checks.choice("scale", "tiney", ["tiny", "small"]), r"scale is 'tiney', expected one of: tiny, small\."),
    (lambda: checks.choice("scorer", "KN", ["msp", "knn"]), r"expected one of: msp, knn\.\n.*; did you mean 'knn'\?"),
    (lambda: checks.choice("scorer", "zzz", ["msp", "knn"]), r"one of: msp, knn\.\nPick one of these names\.$"),
    (lambda: checks.choice("jobs", 3, [1, 2]), r"jobs is 3, expected one of: 1, 2\."),
    (lambda: checks.matrix("w", torch.ones(3, 2), columns=3, like="the features"), r"as the features\.\n.*: w\.T\."),
    (lambda: checks.tensor("x", "text"), "x is a str that is not numeric"),
    (lambda: checks.tensor("x", [[1.0], [2.0, 3.0]]), "x is a list that is not numeric"),
    (lambda: checks.finite("x", torch.tensor([1.0, torch.nan, torch.inf])), "x holds 2 NaN or infinite of 3 values"),
    (lambda: checks.matrix("x", torch.ones(3)), r"x has shape \(3,\), expected \(N, D\)\.\nReshape x so"),
    (lambda: checks.matrix("x", torch.ones(3, 2, 1, 1)), r"expected \(N, D\)\.\nPool .* x\.mean\(dim=\(2, 3\)\)"),
    (
        lambda: checks.matrix("layer 'm'", torch.ones(3, 2, 1, 1)),
        r"layer 'm' has .*\n.* example x\.mean\(dim=\(2, 3\)\)\.",
    ),
    (lambda: checks.matrix("h", np.ones((3, 2, 1, 1))), r"h has shape .*\n.* example h\.mean\(axis=\(2, 3\)\)\."),
    (lambda: checks.matrix("layer 'm'", torch.ones(2, 2).int()), r"layer 'm' has dtype .*\n.* example x\.float\(\)\."),
    (lambda: checks.matrix("h", np.ones((2, 2), int)), r'h has dtype .*\n.* example h\.astype\("float32"\)\.'),
    (lambda: checks.matrix("x", torch.ones(3), unit="C"), r"expected \(N, C\)"),
    (lambda: checks.matrix("x", torch.ones(0, 2)), r"shape \(0, 2\), expected at least one row and column"),
    (lambda: checks.matrix("x", torch.ones(2, 0)), r"shape \(2, 0\), expected at least one row and column"),
    (lambda: checks.matrix("x", torch.ones(2, 2).int()), r"dtype torch\.int32, expected a floating-point type"),
    (lambda: checks.matrix("x", torch.ones(2, 2), columns=3), "x has 2 columns, expected 3"),
    (lambda: checks.matrix("x", torch.full((2, 2), torch.nan)), "x holds 4 NaN"),
    (lambda: checks.vector("s", torch.ones(2, 2)), r"s has shape \(2, 2\), expected \(N,\) with N >= 1"),
    (lambda: checks.vector("s", []), r"s has shape \(0,\)"),
    (lambda: checks.vector("s", 3.0), r"s has shape \(\)"),
    (lambda: checks.vector("s", [1.0, np.nan]), "s holds 1 NaN"),
    (lambda: checks.vector("s", np.array([1j])), r"s has dtype torch\.complex128, expected real"),
    (lambda: checks.labels("y", torch.zeros(0).long(), 0), r"y has shape \(0,\), expected \(N,\), N >= 1"),
    (lambda: checks.labels("y", [0, 1], 3), r"y has shape \(2,\), expected \(3,\)"),
    (lambda: checks.labels("y", [0.0, 1.0], 2), "y has dtype torch.float64, expected integers"),
    (lambda: checks.labels("y", [True, False], 2), "y has dtype torch.bool, expected integers"),
    (lambda: checks.labels("y", [0, -1], 2), r"y spans -1\.\.0, expected 0\.\.C-1"),
    (lambda: checks.labels("y", [0, 4], 2, classes=4), r"y spans 0\.\.4, expected 0\.\.3"),
    (lambda: checks.labels("y", [0, 2], 2, every_class=True), "no sample of class 1, expected all 3 classes"),
    (lambda: checks.labels("y", [0, 1], 2, 4, every_class=True), "no sample of class 2, 3, expected all 4 classes"),
]


@pytest.mark.parametrize(("use", "reason"), REFUSED)
def test_says_what_was_got_what_was_expected_and_what_to_do(use, reason):
    with pytest.raises(InputError, match=reason) as caught:
        use()
    got, _, advice = str(caught.value).partition("\n")
    assert "expected" in got
    assert advice.endswith((".", "?"))


def test_passes_what_is_right():
    assert checks.choice("scale", "tiny", ["tiny"]) == "tiny"
    values = torch.ones(2, 3)
    assert checks.matrix("x", values, columns=3) is not None
    assert checks.matrix("x", values.numpy()).dtype == torch.float32
    assert checks.matrix("x", values.bfloat16()).dtype == torch.bfloat16
    assert checks.vector("s", [1, 2]).tolist() == [1, 2]
    assert checks.finite("x", torch.tensor([1, 2])).tolist() == [1, 2]
    y = checks.labels("y", np.array([0, 2, 1], dtype=np.uint8), 3, classes=3, every_class=True)
    assert (y.dtype, y.tolist()) == (torch.int64, [0, 2, 1])


def test_one_family_of_errors():
    for kind in (NotFittedError, ArtifactError):
        assert issubclass(kind, InputError)
    assert issubclass(InputError, ValueError)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_large_numbers_whose_sum_overflows_are_finite_and_opposite_infinities_are_not(dtype):
    large = torch.full((50, 3), torch.finfo(dtype).max, dtype=dtype)
    assert checks.finite("x", large) is large
    for bad in (float("inf"), -float("inf"), float("nan")):
        large[7, 1] = bad
        with pytest.raises(InputError, match="x holds 1 NaN or infinite of 150 values"):
            checks.finite("x", large)
    both = torch.zeros(9, dtype=dtype)
    both[0], both[1] = float("inf"), -float("inf")
    with pytest.raises(InputError, match="x holds 2 NaN or infinite"):
        checks.finite("x", both)


def test_classes_that_were_not_re_indexed_are_not_all_named():
    before = [0] * 15 + [15_000_000] * 15
    with pytest.raises(InputError, match="no sample of class 1, 2, 3, 4, 5 and 14999994 more") as caught:
        checks.labels("y", before, 30, every_class=True)
    assert len(str(caught.value)) < 300
    assert "re-index the classes from 0" in str(caught.value)
    with pytest.raises(InputError, match="no sample of class 0, 1, 2, 3, 4, expected all 6"):
        checks.labels("y", [5], 1, every_class=True)


def locked(array):
    array.setflags(write=False)
    return array


PLAIN = np.array([[3.0, 1.0, 2.0], [6.0, 5.0, 4.0]])


@pytest.mark.parametrize(
    "array",
    [
        PLAIN[::-1, ::-1].copy()[::-1, ::-1],
        np.asfortranarray(PLAIN[:, ::-1])[:, ::-1],
        PLAIN.astype(">f8"),
        PLAIN.astype("<f8"),
        PLAIN.astype(object),
        PLAIN.astype(np.longdouble),
        locked(PLAIN.copy()),
        PLAIN.tolist(),
    ],
    ids=["reversed", "reversed columns", "big-endian", "little-endian", "object", "longdouble", "read-only", "list"],
)
@pytest.mark.filterwarnings("error")
def test_takes_arrays_of_numbers_however_they_lie(array):
    assert torch.equal(checks.matrix("x", array), torch.from_numpy(PLAIN))


@pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")
def test_copies_no_array_that_torch_takes(tmp_path):
    np.save(tmp_path / "x.npy", PLAIN)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")  # a file may be larger than memory
    for array in (mapped, PLAIN, np.asfortranarray(PLAIN), PLAIN[:, ::2]):
        assert checks.tensor("x", array).data_ptr() == array.ctypes.data


def test_objects_keep_their_kind_and_other_things_are_refused():
    assert checks.labels("y", np.array([2, 0, 1], dtype=object), 3).tolist() == [2, 0, 1]
    for bad in (["1.5", "2"], [1.0, None], [1.0, "2"], [object()], [2**70]):
        with pytest.raises(InputError, match="not numeric"):
            checks.tensor("x", np.array(bad, dtype=object))
