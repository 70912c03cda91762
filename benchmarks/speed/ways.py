"""One way of inference over one pair in a process of its own: seconds, peak memory, maps.

python -m benchmarks.speed.ways WAY CASE.npz MODEL OUT.npz THREADS
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.speed.cases import PairCase, read_case

PUBLISHED = "published"
FAST = "fast"
WAYS = {
    FAST: "the whole brain at once, in the number format of this processor (the default)",
    "fast-fp32": "the same in fp32",
    "tile-128": "fast, --tile 128",
    "windows": "--inference windows: exact",
    PUBLISHED: "windows of 80^3 every 20 voxels, one at a time, fp32, as published",
}


@dataclass(frozen=True, slots=True)
class Timing:
    """What one process needed for both passes."""

    way: str
    case: str
    voxels: int
    seconds: float  # both passes, the network already loaded and made ready
    ready_seconds: float  # loading the model and making it ready, without imports
    peak_gib: float  # of the process, everything included
    precision: str


def timed(way: str, case: Path, model: str, out: Path, threads: int) -> Timing:
    """Run a way in a process of its own; the maps go to `out`."""
    command = [sys.executable, "-m", "benchmarks.speed.ways", way, str(case), model, str(out), str(threads)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return Timing(**json.loads(done.stdout.strip().splitlines()[-1]))


def _run(way: str, case: PairCase, model: str, threads: int) -> tuple[Timing, dict[str, np.ndarray]]:
    import torch

    from coactseg_cli.config import Inference, Precision, SegmentConfig
    from coactseg_cli.network.fast_vnet import Head
    from coactseg_cli.network.inference import make_engine
    from coactseg_cli.segment import load_model

    begun = time.perf_counter()
    torch.set_num_threads(threads)
    network = load_model(SegmentConfig(model=model)).network
    if way == PUBLISHED:
        from benchmarks.speed.published import both_passes

        ready = time.perf_counter()
        maps, precision = both_passes(network.eval(), case.baseline, case.followup), "float32"
    else:
        config = {
            FAST: SegmentConfig(threads=threads),
            "fast-fp32": SegmentConfig(threads=threads, precision=Precision.FP32),
            "tile-128": SegmentConfig(threads=threads, tile=128),
            "windows": SegmentConfig(threads=threads, inference=Inference.WINDOWS),
        }[way]
        engine = make_engine(network, config)
        ready = time.perf_counter()
        pair = engine.run(case.baseline, case.followup, case.brain, [Head.ALL_BASELINE, Head.NEW])
        single = engine.run(case.followup, case.followup, case.brain, [Head.ALL_FOLLOWUP])
        maps = {"all_baseline": pair[Head.ALL_BASELINE], "all_followup": single[Head.ALL_FOLLOWUP], "new": pair[Head.NEW]}
        precision = str(engine.dtype).removeprefix("torch.")
    seconds = time.perf_counter() - ready
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return Timing(way, case.name, case.brain.size, seconds, ready - begun, peak, precision), maps


def main(words: list[str]) -> None:
    """Print the timing as JSON."""
    way, case, model, out, threads = words
    timing, maps = _run(way, read_case(Path(case)), model, int(threads))
    np.savez(out, **maps)
    print(json.dumps(asdict(timing)))


if __name__ == "__main__":
    main(sys.argv[1:])
