import numpy as np
import pytest
import torch

from coactseg_cli.config import Inference, Precision, SegmentConfig
from coactseg_cli.network.fast_vnet import FastVNet, Head
from coactseg_cli.network.inference import make_engine
from coactseg_cli.network.inputs import stack, visits
from coactseg_cli.network.losses import lesion_probability
from coactseg_cli.network.model import VNet
from tests.coactseg_cli.network.conftest import vectors

ALL = frozenset(Head)


def scans(shape=(37, 44, 50), seed=0):
    rng = np.random.default_rng(seed)
    baseline = rng.normal(size=shape).astype(np.float32)
    return baseline, baseline + rng.normal(scale=0.3, size=shape).astype(np.float32)


def test_windows_give_the_published_probabilities(published):
    network, _ = published
    stored = vectors("sliding_window")
    edge, stride = int(stored["patch"]), int(stored["stride"])
    engine = make_engine(network, SegmentConfig(inference=Inference.WINDOWS, patch_size=(edge,) * 3, stride=(stride,) * 3))
    maps = engine.run(stored["baseline"], stored["followup"], np.ones(stored["baseline"].shape, bool), Head)
    for head in Head:
        np.testing.assert_allclose(maps[head], stored[f"prob_{head}"], atol=1e-5)


def plain_windows(network, baseline, followup, patch, stride):
    """The published loop, written out: centred zero padding, last window moved back, plain averages."""
    pad = [max(p - n, 0) for p, n in zip(patch, baseline.shape, strict=True)]
    width = [(p // 2, p - p // 2) for p in pad]
    b, f = np.pad(baseline, width), np.pad(followup, width)
    starts = [[min(i * s, n - p) for i in range(-(-(n - p) // s) + 1)] for n, p, s in zip(b.shape, patch, stride, strict=True)]
    total, count = np.zeros(b.shape), np.zeros(b.shape)
    for x in starts[0]:
        for y in starts[1]:
            for z in starts[2]:
                box = tuple(slice(a, a + p) for a, p in zip((x, y, z), patch, strict=True))
                window = stack(torch.from_numpy(b[box].copy())[None, None], torch.from_numpy(f[box].copy())[None, None])
                with torch.inference_mode():
                    total[box] += lesion_probability(network(window).new)[0].numpy()
                count[box] += 1
    inner = tuple(slice(low, low + n) for (low, _), n in zip(width, baseline.shape, strict=True))
    return (total / count)[inner]


@pytest.mark.parametrize(
    ("shape", "patch", "stride"),
    [((37, 20, 50), (32, 32, 32), (7, 9, 31)), ((48, 33, 49), (48, 32, 16), (11, 7, 5)), ((16, 16, 16), (32, 16, 16), (32, 3, 16))],
)
def test_windows_equal_the_written_out_loop(small, shape, patch, stride):
    baseline, followup = scans(shape)
    engine = make_engine(small, SegmentConfig(inference=Inference.WINDOWS, patch_size=patch, stride=stride))
    maps = engine.run(baseline, followup, np.ones(shape, bool), [Head.NEW])
    np.testing.assert_allclose(maps[Head.NEW], plain_windows(small, baseline, followup, patch, stride), atol=1e-5)


def test_folded_network_equals_the_plain_one(small):
    x = torch.randn(1, 3, 32, 16, 48)
    with torch.inference_mode():
        plain, fast = small(x), FastVNet(small)(x, ALL)
    for head in Head:
        np.testing.assert_allclose(fast[head][:, 0].numpy(), lesion_probability(getattr(plain, head)).numpy(), atol=1e-5)


def test_visits_as_channels_give_what_the_difference_gives(small):
    a, b = torch.randn(2, 1, 32, 16, 48), torch.randn(2, 1, 32, 16, 48)
    fast = FastVNet(small)
    with torch.inference_mode():
        for first, second in ((a, b), (a, a)):
            few, three = fast(visits(first, second), ALL), fast(stack(first, second), ALL)
            assert visits(first, second).shape[1] == (1 if first is second else 2)
            for head in Head:
                np.testing.assert_allclose(few[head].numpy(), three[head].numpy(), atol=1e-5)


@pytest.mark.parametrize("rows", [16, 32, 48])
@pytest.mark.parametrize("wanted", [{Head.NEW}, {Head.ALL_FOLLOWUP}, {Head.ALL_BASELINE, Head.ALL_FOLLOWUP}, set(Head)])
def test_slabs_change_nothing(rows, wanted):
    torch.manual_seed(0)
    network = VNet(16).eval()
    x = torch.randn(1, 3, rows, 16, 32)
    with torch.inference_mode():
        plain = network(x)
        for voxels in (1, 12 * 16 * 32, 1 << 20):  # slabs of the fewest rows, of some rows, one
            fast = FastVNet(network, slab_voxels=voxels)(x, frozenset(wanted))
            assert set(fast) == wanted
            for head in wanted:
                np.testing.assert_allclose(fast[head][:, 0].numpy(), lesion_probability(getattr(plain, head)).numpy(), atol=1e-5)


def test_a_pass_over_slabs_takes_less_memory():
    """Kept maps of the finest level: a dozen of them at once, before there were slabs."""
    network, x = FastVNet(VNet(16).eval(), slab_voxels=1 << 16), torch.randn(1, 3, 96, 96, 96)
    with torch.inference_mode(), torch.profiler.profile(profile_memory=True) as profile:
        network(x, ALL)
    held = most = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    assert 0 < most < 3 * 16 * 4 * 96**3


@pytest.mark.parametrize("head", list(Head))
def test_one_head_alone_is_the_same_map(small, head):
    baseline, followup = scans()
    brain = np.ones(baseline.shape, bool)
    engine = make_engine(small, SegmentConfig(precision=Precision.FP32))
    assert np.array_equal(engine.run(baseline, followup, brain, [head])[head], engine.run(baseline, followup, brain, Head)[head])


def test_fast_inference_looks_at_the_brain_box_only(small):
    baseline, followup = scans((40, 50, 60))
    brain = np.zeros(baseline.shape, bool)
    brain[10:20, 12:30, 20:40] = True
    engine = make_engine(small, SegmentConfig())
    probability = engine.run(baseline, followup, brain, [Head.NEW])[Head.NEW]
    assert probability.shape == (40, 50, 60)
    assert probability[brain].min() > 0.0
    assert (probability[~brain] == 0.0).all()
    cropped = (np.ascontiguousarray(x[10:20, 12:30, 20:40]) for x in (baseline, followup))
    alone = engine.run(*cropped, np.ones((10, 18, 20), bool), [Head.NEW])[Head.NEW]
    np.testing.assert_array_equal(probability[10:20, 12:30, 20:40], alone)


def test_a_scan_and_its_copy_give_what_a_scan_and_itself_give(small):
    scan, _ = scans()
    brain = np.ones(scan.shape, bool)
    for config in (SegmentConfig(), SegmentConfig(inference=Inference.WINDOWS, patch_size=(32, 32, 32), stride=(16, 16, 16))):
        engine = make_engine(small, config)
        assert np.array_equal(
            engine.run(scan, scan.copy(), brain, [Head.NEW])[Head.NEW], engine.run(scan, scan, brain, [Head.NEW])[Head.NEW]
        )


def test_without_a_brain_there_is_nothing(small):
    baseline, followup = scans((16, 16, 16))
    maps = make_engine(small, SegmentConfig()).run(baseline, followup, np.zeros(baseline.shape, bool), Head)
    assert set(maps) == ALL
    assert all((m == 0.0).all() for m in maps.values())


def test_tiles_in_bf16_are_added_up_in_float32(small):
    """Near 1, where the peak of a new lesion is asked for, bf16 counts in steps of 0.004."""
    baseline, followup = scans((64, 40, 44))
    engine = make_engine(small, SegmentConfig(precision=Precision.BF16, tile=48))
    new = engine.run(baseline, followup, np.ones(baseline.shape, bool), [Head.NEW])[Head.NEW]
    assert new.dtype == np.float32
    assert (torch.from_numpy(new).bfloat16().float().numpy() != new).mean() > 0.9


def test_tiles_hardly_change_a_map(small):
    baseline, followup = scans((70, 60, 50))
    brain = np.ones(baseline.shape, bool)
    whole = make_engine(small, SegmentConfig(precision=Precision.FP32)).run(baseline, followup, brain, [Head.NEW])[Head.NEW]
    tiled = make_engine(small, SegmentConfig(precision=Precision.FP32, tile=48)).run(baseline, followup, brain, [Head.NEW])[Head.NEW]
    assert 0 < np.abs(whole - tiled).mean() < 0.01


def test_bf16_is_near_fp32(small):
    baseline, followup = scans()
    brain = np.ones(baseline.shape, bool)
    low = make_engine(small, SegmentConfig(precision=Precision.BF16)).run(baseline, followup, brain, [Head.NEW])[Head.NEW]
    full = make_engine(small, SegmentConfig(precision=Precision.FP32)).run(baseline, followup, brain, [Head.NEW])[Head.NEW]
    assert 0 < np.abs(low - full).max() < 0.05


def test_empty_brain_gives_empty_maps(small):
    baseline, followup = scans()
    maps = make_engine(small, SegmentConfig()).run(baseline, followup, np.zeros(baseline.shape, bool), Head)
    assert not any(m.any() for m in maps.values())


def test_the_given_network_is_not_changed(small):
    before = {k: v.clone() for k, v in small.state_dict().items()}
    make_engine(small, SegmentConfig())
    assert all(torch.equal(v, before[k]) for k, v in small.state_dict().items())
