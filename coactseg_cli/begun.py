"""What happens to a participant's files in OUT around its work: who may touch them, what is kept aside, what is cleared away.

    OUT/logs/locks/sub-XX        the lock of whoever changes the participant's files
    OUT/logs/begun/sub-XX/.ids/  the numbered lesions as the last complete run left them, while another is at work
    OUT/logs/.ids/sub-XX/        a second copy of them: what a lesion is called follows from nothing else

Folders of copies begin with a dot, so that no tool takes them for results. Writes no product.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

from bids_app.files import remove_leftovers, require_tree_inside
from coactseg_cli.completion import Record, begun_folder, content_hash, is_as_written, path_of, read_complete, write, write_begun


def lock_path(out_dir: Path, subject: str) -> Path:
    """The lock that whoever changes files of a participant holds (bids_app.locks)."""
    return out_dir / "logs" / "locks" / f"sub-{subject}"


def begin(out_dir: Path, subject: str, record: Record | None = None) -> None:
    """The participant is no longer complete; what a killed run left half written is removed.

    The numbers of its lesions are kept aside as the last complete run left them: a run that dies may have overwritten some.

    Args:
        out_dir: OUT.
        subject: label; the caller holds its lock.
        record: what is going to be made.

    Raises: OSError; CannotCreate, also where a link in OUT would lead what is written elsewhere.
    """
    require_tree_inside(out_dir / f"sub-{subject}", out_dir)
    complete, begun = path_of(out_dir, subject), begun_folder(out_dir, subject)
    sweep(out_dir, subject)
    if complete.exists() or not (begun / ".ids").is_dir():
        _keep_ids(out_dir, subject, begun)
    if record is not None:
        write_begun(begun, record)
    complete.unlink(missing_ok=True)


def sweep(out_dir: Path, subject: str, *, complete: bool = False) -> None:
    """Remove temporary files that killed runs left, and for a complete participant what was kept aside; the caller holds the lock."""
    if complete:
        shutil.rmtree(begun_folder(out_dir, subject), ignore_errors=True)
    for folder in (out_dir / f"sub-{subject}", begun_folder(out_dir, subject)):
        for path in sorted(folder.rglob(".tmp-*")):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
    remove_leftovers(out_dir / f"sub-{subject}.html")
    remove_leftovers(path_of(out_dir, subject))


def end(out_dir: Path, record: Record) -> None:
    """The participant is complete. Raises: OSError, CannotCreate."""
    ids = {name: out_dir / name for name in record.outputs if _holds_ids(Path(name))}
    _copy_ids(ids, _kept_folder(out_dir, record.subject))
    write(out_dir, record)
    shutil.rmtree(begun_folder(out_dir, record.subject), ignore_errors=True)


def _keep_ids(out_dir: Path, subject: str, begun: Path) -> None:
    """Take the numbered lesions of the last complete run aside; where they were damaged since, from their second copy."""
    shutil.rmtree(begun, ignore_errors=True)
    record = read_complete(out_dir, subject)
    if record is None:
        present = (path for path in (out_dir / f"sub-{subject}").rglob("*") if path.is_file() and _holds_ids(path))
        found = {path.relative_to(out_dir).as_posix(): path for path in present}
    else:
        places = (out_dir, _kept_folder(out_dir, subject))
        digests = {name: digest for name, digest in record.outputs.items() if _holds_ids(Path(name))}
        sound = {name: [place / name for place in places if is_as_written(place / name, digest)] for name, digest in digests.items()}
        found = {name: paths[0] for name, paths in sound.items() if paths}
    _copy_ids(found, begun / ".ids")


def _copy_ids(files: Mapping[str, Path], folder: Path) -> None:
    """Copy files to their names below a folder, which has its own name only when it is whole."""
    making = folder.with_name(f".making-{folder.name}")
    for left in (making, folder):
        shutil.rmtree(left, ignore_errors=True)
    making.mkdir(parents=True)
    for name, path in files.items():
        place = making / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
    making.rename(folder)


def _kept_folder(out_dir: Path, subject: str) -> Path:
    return out_dir / "logs" / ".ids" / f"sub-{subject}"


def _holds_ids(path: Path) -> bool:
    return "_desc-lesions_dseg." in path.name


def ids_place(out_dir: Path, subject: str) -> Path:
    """Where the numbers of lesions lie that the run at work goes on from: laid out as OUT is; OUT itself where nothing was begun."""
    kept = begun_folder(out_dir, subject) / ".ids"
    return kept if kept.is_dir() else out_dir


def files_of(out_dir: Path, subject: str) -> set[Path]:
    """Every file of the participant, its page too, as absolute paths."""
    files = (path.absolute() for path in (out_dir / f"sub-{subject}").rglob("*") if path.is_file())
    page = (out_dir / f"sub-{subject}.html").absolute()
    return {*files, *([page] if page.is_file() else [])}


def remove_obsolete(out_dir: Path, subject: str, files: Collection[Path], *, keep_ids: bool) -> None:
    """Remove files of an earlier run that this one did not write again, and folders that become empty.

    Args:
        out_dir: OUT.
        subject: label.
        files: what is obsolete.
        keep_ids: leave the numbered lesions, for the run that will segment.
    """
    for path in files:
        if not (keep_ids and _holds_ids(path)):
            path.unlink(missing_ok=True)
    folders = [path for path in (out_dir / f"sub-{subject}").rglob("*") if path.is_dir()]
    for folder in sorted(folders, key=lambda path: -len(path.parts)):
        with suppress(OSError):  # not empty
            folder.rmdir()


def outputs(out_dir: Path, subject: str) -> dict[str, str]:
    """Every file of the participant below OUT, name to sha256."""
    return {path.relative_to(out_dir.absolute()).as_posix(): content_hash(path) for path in sorted(files_of(out_dir, subject))}
