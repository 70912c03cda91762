"""Shares by category: dots, intervals and counts."""

import math

import pytest
from matplotlib.figure import Figure

from bids_app.plots.canvas import Absent
from bids_app.plots.rates import Series, Share, rates

NONE = Share(0, 0, math.nan, math.nan)


def test_a_dot_and_an_interval_per_category_and_method_in_rows_from_the_top() -> None:
    series = [
        Series("A", [Share(1, 4, 0.05, 0.7), Share(3, 3, 0.44, 1.0)]),
        Series("B", [Share(2, 4, 0.15, 0.85), Share(0, 3, 0.0, 0.56)], 1),
    ]
    figure = rates(["small", "large"], series, "Detected")
    assert isinstance(figure, Figure)
    (axes,) = figure.axes
    dots = [line for line in axes.lines if line.get_marker() not in {"None", None, ""}]
    assert [list(line.get_xdata()) for line in dots] == [[0.25, 1.0], [0.5, 0.0]]
    bars = [line.get_xdata() for line in axes.lines if line.get_marker() in {"None", None, ""}]
    assert sorted(map(list, bars)) == [[0.0, 0.56], [0.05, 0.7], [0.15, 0.85], [0.44, 1.0]]
    (a_small, a_large), (b_small, b_large) = (line.get_ydata() for line in dots)
    assert a_small < b_small < 0.5 < a_large < b_large < 1.5
    assert [t.get_text() for t in axes.texts] == ["1/4", "3/3", "2/4", "0/3"]
    assert axes.get_ylim() == (1.5, -0.5)
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["A", "B"]


def test_a_category_without_lesions_says_so_and_has_no_dot() -> None:
    figure = rates(["small", "large"], [Series("A", [NONE, Share(1, 2, 0.1, 0.9)])], "Detected")
    assert isinstance(figure, Figure)
    (axes,) = figure.axes
    assert [t.get_text() for t in axes.texts] == ["no lesion", "1/2"]
    assert [list(line.get_ydata()) for line in axes.lines if line.get_marker() == "o"] == [[1.0]]
    assert not figure.legends  # one method needs no legend
    assert math.isnan(NONE.value)


def test_without_any_lesion_there_is_a_sentence() -> None:
    assert isinstance(rates(["small"], [Series("A", [NONE])], "x"), Absent)
    assert isinstance(rates([], [], "x"), Absent)


def test_a_share_per_category_is_asked_for() -> None:
    with pytest.raises(ValueError, match="A: expected 2 shares, one per category; got 1"):
        rates(["small", "large"], [Series("A", [NONE])], "x")
