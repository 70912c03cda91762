import dataclasses
import errno
import os
import time

import numpy as np
import pytest

from coactseg_cli.errors import GridMismatch, InvalidConfig
from coactseg_cli.sampling import cache, loading
from coactseg_cli.sampling.loading import derive_new, load_cases, load_masks
from coactseg_cli.targets import IGNORE
from coactseg_cli.volumes import Volume, load, save


def test_cached_cases_are_those_of_the_files(tiny_prepared, tmp_path):
    for timeline in tiny_prepared.timelines:
        fresh, cached = load_cases(timeline), load_cases(timeline, tmp_path / "cache")
        assert [c.name for c in fresh] == [c.name for c in cached]
        for one, other in zip(fresh, cached, strict=True):
            assert one.labelled == other.labelled
            assert one.marks == other.marks
            for name in ("baseline", "brain", *(["followup"] if one.is_pair else []), *one.labelled):
                assert np.array_equal(getattr(one, name), getattr(other, name))
    assert isinstance(cached[0].baseline, np.memmap)
    assert not list((tmp_path / "cache").glob(".tmp-*"))


def test_volumes_are_cut_to_the_brain_with_a_margin(tiny_prepared, monkeypatch):
    monkeypatch.setattr(loading, "MARGIN", 2)
    case = load_cases(tiny_prepared.timelines[1])[0]
    whole = load(tiny_prepared.timelines[1].visits[0].image).data
    assert case.baseline.size < whole.size
    edges = [np.flatnonzero(case.brain.any(axis=tuple({0, 1, 2} - {a}))) for a in range(3)]
    assert [(int(e[0]), case.brain.shape[a] - 1 - int(e[-1])) for a, e in enumerate(edges)] == [(2, 2)] * 3
    assert np.square(case.baseline).sum() == pytest.approx(np.square(whole).sum(), rel=1e-5)


def test_the_cache_is_written_once_and_again_after_a_change(tiny_prepared, tmp_path, monkeypatch):
    timeline = tiny_prepared.timelines[2]
    load_cases(timeline, tmp_path)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.npy")}
    load_cases(timeline, tmp_path)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.npy")} == before
    image = timeline.visits[0].image
    then = image.stat().st_mtime_ns
    try:
        os.utime(image, ns=(then, time.time_ns()))
        load_cases(timeline, tmp_path)
        assert len(list(tmp_path.iterdir())) == 2
    finally:
        os.utime(image, ns=(then, then))


def test_a_full_disk_leaves_nothing_behind(tiny_prepared, tmp_path, monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache.np, "save", full)
    with pytest.raises(OSError, match="No space left"):
        load_cases(tiny_prepared.timelines[2], tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_of_two_processes_that_write_at_once_the_first_stays(tiny_prepared, tmp_path):
    timeline = tiny_prepared.timelines[2]

    def make():
        cache.fetch(tmp_path, timeline, lambda: ({"a": np.zeros(2)}, {"who": "other"}))
        return {"a": np.ones(3)}, {"who": "me"}

    arrays, facts = cache.read(cache.fetch(tmp_path, timeline, make))
    assert facts == {"who": "other"}
    assert arrays["a"].tolist() == [0.0, 0.0]
    assert len(list(tmp_path.iterdir())) == 1


def line(*values):
    return np.array(values, np.int8)[:, None, None]


def derived(single, before, after):
    case = dataclasses.replace(single, followup=single.baseline, all_baseline=line(*before), all_followup=line(*after))
    found = derive_new(case).new
    return None if found is None else found[:, 0, 0].tolist()


@pytest.mark.parametrize(
    ("before", "after", "new"),
    [
        ((0, 0, 0, 0), (0, 1, 1, 0), [0, 1, 1, 0]),  # a new lesion
        ((0, 1, 0, 0), (0, 1, 1, 0), [0, 0, IGNORE, 0]),  # a lesion that grew, or two hands
        ((0, 1, 1, 0), (0, 0, 0, 0), [0, 0, 0, 0]),  # resolved
        ((1, 0, 0, 0), (1, 0, 1, 1), [0, 0, 1, 1]),  # stable beside new
        ((0, 0, 0, 0), (0, IGNORE, 0, 1), [0, IGNORE, 0, 1]),  # unknown at the follow-up
        ((1, 0, 0, 0), (IGNORE, 0, 0, 0), [0, 0, 0, 0]),  # unknown now, but it was there
        ((0, IGNORE, 0, 0), (0, 1, 1, 0), [0, IGNORE, IGNORE, 0]),  # it may have been there
        ((0, IGNORE, 0, 0), (0, 0, 0, 1), [0, 0, 0, 1]),  # not there now, so not new
    ],
)
def test_new_lesions_from_two_all_lesion_labels(single, before, after, new):
    assert derived(single, before, after) == new


def test_only_pairs_without_a_label_of_their_own_get_one(single, pair):
    assert derive_new(single).new is None
    assert derive_new(pair) is pair
    assert derive_new(dataclasses.replace(pair, new=None)).new is None


def test_masks_of_held_out_participants_are_left_out(tmp_path):
    for i, name in enumerate(("cs01_label-lesion_mask", "cs02_mask", "sub-cs03_mask")):
        data = np.zeros((4, 5, 6), np.float32)
        data[i] = 1
        save(Volume(data, np.diag([2.0, 2.0, 2.0, 1.0])), tmp_path / f"{name}.nii.gz")
    masks, spacing_mm = load_masks(tmp_path, {"sub-cs02", "sub-cs03"})
    assert spacing_mm == (2.0, 2.0, 2.0)
    assert [int(np.argwhere(m)[0, 0]) for m in masks] == [0]
    assert len(load_masks(tmp_path)[0]) == 3
    with pytest.raises(InvalidConfig, match="no NIfTI file in it that may be used"):
        load_masks(tmp_path, {"sub-cs01", "sub-cs02", "sub-cs03"})
    save(Volume(np.zeros((4, 5, 6), np.float32), np.eye(4)), tmp_path / "z.nii.gz")
    with pytest.raises(GridMismatch, match=r"z\.nii\.gz has voxels of"):
        load_masks(tmp_path)
