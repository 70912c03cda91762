"""Scatter and Bland-Altman plots: points and lines stand where the numbers say."""

import math

import numpy as np
import pytest
from matplotlib.figure import Figure

from bids_app.plots.agreement import Agreement, Cloud, Estimate, bland_altman, points_over, scatter
from bids_app.plots.canvas import Absent, encode

NAN = math.nan
NOTHING = Estimate(NAN, NAN, NAN)


def test_scatter_has_a_point_per_case_and_the_identity_line_on_equal_axes() -> None:
    figure = scatter([Cloud("A", [1, 2, NAN], [2, 2, 5]), Cloud("B", [3], [1], 1)], "Reference", "Predicted")
    assert isinstance(figure, Figure)
    (axes,) = figure.axes
    assert [c.get_offsets().tolist() for c in axes.collections] == [[[1, 2], [2, 2]], [[3, 1]]]
    identity = axes.lines[-1]
    assert list(identity.get_xdata()) == list(identity.get_ydata()) == list(axes.get_xlim())
    assert axes.get_xlim() == axes.get_ylim()
    assert axes.get_aspect() == 1.0
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["A", "B", "identity"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Reference", "Predicted")


@pytest.mark.parametrize(("x", "scale"), [([1.0, 10.0, 40.0], "linear"), ([1.0, 10.0, 4000.0], "log"), ([0.0, 10.0, 4000.0], "symlog")])
def test_scatter_is_logarithmic_where_volumes_span_a_factor_of_fifty(x: list[float], scale: str) -> None:
    figure = scatter([Cloud("A", x, x)], "x", "y")
    assert isinstance(figure, Figure)
    assert {figure.axes[0].get_xscale(), figure.axes[0].get_yscale()} == {scale}
    low, high = figure.axes[0].get_xlim()
    assert low <= min(x) <= max(x) <= high
    assert encode(figure, "s", "t", "a").svg.startswith(b"<?xml")


def test_log_ticks_are_plain_numbers() -> None:
    figure = scatter([Cloud("A", [0.0, 3.0, 40_000.0], [0.0, 3.0, 40_000.0])], "x", "y")
    assert isinstance(figure, Figure)
    axis = figure.axes[0].xaxis
    texts = [axis.get_major_formatter()(tick, i) for i, tick in enumerate(axis.get_major_locator()())]
    assert texts == ["0", "1", "10", "100", "1\N{NO-BREAK SPACE}000", "10\N{NO-BREAK SPACE}000", "100\N{NO-BREAK SPACE}000"]


def test_bland_altman_draws_bias_limits_and_bands() -> None:
    agreement = Agreement(Estimate(0.5, 0.25, 0.75), Estimate(-1.5, NAN, NAN), Estimate(2.5, 2.0, 3.0))
    figure = bland_altman(Cloud("A", [1, 2, 3], [0.5, -0.5, 1.5], 2), agreement, "Mean", "Difference")
    assert isinstance(figure, Figure)
    (axes,) = figure.axes
    heights = [line.get_ydata()[0] for line in axes.lines]
    assert heights == [0.0, -1.5, 0.5, 2.5]
    assert [line.get_linestyle() for line in axes.lines][1:] == ["--", "-", "--"]
    bands = sorted((p.get_extents().y0, p.get_extents().y1) for p in (patch.get_path() for patch in axes.patches) if len(p.vertices) >= 4)
    assert len(axes.patches) == 2  # the limit without an interval has no band
    assert len(bands) == 2
    assert [t.get_text() for t in axes.texts] == ["\N{MINUS SIGN}1.5", "0.5", "2.5"]
    low, high = axes.get_ylim()
    assert low < -1.5
    assert high > 3.0


def test_one_quantity_over_another() -> None:
    figure = points_over([Cloud("A", [1, 1000, NAN], [0.5, 0.75, 0.5]), Cloud("B", [10], [0.25], 1)], "Load", "Dice", (0.0, 1.0))
    assert isinstance(figure, Figure)
    (axes,) = figure.axes
    assert [c.get_offsets().tolist() for c in axes.collections] == [[[1, 0.5], [1000, 0.75]], [[10, 0.25]]]
    assert axes.get_xscale() == "log"
    assert axes.get_ylim() == (-0.03, 1.03)
    near = points_over([Cloud("A", [10, 20], [0.5, 0.5])], "Load", "Dice")
    assert isinstance(near, Figure)
    assert near.axes[0].get_xscale() == "linear"
    assert isinstance(points_over([Cloud("A", [NAN], [1.0])], "x", "y"), Absent)


def test_labels_of_lines_that_lie_close_do_not_touch() -> None:
    agreement = Agreement(Estimate(0.0, NAN, NAN), Estimate(-0.01, NAN, NAN), Estimate(0.01, NAN, NAN))
    figure = bland_altman(Cloud("A", [1, 2], [5.0, -5.0]), agreement, "Mean", "Difference")
    assert isinstance(figure, Figure)
    places = [text.get_position()[1] for text in figure.axes[0].texts]
    assert np.diff(places).min() > 0.0619


def test_one_case_has_a_point_and_no_limits() -> None:
    figure = bland_altman(Cloud("A", [5.0], [1.0]), Agreement(Estimate(1.0, NAN, NAN), NOTHING, NOTHING), "Mean", "Difference")
    assert isinstance(figure, Figure)
    assert len(figure.axes[0].lines) == 2  # zero and bias
    assert encode(figure, "one", "t", "a").png


@pytest.mark.parametrize("cloud", [Cloud("A", [], []), Cloud("A", [NAN, 1.0], [1.0, NAN])])
def test_without_a_pair_of_values_there_is_a_sentence(cloud: Cloud) -> None:
    assert isinstance(scatter([cloud], "x", "y"), Absent)
    assert isinstance(bland_altman(cloud, Agreement(NOTHING, NOTHING, NOTHING), "x", "y"), Absent)
    assert isinstance(scatter([], "x", "y"), Absent)
