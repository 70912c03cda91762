"""Runs that are at work in one OUT at the same time: each says how it makes it, so that no two make it differently. Works on nothing.

OUT/logs/running/<run_uuid>   the lock of a run that is at work, with its choices
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bids_app.errors import MadeDifferently
from bids_app.locks import holder_of, is_free, locked


def tree_lock(out_dir: Path) -> Path:
    """The lock of whoever changes what all participants share."""
    return out_dir / "logs" / "locks" / "tree"


@contextmanager
def announced(out_dir: Path, run_id: str, choices: Mapping[str, str]) -> Iterator[None]:
    """Say within the block that a run is at work.

    Args:
        out_dir: OUT.
        run_id: of this run.
        choices: option to value (completion.choices).

    Raises: MadeDifferently where another run is at work with other values; OSErrors as they are.
    """
    folder = out_dir / "logs" / "running"
    with ExitStack() as stack:
        with locked(tree_lock(out_dir), {"run": run_id}):
            for path in sorted(folder.glob("*")):
                _require_same(path, choices)
            stack.enter_context(locked(folder / run_id, {**choices, "run": run_id}))
        try:
            yield
        finally:
            (folder / run_id).unlink(missing_ok=True)


def _require_same(path: Path, choices: Mapping[str, str]) -> None:
    """Forget a run that is dead; raises MadeDifferently for one that is alive and makes something else."""
    if is_free(path):
        path.unlink(missing_ok=True)
        return
    other = holder_of(path)
    about = {} if other is None else other.about
    differing = [f"{key} is {about[key]} there, {choices[key]} here" for key in choices if about.get(key, choices[key]) != choices[key]]
    if differing:
        msg = (
            f"{path.parents[2]} is being written by another run with other choices ({other}: {'; '.join(differing)}). "
            "Wait until it is done, or name another output folder."
        )
        raise MadeDifferently(msg)
