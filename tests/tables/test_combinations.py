"""Rank tables: every number where it belongs, names escaped, the whole in the CSV."""

import pandas as pd
import pytest

from ood_core import rankings, tables
from ood_core.checks import InputError

COLUMNS = pd.MultiIndex.from_tuples(
    [
        ("ce", "cluster", "unit", ""),
        ("supcon", "cluster", "unit", '{"centres":"kmeans","clusters":4,"distance":"cosine","threshold":"cluster"}'),
        ("simclr", "ssd", "unit", ""),
        ("<script>", "mahalanobis", "unit", ""),
    ],
    names=rankings.COMBINATION,
)
BLOCKS = pd.DataFrame(
    [[0.9, 0.8, 0.7, 0.5], [0.6, 0.95, 0.7, 0.5]],
    columns=COLUMNS,
    index=pd.MultiIndex.from_tuples([("", "photos"), ("second", "<b>")], names=["network", "ood_set"]),
)


def test_ranks_in_order_with_their_numbers():
    made = tables.rank_table(rankings.ranks(BLOCKS).table, {"supcon": "SupCon"}, top=2)
    text = made._repr_html_()
    assert text.index("SupCon") < text.index(">ce<")
    assert "k-means, K = 4" in text
    assert "k-means, K = 4; cosine; a threshold each" in text
    assert ">87.5<" in text  # the mean of .8 and .95
    assert text.index(">87.5<") < text.index(">5.0<")  # its regret: a tenth in one of two blocks
    assert "simclr" not in text.split("</table>")[0]
    assert len(made.frame) == 4
    assert made.frame.loc[0, "mean"] == pytest.approx(0.875)


def test_winners_of_each_block():
    made = tables.winners_table(BLOCKS, {"ce": "Cross-entropy"}, {"": "ResNet-8", "second": "ResNet-14"})
    assert made.frame["training"].tolist() == ["ce", "supcon"]
    assert made.frame["best_on_average"].tolist() == [0.8, 0.95]
    text = made._repr_html_()
    assert text.index("Cross-entropy") < text.index("supcon")
    assert ">90.0<" in text


def test_best_on_average_is_the_best_mean_and_not_the_best_block():
    values = pd.DataFrame([[0.9, 0.5], [0.9, 0.99]], columns=COLUMNS[:2], index=BLOCKS.index)
    assert tables.winners_table(values).frame["best_on_average"].tolist() == [0.9, 0.9]


def test_names_are_escaped_and_scorers_called_by_what_they_do():
    for made in (tables.rank_table(rankings.ranks(BLOCKS).table), tables.winners_table(BLOCKS)):
        text = made._repr_html_()
        assert "<script>" not in text.replace("<script type", "")
        assert "<b>" not in text
    text = tables.rank_table(rankings.ranks(BLOCKS).table)._repr_html_()
    assert "Mahalanobis, shared" in text
    assert "&lt;script&gt;" in text


def test_nothing_to_show_is_refused():
    with pytest.raises(InputError, match="no ranks"):
        tables.rank_table(rankings.ranks(BLOCKS).table.iloc[:0])
    with pytest.raises(InputError, match="no blocks"):
        tables.winners_table(BLOCKS.iloc[:0])


def test_tests_of_ranks_are_shown_where_they_are_numbers():
    found = rankings.ranks(BLOCKS)
    text = tables.rank_table(found.table, p=found.p, critical=found.critical)._repr_html_()
    assert f"p = {found.p:.3f}" in text
    assert f"mean ranks {found.critical:.0f} or more" in text
    assert "Friedman" not in tables.rank_table(found.table)._repr_html_()
    assert "p &lt; 0.001" in tables.rank_table(found.table, p=1e-5)._repr_html_()


def test_chosen_detectors_in_words():
    chosen = pd.DataFrame([dict(zip(rankings.COMBINATION, COLUMNS[1], strict=True)) | {"validation": 0.913}])
    text = tables.chosen_table(chosen, {"supcon": "SupCon"})._repr_html_()
    assert "SupCon" in text
    assert "k-means, K = 4" in text
    assert ">91.3<" in text
