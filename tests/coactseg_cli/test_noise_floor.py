"""The benchmark of rescans: its arithmetic by hand, and a run on the tiny cohort."""

import numpy as np
import pytest

from benchmarks import noise_floor as nf
from bids_app.tables import read_table
from coactseg_cli.preprocessing.transforms import apply, rotation_deg
from coactseg_cli.volumes import Volume

NAN = float("nan")


def kept(before: float, after: float, fate: str = "stable") -> nf.LesionRow:
    return nf.LesionRow("a", 0, fate, before, after, after - before, NAN, NAN)


def test_rules_are_quantiles_of_small_changes_in_mm3_and_of_large_ones_as_a_share():
    small = [kept(20, 20 + d) for d in range(11)]  # |dV| 0 to 10
    large = [kept(200, 200), kept(180, 220, "enlarging"), kept(320, 280, "shrinking")]  # shares 0, 0.2, 0.1333
    other = [nf.LesionRow("a", 0, "merged", 900.0, 0.0, NAN, NAN, NAN), nf.LesionRow("a", 0, "new", 0.0, 500.0, 500.0, 0.4, 0.0)]
    mm3, share = nf.noise_rules([*small, *large, *other], 0.5)
    assert mm3 == 5.0
    assert share == pytest.approx(40 / 300)
    assert np.isnan(nf.noise_rules(small, 0.5)[1])


def test_the_mean_volume_is_that_of_the_family():
    assert kept(20, 30).mean_mm3 == 25.0
    assert nf.LesionRow("a", 0, "enlarging", 245.0, 883.0, 435.0, NAN, NAN).mean_mm3 == 665.5, "448 in two pieces before, 883 after"
    assert nf.LesionRow("a", 0, "shrinking", 100.0, 40.0, -20.0, NAN, NAN).mean_mm3 == 90.0, "100 before, 80 in two pieces after"


def test_a_change_counts_above_both_limits():
    rows = [kept(20, 31), kept(200, 231), kept(200, 229), kept(20, 29), nf.LesionRow("a", 0, "new", 0.0, 99.0, 99.0, 0.1, 0.1)]
    assert nf.changed(rows, 10.0, 0.14) == 2, "11 of 25.5 mm3 and 31 of 215.5 mm3, not 29 of 214.5, 9 of 24.5 or what is new"


def test_tracking_sees_a_lesion_that_grew_one_that_is_gone_and_one_that_came():
    shape = (20, 21, 22)
    masks, all_p, change_p = (tuple(np.zeros(shape, t) for _ in range(2)) for t in (bool, np.float32, np.float32))
    masks[0][2:5, 2:5, 2:5] = masks[1][2:5, 2:5, 2:6] = True  # 27 to 36 voxels
    masks[0][12:14, 12:14, 12:14] = True  # 8, then gone
    masks[1][2:4, 15:18, 15:17] = True  # 12, from nothing
    all_p[1][12, 12, 12], change_p[0][13, 13, 13] = 0.3, 0.2
    all_p[0][3, 16, 16], change_p[1][2, 15, 15] = 0.4, 0.6
    maps = nf.Maps(all_p, masks, change_p, (np.zeros(shape, bool), np.zeros(shape, bool)), Volume(np.zeros(shape), np.diag([2, 1, 1, 1.0])))
    rows = {r.fate: r for r in nf.lesion_rows("x", 3, maps)}
    assert set(rows) == {"enlarging", "resolved", "new"}
    assert (rows["enlarging"].before_mm3, rows["enlarging"].after_mm3, rows["enlarging"].change_mm3) == (54.0, 72.0, 18.0)
    assert (rows["resolved"].before_mm3, rows["resolved"].after_mm3) == (16.0, 0.0)
    assert (rows["resolved"].other_probability, rows["resolved"].change_probability) == pytest.approx((0.3, 0.2))
    assert (rows["new"].after_mm3, rows["new"].other_probability, rows["new"].change_probability) == pytest.approx((24.0, 0.4, 0.6))
    assert nf.copy_row("x", 3, maps, 0.1) == nf.CopyRow("x", 3, 0.1, 0, 0.0, 0, 0.0)


def test_a_copy_is_the_scan_moved_a_little():
    x, y, z = np.meshgrid(*[np.arange(n) - n / 2 for n in (40, 42, 20)], indexing="ij")
    brain = (x / 15) ** 2 + (y / 17) ** 2 + (z / 8) ** 2 < 1
    scan = Volume(np.where(brain, 100 + x, 0).astype(np.float32), np.diag([1.0, 1.0, 2.0, 1.0]))
    copy, mask, copy_from_scan = nf.make_copy(scan, brain, np.random.default_rng(1))
    assert copy.shape == scan.shape
    assert copy.data.min() >= 0
    assert rotation_deg(copy_from_scan) <= nf.MOST_DEG + 1e-6
    centres = [apply(scan.affine, np.argwhere(m).mean(axis=0)[None])[0] for m in (brain, mask.data)]
    assert np.linalg.norm(centres[1] - centres[0]) > 0.6
    assert np.linalg.norm(apply(copy_from_scan, centres[0][None])[0] - centres[1]) < 0.3
    assert mask.data.sum() == pytest.approx(brain.sum(), rel=0.03)


def test_rows_come_back_from_their_table(tmp_path):
    rows = [kept(20, 21.5), nf.LesionRow("b", 1, "new", 0.0, 5.0, 5.0, 0.25, 0.5)]
    nf.append(tmp_path / "t.tsv", rows[:1])
    nf.append(tmp_path / "t.tsv", rows[1:])
    back = nf.read_rows(tmp_path / "t.tsv", nf.LesionRow)
    assert back[1] == rows[1]
    assert (back[0].after_mm3, back[0].fate) == (21.5, "stable")
    assert nf.read_rows(tmp_path / "none.tsv", nf.LesionRow) == []


def test_the_report_says_what_a_copy_costs():
    copies = [nf.CopyRow("a", i, 0.1 * i, i, 10.0 * i, 0, 0.0) for i in range(2)]
    lesions = [kept(20, 22), kept(200, 220), nf.LesionRow("a", 1, "new", 0.0, 12.0, 12.0, 0.15, 0.3)]
    text = nf.report(copies, lesions)
    assert "| a | 2 | 0.10 | 0.50 (5.0) | 0.00 (0.0) | 0.50 | 0.00 | 0.00 | 1.0 |" in text
    assert "| 10-50 | 1 | 2.0, 2.0, 2.0 | 0.10, 0.10, 0.10 |" in text
    assert "noise_mm3 2.0, noise_share 0.10" in text
    assert "| and the other visit's probability stays below 0.1 | 0.00 |" in text
    assert "| and the other visit's probability stays below 0.2 | 0.50 |" in text
    assert "| and the new-lesion head reaches 0.25 there | 0.50 |" in text


@pytest.mark.slow
def test_copies_of_the_tiny_cohort_are_made_once(tiny_prepared, tiny_model_file, tmp_path, capsys):
    out = tmp_path / "out"
    words = [
        str(tiny_prepared.tree.root),
        "--out",
        str(out),
        "--model",
        str(tiny_model_file),
        "--spacing",
        "3",
        "--participant-label",
        "02",
    ]
    nf.main([*words, "--copies", "1"])
    nf.main([*words, "--copies", "2"])
    rows = read_table(out / "copies.tsv")
    assert [r["copy"] for r in rows] == ["0", "1"]
    assert all(float(r["registration_mm"]) < 2.0 for r in rows)
    assert "noise_mm3" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="no prepared scan"):
        nf.main([*words[:-1], "absent"])
