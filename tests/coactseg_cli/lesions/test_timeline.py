"""The tables of tracked lesions, number by number; a voxel is 1 mm3."""

import math

import numpy as np
import pytest

from bids_app.tables import write_table
from coactseg_cli.lesions.fates import Rules
from coactseg_cli.lesions.location import Location
from coactseg_cli.lesions.timeline import LESION_COLUMNS, TIMELINE_COLUMNS, VisitFacts, annualised, lesion_rows, timeline_rows
from coactseg_cli.lesions.tracking import VisitMaps, track
from tests.coactseg_cli.lesions.made import BRIDGE, FAR, SPACING_MM, A, B, mask

AFFINE = np.array([[0.5, 0, 0, -10], [0, 1.0, 0, 5], [0, 0, 2.0, 100], [0, 0, 0, 1]])
MOVED = AFFINE + np.array([[0, 0, 0, 1.0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])  # the second visit lies 1 mm further right
A_GROWN = (slice(1, 4), slice(1, 4), slice(1, 6))  # 45 voxels
VISITS = (VisitFacts("ses-01", 0.0, AFFINE), VisitFacts("ses-02", 365.25, MOVED), VisitFacts("ses-03", 730.5, AFFINE))


@pytest.fixture
def history():
    """1: A grows, takes B up, and is A again. 2: B merges. 3: FAR resolves. 4: the piece that comes off."""
    p = np.full(mask().shape, 0.5, np.float32)
    visits = [
        VisitMaps(mask(A_GROWN, B, FAR), p, p),
        VisitMaps(mask(A_GROWN, BRIDGE, B), p / 2, p / 5, mask(BRIDGE), mask(FAR)),
        VisitMaps(mask(A, B), p, p / 10, mask(), mask(BRIDGE)),
    ]
    return track(visits, SPACING_MM, Rules(noise_mm3=1, noise_share=0))


def test_a_row_per_lesion(history) -> None:
    rows = lesion_rows(history, VISITS, {1: Location.PERIVENTRICULAR})
    assert [tuple(row) for row in rows] == [tuple(LESION_COLUMNS)] * 4
    first, merged, resolved, piece = rows
    assert [first[k] for k in ("index", "name", "first_session", "last_session", "fate", "location")] == [
        1,
        "lesion-1",
        "ses-01",
        "ses-03",
        "shrinking",
        "periventricular",
    ]
    assert (first["volume_first_mm3"], first["volume_last_mm3"], first["change_mm3"]) == (45, 27, -18)
    assert first["annualised_change_mm3_per_year"] == pytest.approx(-9)
    assert (first["x_mm"], first["y_mm"], first["z_mm"]) == pytest.approx((-9, 7, 104))
    assert (merged["fate"], merged["merged_into"], merged["last_session"]) == ("merged", 1, "ses-01")
    assert math.isnan(merged["volume_last_mm3"])
    assert math.isnan(merged["change_mm3"])
    assert (resolved["fate"], resolved["volume_last_mm3"], resolved["change_mm3"]) == ("resolved", 0, -20)
    assert resolved["annualised_change_mm3_per_year"] == pytest.approx(-20)
    assert resolved["location"] == "unclassified"
    assert (piece["fate"], piece["split_from"], piece["first_session"]) == ("split", 1, "ses-03")
    assert math.isnan(piece["change_mm3"])
    assert [row["new_probability_max"] for row in rows[:3]] == pytest.approx([np.nan] * 3, nan_ok=True)
    assert piece["new_probability_max"] == pytest.approx(0.05)
    assert (first["max_probability"], resolved["mean_probability"]) == pytest.approx((0.5, 0.5))


def test_a_row_per_lesion_and_visit(history) -> None:
    rows = timeline_rows(history, VISITS)
    assert {tuple(row) for row in rows} == {tuple(TIMELINE_COLUMNS)}
    assert [(row["lesion_id"], row["session_id"], row["fate"], row["volume_mm3"]) for row in rows] == [
        (1, "ses-01", "baseline", 45),
        (1, "ses-02", "enlarging", 90),
        (1, "ses-03", "shrinking", 27),
        (2, "ses-01", "baseline", 27),
        (2, "ses-02", "merged", 0),
        (3, "ses-01", "baseline", 20),
        (3, "ses-02", "resolved", 0),
        (4, "ses-03", "split", 27),
    ]
    changes = [row["change_mm3"] for row in rows]
    assert changes == pytest.approx([np.nan, 18, -36, np.nan, np.nan, np.nan, -20, np.nan], nan_ok=True)
    assert rows[1]["annualised_change_mm3_per_year"] == pytest.approx(18)
    assert rows[1]["days"] == 365.25
    assert rows[1]["overlap_with_new"] == pytest.approx(18 / 90)
    assert rows[1]["overlap_with_resolved"] == 0
    assert rows[2]["overlap_with_resolved"] == pytest.approx(18 / 90)
    assert rows[6]["overlap_with_resolved"] == 1
    assert rows[1]["mean_probability"] == pytest.approx(0.25)


def test_a_lesion_that_is_gone_is_where_it_was_in_the_scanner_of_this_visit(history) -> None:
    before, gone = timeline_rows(history, VISITS)[5:7]
    assert (before["x_mm"], before["y_mm"], before["z_mm"]) == pytest.approx((-6.75, 17.5, 144))
    assert (gone["x_mm"], gone["y_mm"], gone["z_mm"]) == pytest.approx((-5.75, 17.5, 144))


def test_without_times_and_sessions_the_cells_are_empty(history, tmp_path) -> None:
    unknown = [VisitFacts(None, None, AFFINE)] * 3
    write_table(tmp_path / "sub-01_desc-lesions_timeline.tsv", timeline_rows(history, unknown), TIMELINE_COLUMNS)
    write_table(tmp_path / "lesions.tsv", lesion_rows(history, unknown, {}), LESION_COLUMNS)
    second = (tmp_path / "sub-01_desc-lesions_timeline.tsv").read_text().splitlines()[2].split("\t")
    assert second[:7] == ["1", "n/a", "n/a", "90", "enlarging", "18", "n/a"]
    assert (tmp_path / "lesions.tsv").read_text().splitlines()[1].split("\t")[:5] == ["1", "lesion-1", "n/a", "n/a", "shrinking"]


def test_no_lesion_gives_no_row() -> None:
    nothing = track([VisitMaps(mask())], SPACING_MM)
    assert lesion_rows(nothing, VISITS[:1], {}) == timeline_rows(nothing, VISITS[:1]) == []


@pytest.mark.parametrize(
    ("before", "after", "per_year"),
    [(0.0, 73.05, 50), (None, 10.0, math.nan), (0.0, None, math.nan), (5.0, 5.0, math.nan), (9.0, 5.0, math.nan)],
)
def test_annualised(before: float | None, after: float | None, per_year: float) -> None:
    assert annualised(10, before, after) == pytest.approx(per_year, nan_ok=True)
