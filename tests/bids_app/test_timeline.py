"""Charts over the visits: read back as XML, with places worked out by hand."""

import math
import xml.etree.ElementTree as ET

import pytest

from bids_app.timeline import HEIGHT, WIDTH, Chart, Point, fates_chart, nice_scale, volume_chart

NAN = float("nan")
POINTS = (
    Point("ses-01", 0.0, 2.0, {"baseline": 10, "new": 0}),
    Point("ses-02", 100.0, 4.0, {"new": 3, "enlarging": 1, "stable": 8, "resolved": 2}),
    Point("ses-03", 400.0, NAN, {"stable": 12}),
)


def tree_of(chart: Chart) -> ET.Element:
    return ET.fromstring(str(chart.svg))


def kind(root: ET.Element, tag: str, name: str = "") -> list[ET.Element]:
    return [e for e in root.iter(tag) if not name or e.get("class") == name]


def test_visits_stand_where_they_lie_in_time() -> None:
    places = [float(e.get("x")) for e in kind(tree_of(volume_chart(POINTS)), "text", "visit")]
    assert (places[1] - places[0]) / (places[2] - places[0]) == pytest.approx(0.25, abs=0.002)
    assert [e.text for e in kind(tree_of(volume_chart(POINTS)), "text", "day")] == ["day 0", "day 100", "day 400"]


@pytest.mark.parametrize("days", [(0.0, 1.0, 900.0), (None, None, None), (0.0, None, 9.0), (5.0, 5.0, 5.0)])
def test_visits_are_evenly_spaced_where_days_are_unknown_or_would_overlap(days: tuple[float | None, ...]) -> None:
    points = [Point(f"ses-{i}", d, 1.0, {}) for i, d in enumerate(days)]
    chart = volume_chart(points)
    places = [float(e.get("x")) for e in kind(tree_of(chart), "text", "visit")]
    assert places[1] - places[0] == pytest.approx(places[2] - places[1], abs=0.11)
    assert "evenly spaced" in chart.caption


def test_a_volume_that_is_not_known_has_no_point() -> None:
    root = tree_of(volume_chart(POINTS))
    dots = kind(root, "circle", "dot")
    assert len(dots) == 2
    assert [e.text for e in kind(root, "text", "value")] == ["2.00", "4.00"]
    assert float(dots[1].get("cy")) < float(dots[0].get("cy"))
    assert "ses-01: 2.00 ml; ses-02: 4.00 ml" in volume_chart(POINTS).description


def test_bars_are_as_high_as_their_counts_and_what_is_gone_hangs_below() -> None:
    root = tree_of(fates_chart(POINTS))
    boxes = {e.find("title").text: e for e in kind(root, "rect")}
    assert set(boxes) == {
        "ses-01: 10 baseline",
        "ses-02: 3 new",
        "ses-02: 1 enlarging",
        "ses-02: 8 stable",
        "ses-02: 2 resolved",
        "ses-03: 12 stable",
    }
    heights = {name: float(e.get("height")) for name, e in boxes.items()}
    assert heights["ses-02: 8 stable"] / heights["ses-02: 2 resolved"] == pytest.approx(4, rel=0.02)
    line = float(kind(root, "line", "axis")[0].get("y1"))
    assert float(boxes["ses-02: 2 resolved"].get("y")) == pytest.approx(line, abs=0.1)
    stable = boxes["ses-02: 8 stable"]
    assert float(stable.get("y")) + float(stable.get("height")) == pytest.approx(line, abs=0.11)
    for box in boxes.values():
        assert 0 <= float(box.get("x")) <= WIDTH - float(box.get("width"))
        assert 0 <= float(box.get("y")) <= HEIGHT
    assert [look.word for look in fates_chart(POINTS).legend] == ["new", "enlarging", "resolved", "stable", "baseline"]


def test_charts_say_what_they_show() -> None:
    for chart in (volume_chart(POINTS), fates_chart(POINTS)):
        root = tree_of(chart)
        named = {e.get("id"): e.text for e in root if e.tag in {"title", "desc"}}
        assert [named[i] for i in root.get("aria-labelledby").split()] == [chart.title, chart.description]


@pytest.mark.parametrize(
    ("largest", "whole", "expected"),
    [
        (0.0, False, (1.0, 1.0)),
        (4.4, False, (5.0, 1.0)),
        (0.37, False, (0.4, 0.1)),
        (3, True, (3.0, 1.0)),
        (43, True, (50.0, 10.0)),
        (1, True, (1, 1)),
    ],
)
def test_axes_end_at_round_numbers(largest: float, whole: bool, expected: tuple[float, float]) -> None:
    assert nice_scale(largest, whole=whole) == pytest.approx(expected)


def test_no_visit_and_no_lesion_are_survived_and_words_stay_words() -> None:
    assert tree_of(volume_chart(())) is not None
    assert "no lesion" in fates_chart((Point("<b>&", None, NAN, {}),)).description
    root = tree_of(fates_chart((Point("<b>&", None, math.inf, {"new": 1}),)))
    assert kind(root, "text", "visit")[0].text == "<b>&"
