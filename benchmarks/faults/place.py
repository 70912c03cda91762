"""One case on the disk: a copy of the raw data and of OUT as the scenario finds it, commands run there, files compared."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.faults import child, scene
from benchmarks.faults.injection import Fault, Point, Watch, arm
from benchmarks.faults.verdict import Finding, Verdict, after_fault, after_rerun, tree_of


@dataclass(frozen=True)
class Baseline:
    """What a scenario starts from and ends with when nothing goes wrong."""

    scenario: scene.Scenario
    start: Path  # folder with raw, out and corrected, as the scenario finds them
    before: dict[str, bytes]
    expected: dict[str, bytes]
    prepared: dict[str, bytes]  # what prep alone ends with: some tables are written by prep and again by segment
    journal: tuple[Point, ...]  # calls that change the disk, in order
    seconds: float


@dataclass(frozen=True)
class Place:
    """A folder in which one case happens. All cases use the same path, one after the other: outputs name the raw data by its path."""

    root: Path
    scene: scene.Scene
    baseline: Baseline
    in_place: bool = False  # write-then-rename is taken away

    @property
    def out(self) -> Path:
        return self.root / "out"

    @property
    def raw(self) -> Path:
        return self.root / "raw"

    @property
    def work(self) -> Path:
        return self.root / "work"

    @property
    def said(self) -> Path:
        return self.root / "said.txt"

    @property
    def words(self) -> list[str]:
        return self.baseline.scenario.words(self.scene, self.out)

    def lay_out(self) -> None:
        """As the scenario finds it."""
        lay_out(self.root, self.baseline.start)

    def start(self, words: list[str] | None = None, before: Callable[[], None] | None = None, *, light: bool = True) -> int:
        """Start the command in a child. Returns: its process id."""

        def prepare() -> None:
            if light:
                child.light_pages()
            if self.in_place:
                child.write_in_place()
            if before is not None:
                before()

        return child.start(self.words if words is None else words, self.work, self.said, prepare)

    def run(self, before: Callable[[], None] | None = None) -> int:
        """Run the command. Returns: its exit code."""
        return child.ended(self.start(before=before))

    def with_fault(self, fault: Fault) -> int:
        """Run the command with a fault at one call. Returns: its exit code."""
        return self.run(lambda: arm(self.watch(fault)))

    def watch(self, fault: Fault | None = None) -> Watch:
        return Watch(self.out, self.work, self.raw, fault)

    def right_after(self) -> Finding:
        """OUT after the fault and before the rerun."""
        return after_fault(self.out, (self.baseline.before, self.baseline.expected, self.baseline.prepared))

    def rerun(self, words: list[str] | None = None, expected: dict[str, bytes] | None = None, *, light: bool = True) -> Finding:
        """Run the command again without a fault, and compare everything."""
        self.said.unlink(missing_ok=True)
        code = child.ended(self.start(words, light=light))
        found = after_rerun(self.out, self.baseline.expected if expected is None else expected, code, self.said)
        if left := list(self.work.glob("coactseg-*")):
            return Finding(Verdict.WRONG, f"{left[0].name} is left in the work folder") if not found.why else found
        return found


def lay_out(root: Path, start: Path) -> None:
    """Copy a start state; nothing of the case before stays."""
    for name in ("raw", "out", "corrected", "work"):
        shutil.rmtree(root / name, ignore_errors=True)
    (root / "said.txt").unlink(missing_ok=True)
    root.mkdir(parents=True, exist_ok=True)
    (root / "work").mkdir()
    for name in ("raw", "out", "corrected"):
        if (start / name).is_dir():
            shutil.copytree(start / name, root / name, copy_function=shutil.copy2)


def baselines(root: Path, here: scene.Scene, names: tuple[str, ...], store: Path) -> dict[str, Baseline]:
    """Every scenario undisturbed.

    Args:
        root: the path at which all cases happen.
        here: data set and network.
        names: scenarios.
        store: folder that takes the start states.
    """
    made: dict[str, Baseline] = {}
    for name in names:
        scenario = scene.SCENARIOS[name]
        start = store / name
        shutil.rmtree(start, ignore_errors=True)
        start.mkdir(parents=True)
        earlier = made.get(scenario.before[-1]) if scenario.before else None
        if earlier is None:
            shutil.copytree(here.raw, start / "raw", copy_function=shutil.copy2)
        else:
            lay_out(root, earlier.start)
            _undisturbed(root, here, earlier.scenario)
            for part in ("raw", "out"):
                shutil.copytree(root / part, start / part, copy_function=shutil.copy2)
        if scenario.change is not None:
            scenario.change(start / "raw")
        if scenario.masks:
            scene.correct_masks(start / "out", start / "corrected")
        lay_out(root, start)
        before = tree_of(root / "out")
        journal, seconds = _undisturbed(root, here, scenario)
        made[name] = Baseline(scenario, start, before, tree_of(root / "out"), {}, journal, seconds)
    prepared = made["prep"].expected if "prep" in made else {}
    return {name: replace(baseline, prepared=prepared) for name, baseline in made.items()}


def _undisturbed(root: Path, here: scene.Scene, scenario: scene.Scenario) -> tuple[tuple[Point, ...], float]:
    """Run a scenario once. Returns: its calls that change the disk, and the seconds it took. Raises: RuntimeError where it fails."""
    import json
    import os
    import time

    notes = root / "journal.json"
    notes.unlink(missing_ok=True)
    place = Place(root, here, Baseline(scenario, root, {}, {}, {}, (), 0.0))
    watch = place.watch()

    def before() -> None:
        write, leave = open, os._exit  # as they are before they are patched

        def note(code: int) -> None:
            with write(notes, "w") as file:
                json.dump([[point.kind, point.stage] for point in watch.journal], file)
            leave(code)

        arm(watch)
        os._exit = note  # type: ignore[assignment]

    begun = time.monotonic()
    code = place.run(before)
    seconds = time.monotonic() - begun
    if code != 0:
        msg = f"{scenario.name} undisturbed ended with {code}: {place.said.read_text()[-2000:]}"
        raise RuntimeError(msg)
    return tuple(Point(*pair) for pair in json.loads(notes.read_text())), seconds
