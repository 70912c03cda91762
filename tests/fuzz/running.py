"""Cases run in forked children of one warm process: exit code, what was said, peak memory, hang or not. Judges nothing."""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np

from tests.fuzz.world import World

WALL_PER_CPU = 6.0  # how much longer a run may take by the clock than by the processor, since other work may run beside it
LIMIT_BYTES = 2 * 10**9  # of data, as --mem 2GB sets it for a worker


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of one run."""

    code: int | None  # None: it hung and was killed; negative: a signal
    stdout: str
    stderr: str
    peak_bytes: int  # resident
    seconds: float


def warm_up() -> None:
    """Import what the commands import, once. Nothing is computed: threads do not survive a fork."""
    import bids
    import bids.layout  # noqa: F401
    import matplotlib.figure  # noqa: F401
    import scipy.ndimage  # noqa: F401
    import SimpleITK  # noqa: F401
    import torch

    import coactseg_cli.cohort.page
    import coactseg_cli.evaluate
    import coactseg_cli.evaluate_report
    import coactseg_cli.group
    import coactseg_cli.participant_commands
    import coactseg_cli.prep
    import coactseg_cli.rereading
    import coactseg_cli.segment
    import coactseg_cli.subject_report  # noqa: F401

    torch.set_num_threads(1)


def warm_further(world: World) -> None:
    """Run, in this process, what computes in one thread without ITK: half of a short run is the first use of a library."""
    from coactseg_cli.__main__ import main

    masks = [str(world.root / "masks_of" / name) for name in ("predicted", "reference")]
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):  # noqa: PTH123
        main([str(world.one), str(world.root / "nothing"), "participant", "--dry-run"])
        main(["evaluate", *masks, str(world.root / "evaluated-again"), "--no-report", "--no-curves", "--nprocs", "1"])
        main([str(world.one), str(world.out), "group"])


def run(argv: Sequence[str], folder: Path, hang_s: float = 20.0) -> Ran:
    """Run the program in a child, in a folder of its own; it is killed after `hang_s` of the processor."""
    begun = time.monotonic()
    said = [folder / "stdout.txt", folder / "stderr.txt"]
    child = os.fork()
    if child == 0:
        _in_child(argv, folder, said, int(hang_s))
    status, usage = _wait(child, hang_s)
    code = None if status is None else os.waitstatus_to_exitcode(status)
    texts = [path.read_text(errors="replace") if path.is_file() else "" for path in said]
    return Ran(code, texts[0], texts[1], usage.ru_maxrss * 1024, time.monotonic() - begun)


def _wait(child: int, hang_s: float) -> tuple[int | None, resource.struct_rusage]:
    """The child's status, None where it had to be killed."""
    deadline = time.monotonic() + WALL_PER_CPU * hang_s
    pause = 0.002
    while True:
        pid, status, usage = os.wait4(child, os.WNOHANG)
        if pid:
            return status if not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGXCPU else None, usage
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            _, _, usage = os.wait4(child, 0)
            return None, usage
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


def _in_child(argv: Sequence[str], folder: Path, said: Sequence[Path], cpu_s: int) -> None:
    """Never returns."""
    code = 99
    try:
        for number, path in enumerate(said, start=1):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
        os.chdir(folder)
        (folder / "tmp").mkdir(exist_ok=True)
        os.environ.update(TMPDIR=str(folder / "tmp"), COACTSEG_WORK_DIR=str(folder / "tmp"), OMP_NUM_THREADS="1")
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 5))
        signal.signal(signal.SIGXCPU, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_DATA, (LIMIT_BYTES, LIMIT_BYTES))
        small_pictures()
        from coactseg_cli.__main__ import main

        code = main(list(argv))
    except BaseException:  # what the program would print on its way out
        import traceback

        traceback.print_exc()
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def small_pictures() -> None:
    """The picture that rays are cast for takes most of a run: here it has few of them."""
    import coactseg_cli.subject_report.report as report
    from bids_app.headview import head_view

    def small(*args: object) -> object:
        return head_view(*args, width=60)  # type: ignore[arg-type]

    report.head_view = small  # type: ignore[assignment]


def make_results(world: World, log: Callable[[str], None], *, two: bool = True) -> World:
    """Run the program on the sound data: its results are what unusual inputs must give too. `two`: of two visits as well.

    Raises: RuntimeError where it fails.
    """
    trial = world.root / "trial"
    _must(run([str(world.one), str(trial), "participant", *world.flags()], _folder(world.root / "run-0")), log)
    map_ = nib.load(trial / "sub-01/anat/sub-01_space-orig_label-L_desc-all_probseg.nii.gz").get_fdata()
    world = replace(world, threshold=f"{float(np.percentile(map_[map_ > 0], 97)):.4f}")
    _must(run([str(world.one), str(world.out), "participant", *world.flags()], _folder(world.root / "run-1")), log)
    _must(
        run(
            [str(world.oblique), str(world.out_oblique), "participant", *world.flags(world.root / "masks_oblique")],
            _folder(world.root / "run-o"),
        ),
        log,
    )
    flags = ["--skull-strip", "none", *world.network_flags]
    if two:
        _must(run([str(world.two), str(world.out_two), "participant", *flags], _folder(world.root / "run-2")), log)
    for i, (raw, out) in enumerate(((world.one, world.out), (world.two, world.out_two))[: 1 + two]):
        _must(run([str(raw), str(out), "group"], _folder(world.root / f"run-{3 + i}")), log)
    masks = [str(world.root / "masks_of" / name) for name in ("predicted", "reference")]
    quick = ["--no-report", "--no-curves", "--nprocs", "1"]
    _must(run(["evaluate", *masks, str(world.root / "evaluated"), *quick], _folder(world.root / "run-5")), log)
    return world


def _folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path


def _must(ran: Ran, log: Callable[[str], None]) -> None:
    log(f"sound data: exit code {ran.code} in {ran.seconds:.1f} s")
    if ran.code != 0:
        msg = f"the sound data itself fails: {ran.stdout}\n{ran.stderr}"
        raise RuntimeError(msg)
