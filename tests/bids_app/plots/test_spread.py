"""Box plots and paired differences: what stands in the axes is what was given."""

import math

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bids_app.plots.canvas import PALETTE, Absent, encode
from bids_app.plots.spread import BOX_FROM, Difference, Group, boxes, differences

NAN = math.nan


def axes_of(figure: Figure | Absent) -> Axes:
    assert isinstance(figure, Figure)
    return figure.axes[0]


def points(axes: Axes) -> list[np.ndarray]:
    return [np.asarray(c.get_offsets()) for c in axes.collections]


def names(axes: Axes) -> list[str]:
    return [label.get_text() for label in axes.get_yticklabels()]


def test_each_case_is_a_point_at_its_value_in_the_row_of_its_group() -> None:
    axes = axes_of(boxes([Group("A", [0.3, 0.1, NAN, 0.2]), Group("B", [0.9], 1)], "Dice", limits=(0, 1)))
    first, second = points(axes)
    assert first[:, 0].tolist() == [0.1, 0.2, 0.3]
    assert second[:, 0].tolist() == [0.9]
    assert np.all(abs(first[:, 1] - 0) < 0.4)
    assert np.all(abs(second[:, 1] - 1) < 0.4)
    assert names(axes) == ["A\nn = 3, 1 n/a", "B\nn = 1"]
    low, high = axes.get_xlim()
    assert low < 0
    assert high > 1


def test_a_box_has_the_quartiles_and_whiskers_end_at_the_furthest_value_within_one_and_a_half_boxes() -> None:
    values = [1.0, 2.0, 3.0, 4.0, 5.0, 30.0]  # quartiles 2.25 and 4.75: whiskers end at 1 and 5, as 30 > 4.75 + 1.5 * 2.5
    axes = axes_of(boxes([Group("A", values)], "mm"))
    box = axes.patches[0].get_path().vertices
    assert (box[:, 0].min(), box[:, 0].max()) == (2.25, 4.75)
    ends = {float(x) for line in axes.lines for x in line.get_xdata()}
    assert {1.0, 5.0, 3.5} <= ends  # whiskers and median
    assert 30.0 not in ends
    assert 30.0 in points(axes)[0][:, 0]


def test_few_values_are_points_without_a_box() -> None:
    assert not axes_of(boxes([Group("A", [1.0] * (BOX_FROM - 1))], "x")).patches
    assert axes_of(boxes([Group("A", [1.0] * BOX_FROM)], "x")).patches


def test_equal_values_are_spread_over_the_row_so_that_each_shows() -> None:
    heights = points(axes_of(boxes([Group("A", [2.0] * 9)], "x")))[0][:, 1]
    assert len(set(heights.round(3))) == 9


@pytest.mark.parametrize("groups", [[], [Group("A", [])], [Group("A", [NAN, NAN, math.inf])]])
def test_without_values_there_is_a_sentence(groups: list[Group]) -> None:
    absent = boxes(groups, "Dice")
    assert isinstance(absent, Absent)
    assert absent.reason.endswith(".")


def test_a_wide_range_gets_a_logarithmic_axis_only_where_it_may() -> None:
    wide = [Group("A", [0.1, 1.0, 100.0])]
    assert axes_of(boxes(wide, "mm", may_log=True)).get_xscale() == "log"
    assert axes_of(boxes(wide, "mm")).get_xscale() == "linear"
    assert axes_of(boxes([Group("A", [-0.1, 1.0, 100.0])], "mm", may_log=True)).get_xscale() == "linear"
    assert axes_of(boxes([Group("A", [0.0, 1.0, 100.0])], "mm", may_log=True)).get_xscale() == "symlog"  # zero keeps its place


def test_counts_get_whole_ticks() -> None:
    axes = axes_of(boxes([Group("A", [0.0, 1.0, 1.0, 2.0])], "False lesions"))
    assert all(float(tick).is_integer() for tick in axes.get_xticks())


def test_two_thousand_cases_stay_a_small_file() -> None:
    values = np.random.default_rng(0).lognormal(size=2000)
    figure = boxes([Group("A", values.tolist())], "mm", may_log=True)
    assert len(points(axes_of(figure))[0]) == 2000
    plot = encode(figure, "many", "Many", "alt")
    assert plot.svg.count(b"<use") < 100  # one bitmap, not 2000 marks
    assert len(plot.svg) < 200_000


def test_names_are_printed_as_they_are_and_long_ones_keep_both_ends() -> None:
    axes = axes_of(boxes([Group("a $x^2$ <b>", [1.0]), Group("model_" + "x" * 40 + "_fold3", [1.0])], "x"))
    assert names(axes)[0].startswith("a $x^2$ <b>")
    assert names(axes)[1].startswith("model_")
    assert "_fold3\n" in names(axes)[1]
    assert len(names(axes)[1].split("\n")[0]) == 24
    assert encode(axes.figure, "names", "t", "a").png[:4] == b"\x89PNG"


def test_differences_show_each_patient_the_median_and_its_interval_around_zero() -> None:
    row = Difference("B - A", [-0.2, 0.1, NAN, 0.3], 0.1, -0.05, 0.25, 1)
    axes = axes_of(differences([row], "Difference of Dice"))
    assert points(axes)[0][:, 0].tolist() == [-0.2, 0.1, 0.3]
    drawn = [line.get_xdata().tolist() if hasattr(line.get_xdata(), "tolist") else list(line.get_xdata()) for line in axes.lines]
    assert [0.0, 0.0] in drawn  # zero line
    assert [-0.05, 0.25] in drawn
    assert [0.1] in drawn
    low, high = axes.get_xlim()
    assert low == -high
    assert axes.collections[0].get_facecolor()[0][:3] == pytest.approx([int(PALETTE[1][i : i + 2], 16) / 255 for i in (1, 3, 5)])


def test_differences_without_an_interval_have_no_bar_and_without_values_no_plot() -> None:
    one = axes_of(differences([Difference("B - A", [0.2], 0.2, NAN, NAN)], "x"))
    assert [list(line.get_xdata()) for line in one.lines] == [[0.0, 0.0], [0.2]]
    assert axes_of(differences([Difference("B - A", [0.0, 0.0], 0.0, 0.0, 0.0)], "x")).get_xlim() == (-1.0, 1.0)
    assert isinstance(differences([Difference("B - A", [NAN], NAN, NAN, NAN)], "x"), Absent)
    assert isinstance(differences([], "x"), Absent)
