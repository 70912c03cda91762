"""Curves: lines, bands, marks, panels."""

import math

import numpy as np
import pytest
from matplotlib.figure import Figure

from bids_app.plots.canvas import PALETTE, Absent, encode
from bids_app.plots.lines import Line, Mark, Panel, curves

NAN = math.nan


def test_a_line_has_its_points_its_name_and_its_own_dashes() -> None:
    figure = curves([Panel([Line("Dice", [0, 1, 2], [0.1, NAN, 0.3]), Line("F1", [0, 2], [0.5, 0.6])], "Mean", (0.0, 1.0))], "Threshold")
    assert isinstance(figure, Figure)
    (axes,) = figure.axes
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [0.1, NAN, 0.3])
    assert [line.get_label() for line in axes.lines] == ["Dice", "F1"]
    assert [line.get_color() for line in axes.lines] == list(PALETTE[:2])
    assert axes.lines[0].get_linestyle() != axes.lines[1].get_linestyle()
    assert axes.get_ylim() == (0.0, 1.0)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Threshold", "Mean")
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["Dice", "F1"]


def test_a_band_lies_between_low_and_high() -> None:
    line = Line("loss", [0, 1], [1.0, 2.0], low=[0.5, 1.5], high=[1.5, 2.5])
    figure = curves([Panel([line], "Loss")], "Epoch")
    assert isinstance(figure, Figure)
    (band,) = figure.axes[0].collections
    vertices = band.get_paths()[0].vertices
    assert (vertices[:, 1].min(), vertices[:, 1].max()) == (0.5, 2.5)
    plain = curves([Panel([Line("loss", [0, 1], [1.0, 2.0])], "Loss")], "Epoch")
    assert isinstance(plain, Figure)
    assert not plain.axes[0].collections


def test_panels_share_x_and_a_panel_without_points_is_left_out() -> None:
    panels = [
        Panel([Line("train", [1, 2], [3.0, 1.0])], "Loss", log=True),
        Panel([Line("x", [1], [NAN])], "Empty"),
        Panel([Line("Dice", [1, 2], [0.2, 0.4])], "Dice"),
    ]
    figure = curves(panels, "Epoch", x_limits=(0.0, 10.0))
    assert isinstance(figure, Figure)
    assert [axes.get_ylabel() for axes in figure.axes] == ["Loss", "Dice"]
    assert [axes.get_yscale() for axes in figure.axes] == ["log", "linear"]
    assert {axes.get_xlim() for axes in figure.axes} == {(0.0, 10.0)}
    assert encode(figure, "train", "t", "a").svg


def test_marks_are_drawn_with_their_word() -> None:
    figure = curves([Panel([Line("a", [0, 1], [0, 1])], "y", marks=[Mark(0.5, 0.4, "best")])], "x")
    assert isinstance(figure, Figure)
    (axes,) = figure.axes
    assert (list(axes.lines[1].get_xdata()), list(axes.lines[1].get_ydata())) == ([0.5], [0.4])
    assert [t.get_text() for t in axes.texts] == ["best"]


def test_steps_colour_and_a_logarithmic_x_axis_change_the_plot() -> None:
    figure = curves([Panel([Line("a", [0, 0.5, 8], [0, 0.5, 1], colour=3, stepped=True)], "y")], "x", log_x=True)
    assert isinstance(figure, Figure)
    (axes,) = figure.axes
    assert axes.lines[0].get_drawstyle() == "steps-post"
    assert axes.lines[0].get_color() == PALETTE[3]
    assert axes.get_xscale() == "symlog"
    plain = curves([Panel([Line("a", [0, 0.5, 8], [0, 0.5, 1])], "y")], "x")
    assert isinstance(plain, Figure)
    assert plain.axes[0].get_xscale() == "linear"


@pytest.mark.parametrize("panels", [[], [Panel([], "y")], [Panel([Line("a", [], [])], "y")], [Panel([Line("a", [1, 2], [NAN, NAN])], "y")]])
def test_without_a_point_there_is_a_sentence(panels: list[Panel]) -> None:
    assert isinstance(curves(panels, "x"), Absent)


def test_x_and_y_must_match() -> None:
    with pytest.raises(ValueError, match="a: expected as many y as x; got 1 and 2"):
        curves([Panel([Line("a", [1, 2], [1])], "y")], "x")
