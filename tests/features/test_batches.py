"""Images in any form: every row once, labels beside the right ones, and what is no batch refused."""

import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, RandomSampler, SequentialSampler, TensorDataset

from ood_core import extract
from ood_core.checks import InputError
from tests.spine import images


@pytest.mark.parametrize("labelled", [True, False])
def test_data_loader(model, x, labelled):
    labels = torch.arange(11) % 4
    data = TensorDataset(x, labels) if labelled else TensorDataset(x)
    out = extract(model, DataLoader(data, batch_size=4))
    torch.testing.assert_close(out.features, extract(model, x).features)
    assert torch.equal(out.labels, labels) if labelled else out.labels is None


class Endless(IterableDataset):
    """Rows without a length."""

    def __init__(self, rows):
        self.rows = rows

    def __iter__(self):
        return iter(self.rows)


@pytest.mark.parametrize(("side", "expected"), [(8, [1024, 6]), (32, [64] * 2 + [2]), (40, [64, 1])])
def test_small_images_come_in_larger_batches(side, expected):
    """As many as have the pixels of 64 images of 32x32, and never fewer than 64."""
    sizes = []
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(side * side, 3))
    net.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    extract(net, torch.rand(sum(expected), 1, side, side))
    assert sizes == [expected[0], 4, *expected[1:]]  # a few of the first batch run twice


@pytest.mark.parametrize(
    "given",
    [
        lambda x: iter([x[:4], x[4:5], x[5:]]),
        lambda x: DataLoader(Endless(x), batch_size=4),
        lambda x: DataLoader(x, batch_sampler=[[0, 1], [2], list(range(3, 11))]),
        lambda x: DataLoader(x, sampler=range(11), batch_size=3),
        lambda x: x.numpy(),
        lambda x: [x[:4].numpy(), x[4:].numpy()[:, ::-1].copy()[:, ::-1]],
    ],
    ids=["generator", "iterable data set", "batch sampler", "sampler", "array", "arrays"],
)
def test_anything_that_gives_batches(model, x, given, tmp_path):
    expected = extract(model, x).features
    torch.testing.assert_close(extract(model, given(x)).features, expected)
    torch.testing.assert_close(extract(model, given(x), into=tmp_path / "kept").features, expected)


def test_a_dropped_last_batch_is_not_made_up(model, x):
    out = extract(model, DataLoader(TensorDataset(x), batch_size=4, drop_last=True))
    torch.testing.assert_close(out.features, extract(model, x[:8]).features)


@pytest.mark.parametrize(
    "given",
    [
        lambda _: {"batch_size": 4},
        lambda x: {"batch_sampler": BatchSampler(SequentialSampler(x), 4, drop_last=False)},
        lambda x: {"batch_size": 5, "sampler": SequentialSampler(x)},
    ],
)
def test_labels_beside_a_loader_in_order(model, x, given):
    labels = torch.arange(11) % 4
    out = extract(model, DataLoader(TensorDataset(x), **given(x)), labels=labels)
    assert torch.equal(out.labels, labels)
    torch.testing.assert_close(out.features, extract(model, x).features)


@pytest.mark.parametrize("batch_size", [4, 11])
def test_labels_that_are_not_the_loader_s_own_are_refused(model, x, batch_size):
    labels = torch.arange(11) % 4
    loader = DataLoader(TensorDataset(x, labels), batch_size=batch_size)
    assert torch.equal(extract(model, loader, labels=labels).labels, labels)
    other = labels.clone()
    other[10] = 3
    with pytest.raises(InputError, match=r"have others of their own, in the batch from row \d+ on, expected the same"):
        extract(model, loader, labels=other)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, x: extract(m, None), "images are a NoneType, expected a tensor, an ImageSet"),
        (lambda m, x: extract(m, 3), "images are a int, expected a tensor"),
        (lambda m, x: extract(m, torch.tensor(3.0)), r"images have shape \(\), expected \(N, ...\)"),
        (lambda m, x: extract(m, np.array(3.0)), r"images have shape \(\), expected \(N, ...\)"),
        (lambda m, x: extract(m, np.float32(3)), "images are a float32, expected a tensor"),
        (lambda m, x: extract(m, (x * 255).byte()), "expected preprocessed floating-point"),
        (lambda m, _: extract(m, images()), "has no `prepare`"),
        (lambda m, x: extract(m, x, labels=torch.zeros(3, dtype=torch.long)), r"labels has shape \(3,\)"),
        (lambda m, x: extract(m, iter([x]), labels=torch.zeros(3, dtype=torch.long)), r"labels has shape \(3,\)"),
        (
            lambda m, x: extract(m, DataLoader(TensorDataset(x), shuffle=True), labels=torch.zeros(11).long()),
            "a DataLoader that shuffles",
        ),
        *(
            (
                lambda m, x, given=given: extract(
                    m, DataLoader(TensorDataset(x), **given(x)), labels=torch.zeros(11).long()
                ),
                "a DataLoader that shuffles",
            )
            for given in (
                lambda x: {"batch_sampler": BatchSampler(RandomSampler(x), 4, drop_last=False)},
                lambda x: {"batch_sampler": [[1, 0], list(range(2, 11))]},
                lambda x: {"batch_size": None, "sampler": RandomSampler(x)},
                lambda x: {"sampler": range(10, -1, -1)},
                lambda x: {"in_order": False},
            )
        ),
        (lambda m, x: extract(m, [(x, torch.arange(11), torch.zeros(11).long())]), "a batch holds 3 items"),
        (lambda m, x: extract(m, [()]), "a batch holds 0 items"),
        (lambda m, x: extract(m, [(x, ["a.png"] * 11)]), "labels, is a list that is not numeric"),
        (lambda m, x: extract(m, [(x, {"name": 1})]), "labels, is a dict that is not numeric"),
        (lambda m, x: extract(m, [(x, torch.zeros(11))]), r"labels, has dtype torch.float32, expected integers"),
        (lambda m, x: extract(m, [(x, torch.zeros(3).long())]), r"labels, has shape \(3,\), expected \(11,\)"),
        (lambda m, x: extract(m, [(x * 255).byte()]), "images have dtype torch.uint8"),
        (lambda m, x: extract(m, (x, torch.zeros(11).long())), "images are a tuple of two"),
        (lambda m, x: extract(m, [x, torch.zeros(11).long()]), r"images are a list of two[\s\S]*labels=y\)"),
        (lambda m, x: extract(m, [x.numpy(), np.zeros(11, int)]), "images are a list of two"),
        (lambda m, x: extract(m, [x, x[..., :5]], keep_inputs=True), r"inputs has rows of shape \(3, 6, 5\) after"),
        (lambda m, x: extract(m, x, batch_size=0), "batch_size is 0, expected a whole number of at least 1"),
        (lambda m, x: extract(m, x, batch_size=-1), "batch_size is -1"),
        (lambda m, x: extract(m, x, batch_size=2.5), "batch_size is 2.5"),
        (lambda m, x: extract(m, [{"pixel_values": x}]), r"a batch is a dict, expected a tensor x or a pair"),
        (lambda m, x: extract(m, (x.numpy() * 255).astype(np.uint8)), "images have dtype torch.uint8"),
        (lambda m, x: extract(m, (x.numpy(), np.zeros(11, int))), "images are a tuple of two"),
        (lambda m, x: extract(m, x[0, 0, 0]), r"images have shape \(6,\), expected \(N, ...\), one row an image"),
    ],
)
def test_refusals(model, x, call, message):
    with pytest.raises(InputError, match=message):
        call(model, x)
