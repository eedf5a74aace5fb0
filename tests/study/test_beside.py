"""A figure of two scales: recorded runs in sight, the page's own behind them."""

from ood_core import study
from ood_core.tables.html import Html


def test_the_recorded_one_is_in_sight_and_the_own_one_opens_behind_it(made, monkeypatch, tmp_path):
    monkeypatch.setattr("ood_core.recorded.folder", lambda scale: tmp_path / "results" / scale)
    results = study.run_or_load("made", seeds=1)
    study.record("made", "tiny", 1)
    recorded, drawn = study.Recorded("made", "tiny"), []

    def draw(of):
        drawn.append(of)
        return Html(f"<p>{of.where}{of.rows['id_set'].iloc[0]}</p>", of.rows)

    html = study.both(draw, recorded, results)._repr_html_()
    assert drawn == [recorded, results]
    assert html == (
        "<p>Digits 0-7 of scikit-learn's 8x8 digits at tiny, from recorded runs. digits</p>"
        '<details class="scale"><summary>The same at tiny, run with this page</summary>'
        "<p>At tiny, run with this page. digits</p></details>"
    )
