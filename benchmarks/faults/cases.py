"""The faults: what happens, in which scenario, drawn from a seed. Each returns what it found in the end."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.faults import child
from benchmarks.faults.injection import Fault
from benchmarks.faults.place import Baseline, Place
from benchmarks.faults.verdict import OK, Finding, Verdict, after_rerun

ACTIONS = {
    "open": ("kill-before", "kill-after", "ENOSPC", "EIO", "EROFS", "EACCES"),
    "write": ("kill-before", "kill-half", "kill-after", "ENOSPC", "EIO", "memory", "term"),
    "fsync": ("kill-before", "kill-after", "EIO", "ENOSPC"),
    "rename": ("kill-before", "kill-after", "EIO", "ENOSPC", "term"),
    "mkdir": ("kill-before", "kill-after", "ENOSPC", "EROFS"),
    "unlink": ("kill-before", "kill-after", "EIO"),
    "read": ("vanish", "EACCES", "EIO", "kill-before", "memory"),
}
SCENARIOS = ("fresh", "other", "prep", "changed", "visit-gone", "force", "reread", "masks", "group")


@dataclass(frozen=True)
class Case:
    """One fault."""

    kind: str  # row of the table
    stage: str
    scenario: str
    what: str  # in words
    do: Callable[[Place], Finding]


def points_of(text: str, n: int, seed: int, baselines: dict[str, Baseline]) -> list[Case]:
    """n faults of one kind, stage and action (`write:maps:kill-half`), at calls that are drawn."""
    kind, stage, action = text.split(":")
    rng, cases = random.Random(seed), []
    counts = {name: sum((p.kind, p.stage) == (kind, stage) for p in b.journal) for name, b in baselines.items()}
    for _ in range(n):
        scenario = rng.choice(sorted(name for name, count in counts.items() if count))
        cases.append(_point(Fault(kind, stage, rng.randrange(counts[scenario]), action), scenario))
    return cases


def plan(n: int, seed: int, baselines: dict[str, Baseline], *, disks: bool, workers: bool) -> list[Case]:
    """Draw n faults.

    Args:
        n: how many.
        seed: of the drawing; for the same code the same faults.
        baselines: scenarios by name.
        disks: whether small disks can be mounted (root).
        workers: whether processes of a pool are killed too (slow: each starts Python anew).
    """
    rng = random.Random(seed)
    makers: list[tuple[float, Iterator[Case]]] = [
        (0.55, _points(rng, baselines)),
        (0.09, _random_kills(rng, baselines)),
        (0.10, _damages(rng, baselines["fresh"])),
        (0.09, _stale(rng, baselines)),
        (0.04, _clocks(rng, baselines)),
        (0.08, _at_once(rng, baselines)),
    ]
    makers += [(0.04, _disks(rng, baselines["fresh"]))] if disks else []
    makers += [(0.01, _workers(rng))] if workers else []
    total, cases = sum(share for share, _ in makers), []
    for share, maker in makers:
        wanted = max(1, round(n * share / total))
        cases += [next(maker) for _ in range(wanted)]
    while len(cases) < n:
        cases.append(next(makers[0][1]))
    rng.shuffle(cases)
    return cases[:n]


# ---- at one call


def _points(rng: random.Random, baselines: dict[str, Baseline]) -> Iterator[Case]:
    """Through all kinds, stages and actions in a random order, again and again; scenario and call drawn anew each time."""
    counts: dict[tuple[str, str], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for name, baseline in baselines.items():
        for point in baseline.journal:
            counts[point.kind, point.stage][name] += 1
    every = sorted((kind, stage, action) for kind, stage in counts for action in ACTIONS[kind])
    while True:
        rng.shuffle(every)
        for kind, stage, action in every:
            scenario = rng.choice(sorted(counts[kind, stage]))
            yield _point(Fault(kind, stage, rng.randrange(counts[kind, stage][scenario]), action), scenario)


def _point(fault: Fault, scenario: str) -> Case:
    def do(place: Place) -> Finding:
        code = place.with_fault(fault)
        if code == child.HANGS:
            return Finding(Verdict.LOST, "hangs")
        for path in place.raw.rglob("*.away"):
            path.rename(path.with_name(path.name.removesuffix(".away")))
        found = place.right_after()
        return place.rerun() if found is OK else found

    kind = {"kill": f"kill -9 at {fault.kind}", "term": "SIGTERM", "memory": "out of memory"}.get(fault.action.split("-")[0])
    kind = kind or (f"input {fault.action}" if fault.kind == "read" else fault.action)
    return Case(kind, fault.stage, scenario, f"{fault.action} at {fault.kind} {fault.k} of {fault.stage}", do)


# ---- at a moment


def _random_kills(rng: random.Random, baselines: dict[str, Baseline]) -> Iterator[Case]:
    while True:
        scenario = rng.choice(sorted(baselines))
        number = rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM])
        yield _random_kill(scenario, number, rng.random() * baselines[scenario].seconds * 1.1, rng.random() < 0.3)


def _random_kill(scenario: str, number: signal.Signals, delay_s: float, twice: bool) -> Case:
    def do(place: Place) -> Finding:
        for part in (1.0, 0.6) if twice else (1.0,):
            pid = place.start()
            time.sleep(delay_s * part)
            os.kill(pid, number)
            child.ended(pid)
            if (found := place.right_after()) is not OK:
                return found
        return place.rerun()

    often = ", twice" if twice else ""
    return Case(f"{number.name} at a random moment{often}", "any", scenario, f"after {delay_s:.2f} s", do)


# ---- results damaged behind the program's back


RECORDS: dict[str, Callable[[str], str]] = {
    "half of it": lambda text: text[: len(text) // 2],
    "empty": lambda _: "",
    "a list": lambda _: "[]",
    "no outputs": lambda text: json.dumps({k: v for k, v in json.loads(text).items() if k != "outputs"}),
    "outputs of an earlier version": lambda text: json.dumps({**json.loads(text), "outputs": list(json.loads(text)["outputs"])}),
    "wrong types": lambda text: json.dumps({**json.loads(text), "choices": 3, "inputs": None}),
    "of other scans": lambda text: json.dumps({**json.loads(text), "inputs": "0" * 64}),
}


def _damages(rng: random.Random, fresh: Baseline) -> Iterator[Case]:
    outputs = sorted(name for name in fresh.expected if name.startswith("sub-"))
    images = [name for name in outputs if name.endswith(".nii.gz")]
    ids = [name for name in images if "desc-lesions" in name]
    texts = [name for name in outputs if not name.endswith(".nii.gz")]
    while True:
        for how in ("truncated", "emptied", "one byte, same size and time", "deleted", "record"):
            name = rng.choice(rng.choice([images, texts, ids]))
            yield _damage(how, name, rng.random(), rng.choice(sorted(RECORDS)))


def _damage(how: str, name: str, where: float, record: str) -> Case:
    def do(place: Place) -> Finding:
        if place.run() != 0:
            return Finding(Verdict.LOST, "the run without a fault failed")
        path = place.out / name
        if how == "record":
            file = place.out / "logs" / "complete" / "sub-01.json"
            file.write_text(RECORDS[record](file.read_text()))
        elif how == "deleted":
            path.unlink()
        else:
            _spoil(path, how, where)
        return place.rerun()

    return Case(f"result {how}" if how != "record" else f"record: {record}", "record" if how == "record" else "output", "fresh", name, do)


def _spoil(path: Path, how: str, where: float) -> None:
    status, content = path.stat(), bytearray(path.read_bytes())
    if how == "truncated":
        content = content[: int(len(content) * where)]
    elif how == "emptied":
        content = bytearray()
    else:
        content[int((len(content) - 1) * where)] ^= 0x40
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


# ---- what an earlier run left


def _stale(rng: random.Random, baselines: dict[str, Baseline]) -> Iterator[Case]:
    names = sorted(baselines["fresh"].expected)
    while True:
        for how in STALE:
            without = set() if how == "temporary files" else {"group"}  # which takes no lock of a participant
            scenarios = sorted(set(baselines) - without)
            yield _stale_case(how, rng.choice(scenarios), rng.sample(names, 3))


def _stale_case(how: str, scenario: str, names: list[str]) -> Case:
    def do(place: Place) -> Finding:
        STALE[how](place, names)
        return place.rerun()

    return Case(f"stale {how}", "any", scenario, ", ".join(names), do)


def _stale_temporary(place: Place, names: list[str]) -> None:
    """As killed runs leave them: beside what they were about to write."""
    names = [name for name in (*names, "README.md") if name.startswith("sub-") or name in _TREE]
    names += ["logs/complete/sub-01.json", "logs/begun/sub-01/record.json"]
    if place.baseline.scenario.name == "group":
        names = ["group_lesions.html", "group_flags.tsv", "participants.json"]
    for name in names:
        path = place.out / name
        _write(path.with_name(f".tmp-0123456789ab-{path.name[-50:]}"), "half of")


_TREE = ("dataset_description.json", "README.md", ".bidsignore", "descriptions.tsv")


def _stale_lock(machine: str | None, age_s: float) -> Callable[[Place, list[str]], None]:
    def leave(place: Place, _names: list[str]) -> None:
        from bids_app import locks

        dead = subprocess.Popen(["/bin/true"])
        dead.wait()
        about = {"run": "20200101-000000_dead", "--threshold-all": "0.123"}
        for name in ("locks/sub-01", "locks/sub-02", "locks/tree", "running/20200101-000000_dead"):
            text = {"about": about, "host": "node7", "pid": dead.pid, "machine": machine or locks._machine(), "since": "x", "token": "y"}
            path = _write(place.out / "logs" / name, json.dumps(text))
            os.utime(path, (time.time() - age_s, time.time() - age_s))

    return leave


def _stale_work(place: Place, _names: list[str]) -> None:
    folder = place.work / "coactseg-20200101-000000_dead"
    _write(folder / "tmpabc" / "scan.nii.gz", "half of")
    _write(folder.with_name(f"{folder.name}.lock"), "")


def _stale_begun(place: Place, _names: list[str]) -> None:
    """A run that died while it kept the numbers of lesions aside."""
    if not (place.out / "logs" / "complete" / "sub-01.json").exists():
        _write(place.out / "logs" / "begun" / "sub-01" / ".making-.ids" / "sub-01" / "anat" / "x.nii.gz", "half of")


STALE: dict[str, Callable[[Place, list[str]], None]] = {
    "temporary files": _stale_temporary,
    "lock of a dead process": _stale_lock(None, 5.0),
    "lock of another machine": _stale_lock("another", 3600.0),
    "lock of another machine, from the future": _stale_lock("another", -86400.0),
    "work folder": _stale_work,
    "copy of ids, half made": _stale_begun,
}


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


# ---- clocks


def _clocks(rng: random.Random, baselines: dict[str, Baseline]) -> Iterator[Case]:
    while True:
        for hours in (-24.0, 24.0):
            yield _clock_of_files(hours)
            scenario = rng.choice(sorted(baselines))
            yield _clock_of_program(hours, scenario, rng.random() * baselines[scenario].seconds)


def _clock_of_files(hours: float) -> Case:
    def do(place: Place) -> Finding:
        place.run()
        time_ = time.time() + hours * 3600
        for folder in (place.out, place.raw):
            for path in folder.rglob("*"):
                os.utime(path, (time_, time_))
        marks = {path: path.stat().st_mtime_ns for path in place.out.rglob("*") if path.is_file() and "logs" not in path.parts}
        found = place.rerun()
        if found is OK and any(path.stat().st_mtime_ns != mark for path, mark in marks.items()):
            return Finding(Verdict.WRONG, "what was complete was made again because times had changed")
        return found

    return Case("clock: times of files", "any", "fresh", f"{hours:+.0f} h", do)


def _clock_of_program(hours: float, scenario: str, delay_s: float) -> Case:
    def do(place: Place) -> Finding:
        pid = place.start(before=lambda: _shift_clock(hours))
        time.sleep(delay_s)
        os.kill(pid, signal.SIGKILL)
        child.ended(pid)
        found = place.right_after()
        return place.rerun() if found is OK else found

    return Case("clock: jumps back" if hours > 0 else "clock: jumps ahead", "any", scenario, f"{hours:+.0f} h, killed, then right", do)


def _shift_clock(hours: float) -> None:
    from bids_app import locks
    from coactseg_cli import completion, logs

    class Shifted(datetime):
        @classmethod
        def now(cls, tz=None):  # type: ignore[no-untyped-def]
            return datetime.now(tz or UTC) + timedelta(hours=hours)

    for module in (locks, completion, logs):
        module.datetime = Shifted
    right = time.time
    time.time = lambda: right() + hours * 3600


# ---- two at once


def _at_once(rng: random.Random, baselines: dict[str, Baseline]) -> Iterator[Case]:
    many = [name for name in ("fresh", "changed", "reread", "force") if name in baselines]
    while True:
        for how in ("same", "same, one killed", "different", "other choices", "same again"):
            scenario = "fresh" if how in {"different", "other choices"} else rng.choice(many)
            yield _two(how, scenario, rng.random() * 0.5, rng.random() * baselines[scenario].seconds)


def _two(how: str, scenario: str, apart_s: float, kill_s: float) -> Case:
    def do(place: Place) -> Finding:
        words = [place.words, place.words]
        if how == "different":
            words = [[*place.words, "--participant-label", label] for label in ("01", "02")]
        if how == "other choices":
            words[1] = [*place.words, "--min-lesion-mm3", "61"]
        first = place.start(words[0])
        time.sleep(apart_s)
        second = place.start(words[1])
        if how.endswith("killed"):
            time.sleep(kill_s)
            os.kill(first, signal.SIGKILL)
        codes = [child.ended(first), child.ended(second)]
        if how == "other choices":
            return _winner(place, words, codes)
        if codes[1] != 0 or (codes[0] != 0 and not how.endswith("killed")):
            return Finding(Verdict.LOST, f"exit codes {codes}: {place.said.read_text()[-300:]}")
        found = OK if how.endswith("killed") else after_rerun(place.out, place.baseline.expected, 0, place.said)
        return place.rerun() if found is OK else found

    return Case(f"two at once: {how}", "any", scenario, f"{apart_s:.2f} s apart", do)


def _winner(place: Place, words: list[list[str]], codes: list[int]) -> Finding:
    """One makes OUT, the other is refused."""
    if sorted(codes) != [0, 2]:
        return Finding(Verdict.WRONG, f"expected one to be refused; exit codes {codes}")
    winner = codes.index(0)
    expected = place.baseline.expected if winner == 0 else OTHER[0].expected
    return place.rerun(words[winner], expected)


OTHER: list[Baseline] = []  # of the scenario 'other', which a second run with other choices makes


# ---- disks


def can_mount(folder: Path) -> bool:
    """Whether a small disk can be mounted here."""
    place = folder / "can-mount"
    place.mkdir(parents=True, exist_ok=True)
    ok = os.geteuid() == 0 and _mount("-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place))
    if ok:
        subprocess.run(["umount", str(place)], check=False)
    place.rmdir()
    return ok


def _mount(*words: str) -> bool:
    return subprocess.run(["mount", *words], check=False, capture_output=True).returncode == 0


def _disks(rng: random.Random, fresh: Baseline) -> Iterator[Case]:
    needed_kb = sum(4 * (len(content) // 4096 + 1) for content in fresh.expected.values())
    while True:
        yield _full(int(needed_kb * rng.uniform(0.05, 0.98)))
        yield _full(int(needed_kb * rng.uniform(0.05, 0.98)))
        yield _read_only(rng.random() * fresh.seconds)


def _full(size_kb: int) -> Case:
    return Case("disk full (real)", "any", "fresh", f"{size_kb} kB", lambda place: _on_disk(place, size_kb, None))


def _read_only(delay_s: float) -> Case:
    return Case("disk becomes read-only (real)", "any", "fresh", f"after {delay_s:.2f} s", lambda place: _on_disk(place, 100_000, delay_s))


def _on_disk(place: Place, size_kb: int, read_only_after_s: float | None) -> Finding:
    place.out.mkdir()
    if not _mount("-t", "tmpfs", "-o", f"size={max(size_kb, 64)}k", "tmpfs", str(place.out)):
        return Finding(Verdict.WRONG, "the disk could not be mounted")
    try:
        pid = place.start()
        if read_only_after_s is not None:
            time.sleep(read_only_after_s)
            subprocess.run(["mount", "-o", "remount,ro", str(place.out)], check=False, capture_output=True)
        code = child.ended(pid)
        if code == 0 and read_only_after_s is None:
            return Finding(Verdict.WRONG, "exit code 0 on a full disk")
        subprocess.run(["mount", "-o", "remount,rw,size=200m", str(place.out)], check=False)
        found = place.right_after()
        return place.rerun() if found is OK else found
    finally:
        subprocess.run(["umount", str(place.out)], check=False)


# ---- processes of a pool


def _workers(rng: random.Random) -> Iterator[Case]:
    while True:
        yield _worker(rng.uniform(2, 20))


def _worker(delay_s: float) -> Case:
    def do(place: Place) -> Finding:
        """The page is the real one in other processes: pages are left out of the comparison."""
        words = (
            [*place.words[:-2], "--nprocs", "2", "--omp-nthreads", "1"]
            if place.words[-2] == "--nprocs"
            else [*place.words, "--nprocs", "2"]
        )
        pid = place.start(words, before=lambda: threading.Thread(target=_kill_a_child, args=(delay_s,), daemon=True).start())
        child.ended(pid)
        for page in place.out.glob("sub-*.html"):
            page.unlink()  # they are real ones; without them nobody is complete, and all is compared that is made again
        return place.rerun()

    return Case("worker killed", "any", "fresh", f"after {delay_s:.1f} s", do)


def _kill_a_child(delay_s: float) -> None:
    time.sleep(delay_s)
    workers = [pid for child in _children(os.getpid()) for pid in _children(child)]  # forked by a process that is itself a child
    if workers:
        os.kill(workers[0], signal.SIGKILL)


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []
