"""Whole tables of reported files: nothing without its source, and those of page isomax against each other."""

import math
from pathlib import Path

import pytest

from ood_core import claims
from ood_core.checks import InputError

from .test_files import ENTRY, GOOD, write

ROOT = Path(__file__).resolve().parent.parent.parent

TABLE = """
  - table: table 1
    status: verified
    where: page 3
    read: digits checked
    unit: "%"
    keys: [model, id_set]
    columns: [AUROC, "TNR, ES"]
    rows:
      - [ResNet, CIFAR-10, 95.2±0.1, 88]
      - [ResNet, CIFAR-100, -3.5, null]
"""


@pytest.mark.parametrize("kind", ["tables", "context"])
def test_a_table_is_read_whole(tmp_path, kind):
    write(tmp_path, GOOD)
    write(tmp_path, f"{ENTRY}{kind}:{TABLE}", "reported")
    (found,) = claims.printed("p", kind == "context", tmp_path)
    assert claims.printed("p", kind != "context", tmp_path) == []
    frame = found.frame
    assert list(frame.columns) == ["model", "id_set", "column", "value", "sd"]
    rows = list(frame.itertuples(index=False, name=None))
    assert rows[0] == ("ResNet", "CIFAR-10", "AUROC", 95.2, 0.1)
    assert [row[:4] for row in rows[1:]] == [
        ("ResNet", "CIFAR-10", "TNR, ES", 88.0),
        ("ResNet", "CIFAR-100", "AUROC", -3.5),
    ]
    assert all(math.isnan(row[4]) for row in rows[1:])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("    where: page 3\n", "", "where: Field required"),
        ("    read: digits checked\n", "", "read: Field required"),
        ('    unit: "%"\n', "", "unit: Field required"),
        ("    where: page 3\n", '    where: ""\n', "at least 1 character"),
        ("status: verified", "status: guessed", "read off a plot"),
        ("95.2±0.1, 88", "95.2±0.1", "has 3 entries, expected 4"),
        ("95.2±0.1", "about 95", "'about 95' is no number"),
        ("95.2±0.1", "true", "True is no number"),
        ("CIFAR-100", "CIFAR-10", "stands twice"),
        ("[ResNet, CIFAR-100", "[ResNet, 100", "expected names for model, id_set"),
        ("    unit:", "    sd: 3\n    unit:", "sd"),
    ],
)
@pytest.mark.parametrize("kind", ["tables", "context"])
def test_a_table_without_its_source_or_with_a_wrong_cell_is_refused(tmp_path, kind, old, new, message):
    assert old in TABLE
    write(tmp_path, GOOD)
    write(tmp_path, f"{ENTRY}{kind}:{TABLE.replace(old, new)}", "reported")
    with pytest.raises(InputError, match=r"book/reported/p\.yml") as refused:
        claims.printed("p", kind == "context", tmp_path)
    assert message in str(refused.value)


def of(name, context=False):
    (found,) = [table for table in claims.printed("isomax", context, ROOT) if table.table == name]
    return found.frame.set_index([*found.keys, "column"])


def test_isomax_tables_are_whole():
    counts = {table.table: len(table.frame) for table in claims.printed("isomax", False, ROOT)}
    assert counts == {
        "IJCNN, table II": 18 * 12,
        "IJCNN, table IV": 12 * 5,
        "TNNLS, figure 3": 12 * 2,
        "IsoMax+, table 3": 18 * 6,
        "IsoMax+, table 3, first version": 18 * 6,
        "IsoMax+, table 4": 12 * 2,
        "IsoMax+, table 5": 4 * 4,
        "DisMax, table 2": 18 * 7,
        "DisMax on ImageNet": 4,
    }
    others = {table.table: len(table.frame) for table in claims.printed("isomax", True, ROOT)}
    assert list(others.values()) == [12 * 4, 4 * 2, 9 * 4 + 6 * 5]
    status = {table.table: table.status for table in claims.printed("isomax", False, ROOT)}
    assert [name for name, word in status.items() if word != "verified"] == ["TNNLS, figure 3"]


def test_isomax_table_5_is_the_mean_of_table_3():
    rows, means = of("IsoMax+, table 3"), of("IsoMax+, table 5")
    for (model, id_set, column), printed in means["value"].items():
        found = [rows.loc[(model, id_set, ood, column), "value"] for ood in ("SVHN", "TinyImageNet", "LSUN")]
        assert sum(found) / 3 == pytest.approx(printed, abs=0.1 + 1e-9)


def test_isomax_plus_stands_alike_in_tables_3_and_4():
    one, other = of("IsoMax+, table 3"), of("IsoMax+, table 4")
    for ood in ("SVHN", "TinyImageNet", "LSUN"):
        for id_set in ("CIFAR-10", "CIFAR-100"):
            key = ("DenseNet100", id_set, ood, "AUROC, IsoMax+/MDS")
            assert one.loc[key, "value"] == other.loc[key, "value"]
            assert one.loc[key, "sd"] == other.loc[key, "sd"]


def test_entries_beside_the_claims_stand_in_the_tables():
    two, cost, plus, dismax = map(of, ("IJCNN, table II", "IJCNN, table IV", "IsoMax+, table 3", "DisMax, table 2"))
    expected = {
        ("I1", dismax.loc[("CIFAR-10", "ResNet-34", "SoftMax", "accuracy"), "value"]),
        ("I1", dismax.loc[("CIFAR-10", "ResNet-34", "IsoMax+", "accuracy"), "value"]),
        *(("I2", two.loc[("ResNet", "CIFAR-10", "SVHN", f"AUROC, SoftMax/{s}"), "value"]) for s in ("MPS", "ES")),
        *(
            ("I2", two.loc[("ResNet", "CIFAR-10", "SVHN", f"TNR at TPR 95, {s}"), "value"])
            for s in ("SoftMax/MPS", "SoftMax/ES", "IsoMax/ES")
        ),
        *(
            (claim, two.loc[("ResNet", "CIFAR-10", "SVHN", f"AUROC, IsoMax/{s}"), "value"])
            for claim, s in (("I2", "ES"), ("I5", "ES"), ("I5", "MPS"))
        ),
        *(
            ("I6", plus.loc[("ResNet110", "CIFAR-10", "SVHN", f"AUROC, {s}"), "value"])
            for s in ("IsoMax/ES", "IsoMax+/MDS")
        ),
        *(
            ("I7", dismax.loc[("CIFAR-10", "ResNet-34", method, column), "value"])
            for method in ("IsoMax+", "DisMax+F")
            for column in ("accuracy", "LSUN", "ECE")
        ),
        *(
            ("I8", cost.loc[("ResNet", "CIFAR-10", device, column), "value"])
            for device in ("CPU", "GPU")
            for column in ("SoftMax/MPS", "IsoMax/ES", "preprocessing")
        ),
    }
    entries = claims.reported("isomax", ROOT)
    found = {(entry.claim, entry.value) for entry in entries if entry.status == "verified" and not entry.part}
    assert found == expected
    beside = {(entry.claim, entry.part): (entry.value, entry.unit, entry.where) for entry in entries if entry.part}
    svhn = "IJCNN, table II: CIFAR-10 against SVHN, ResNet"
    assert beside["I2", "each set: AUROC, IsoMax/ES minus softmax/MPS: svhn/test10k"] == (5.4, "points", svhn)
    assert beside["I8", "time of IsoMax/ES over softmax/MPS, batch 1"][:2] == (round(23.5 / 22.3, 4), "times")


def test_entries_beside_the_claims_of_nan_stand_in_table_3():
    (table,) = [table for table in claims.printed("nan", False, ROOT) if table.table == "Table 3, cross-entropy"]
    averages = table.frame.set_index(["score", "column"])["value"]
    named = {"energy": "Energy", "max logit": "MaxLogit"}
    of_table = [entry for entry in claims.reported("nan", ROOT) if "table 3" in entry.where and not entry.part]
    found = [entry for entry in of_table if entry.claim in ("N7", "N8", "N9")]
    for entry in found:
        metric, name = entry.quantity.split(", ")
        assert entry.value == averages[named.get(name, name), f"{metric}, Average"], entry.quantity
    counts = {c: sum(e.claim == c and e.quantity.startswith("FPR95") for e in found) for c in ("N7", "N8", "N9")}
    assert counts == {"N7": 7, "N8": 3, "N9": 3}
