"""What decides a verdict, and what the papers printed, fixed by digests: a digit or a sign cannot change unseen."""

import hashlib
import json
from pathlib import Path

import pytest

from ood_core import claims

ROOT = Path(__file__).resolve().parent.parent.parent
CHANGED = (
    "reported values/rules changed: check against the source; a change of a rule is a line in the changelog; then "
    "update the digest here"
)

RULES = {
    "clusters": {
        "D1": "867bef4d1d129e83",
        "D2": "5c2b610006827c3d",
        "D3": "a35acb9a64f1fc13",
        "D4": "43c25e7682fc9d30",
        "D5": "cade939426eb714c",
        "D6": "d25483fb4518cd29",
        "D7": "b9e50fca868ba684",
    },
    "isomax": {
        "I1": "75eb57164d78db26",
        "I2": "42120fbca7ed6819",
        "I3": "f6957855207a25bb",
        "I4": "d4db7d55351844c4",
        "I5": "3f50c69fa3b0fa01",
        "I6": "14e053ce98fc45ba",
        "I7": "a79886ff52b28f33",
        "I8": "b228cf4827992061",
        "I9": "aa063f8ff8213e73",
        "I10": "bf597d0095ed07ba",
    },
    "l2-collapse": {
        "A1": "21acb835de856621",
        "A2": "a3e36f10d758c780",
        "A3": "674f11eedeee8683",
        "A4": "84266c9bc41c9116",
        "A5": "19ae487a8714028a",
        "A6": "1ae5e1a24ff0ed95",
        "A7": "6ed2a40e7f78e10d",
        "A8": "c8e23d51313eb280",
        "A9": "be80605d96a5b9ac",
        "A10": "70c8a10d369db0e3",
        "A11": "44a196b925353b87",
        "A12": "43e93f442afe1076",
    },
    "l2-norm": {
        "B1": "5a096320fe178aff",
        "B2": "c2c6f23297910569",
        "B3": "058ebc5fc10f5817",
        "B4": "9bcd37c00a5ecc99",
        "B5": "bce9ccd420f28efd",
        "B6": "48f20e4de9e5fe3c",
        "B7": "3c79b36402dbaf3f",
    },
    "nan": {
        "N1": "6cddf8ed15a26677",
        "N2": "322a52ab5289e40d",
        "N3": "f5b58e8f6136c4a6",
        "N4": "9d4005e26cc2ed6f",
        "N5": "53f7bf68977efa61",
        "N6": "7ba8613b3980e86b",
        "N7": "465d3b85cd76ea75",
        "N8": "e062e1b465533bbc",
        "N9": "fb2e384a30bf0e55",
        "N10": "061949660051e00e",
        "N11": "b4d3da5258c30f64",
        "N12": "5427864bd0970814",
        "N13": "d9ab5567e4bce4dd",
    },
}

REPORTED = {
    "clusters": {
        "": "11348e4ffa14b525",
        "SSD (arXiv 2103.12051): SimCLR ResNet-50 on CIFAR-10, one Mahalanobis distance": "2e0def664f78424a",
        "ZODE, tables 3 and 3b: nearest neighbours, CIFAR-10 against CIFAR-100": "b86edd4411f6c7d8",
        "Test accuracy of ResNet-50 in the code of SupCon (arXiv 2004.11362)": "28e9cb3bb9293cc6",
        "Test accuracy of public model cards": "2c415ef588e668b3",
    },
    "compare": {
        "": "4f53cda18c2baa0c",
        "OpenOOD v1.5, CIFAR-10, ResNet-18": "75e419712597cb08",
    },
    "isomax": {
        "": "c3ba31b6777f784d",
        "IJCNN, table II": "e8c08c1a25e533b4",
        "IJCNN, table IV": "ce2223459e87b164",
        "TNNLS, figure 3": "100b23d4c7c190af",
        "IsoMax+, table 3": "41aa3827624b55ba",
        "IsoMax+, table 3, first version": "ae59f2bcc83d0608",
        "IsoMax+, table 4": "dd93cba77ce05380",
        "IsoMax+, table 5": "95d85d1ebcdfe419",
        "DisMax, table 2": "ceb695731ebdb2b9",
        "DisMax on ImageNet": "ae8f670e0c65916f",
        "IsoMax+, table 4: ODIN and Mahalanobis": "f722ad5ed5dd61ff",
        "IsoMax+, table 5: softmax with outlier exposure": "81fe11b9352c97ea",
        "DisMax, table 2: systems quoted from other papers": "edad0b895ce2e79d",
    },
    "l2-collapse": {
        "": "0a689dc9ab706223",
    },
    "l2-norm": {
        "": "ba83e25f06dcd57f",
    },
    "nan": {
        "": "f7e136ab062be8ff",
        "Table 1, supervised contrastive": "5f98600b22303a39",
        "Table 1, without labels": "54a40eca57839f85",
        "Table 2": "b54c2b617c86a48a",
        "Table 3, cross-entropy": "6c247f614a8d0711",
        "Table 3, without labels": "1514326b79be5d14",
        "Table 4": "81e31ec4e05985a7",
        "Table 5": "259fff2cdba22f3b",
        "Table 3, cross-entropy: ODIN and CSI": "3e765d522dab098d",
        "Table 3, without labels: RotNet, GOAD and CSI": "78bd74fa1f17a681",
        "Table 4, other systems": "df3bb950f5e10baa",
    },
}


def digest(content):
    """SHA-256 over canonical JSON, its first 16 digits."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def rules(page):
    """What decides the verdicts of a page, by claim: selections resolved, defaults filled in, without prose.

    The name of a part is prose; parts keep their order. Of `not_run`, the scales decide and the reasons are prose.
    """
    found = {}
    for claim in claims.load(page, ROOT):
        counted = [part for part in claim.parts if part.counts]
        whole = {name: getattr(claim, name) for name in ("origin", "combine", "k", "groups", "required", "min_seeds")}
        whole |= {name: getattr(claim, name) for name in ("needs_all", "absent") if getattr(claim, name)}
        fields = ("rule", "a", "b", "arguments", "each", "at_least", "group")
        parts = [{name: getattr(part, name) for name in fields} for part in counted]
        found[claim.id] = whole | {"not_run": sorted(claim.not_run), "parts": parts}
    return found


def reported(page):
    """Every printed table of a page by its name, and under "" the values beside its claims, each with its source.

    What stands beside a part is made of these values.
    """
    found = [*claims.printed(page, False, ROOT), *claims.printed(page, True, ROOT)]
    tables = {table.table: table.model_dump(mode="json") for table in found}
    assert len(tables) == len(found), f"book/reported/{page}.yml has two tables of one name"
    entries = claims.reported(page, ROOT) if page in pages("claims") else []
    return {"": [entry.model_dump(mode="json", exclude={"part"}) for entry in entries if not entry.part], **tables}


def pages(kind):
    return sorted(path.stem for path in (ROOT / "book" / kind).glob("*.yml"))


@pytest.mark.parametrize("page", pages("claims"))
def test_rules_that_count_are_those_that_were_fixed(page):
    found = {name: digest(content) for name, content in rules(page).items()}
    assert found == RULES.get(page), CHANGED


@pytest.mark.parametrize("page", pages("reported"))
def test_reported_values_are_those_that_were_read(page):
    found = {name: digest(content) for name, content in reported(page).items()}
    assert found == REPORTED.get(page), CHANGED


def test_every_pinned_file_is_there():
    assert sorted(RULES) == pages("claims"), CHANGED
    assert sorted(REPORTED) == pages("reported"), CHANGED


def test_prose_and_parts_that_do_not_count_move_no_digest(tmp_path, monkeypatch):
    """And every field that decides does."""
    text = (ROOT / "book" / "claims" / "nan.yml").read_text(encoding="utf-8")

    def with_(old, new):
        assert old in text
        (tmp_path / "book" / "claims").mkdir(parents=True, exist_ok=True)
        (tmp_path / "book" / "claims" / "nan.yml").write_text(text.replace(old, new, 1), encoding="utf-8")
        with monkeypatch.context() as patch:
            patch.setattr(f"{__name__}.ROOT", tmp_path)
            return digest(rules("nan"))

    kept = digest(rules("nan"))
    assert with_("title: Sparsity adds to the norm", "title: other") == kept
    assert with_("FPR95: negative-aware norm minus l1 norm", "other name") == kept
    assert with_("metric: active_share", "metric: zero_rows") == kept
    for old, new in (
        ("fpr: &fpr {<<: *test, metric: fpr_at_tpr}", "fpr: &fpr {<<: *test, metric: fpr_ood_positive}"),
        ("direction: less", "direction: greater"),
        ("min_seeds: 3", "min_seeds: 4"),
        ("margin: 0.02", "margin: 0.03"),
        ("at_most: 0,", "at_most: 1,"),
    ):
        assert with_(old, new) != kept, (old, new)
