"""The real cases, each scored with a model that never saw it, beside the baselines: new lesions of pairs, all lesions of single scans.

    python benchmarks/leave_one_out.py PREPARED... --out DIR --model FILE=LABEL,LABEL [--model ...]

A labelled pair: brighter change is wanted, the rest of the labelled change is ignored (it counts neither as found nor as false). The pair
backwards and each scan against itself (x, x) hold no brighter change: what is marked there is false. A file per case, as of the injection
benchmark; benchmarks/calibrate.py and benchmarks/model_card.py read both.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

if not __package__:  # started as a script
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from benchmarks.accuracy.backgrounds import require_1_mm
from benchmarks.accuracy.candidates import by_network, histogram
from benchmarks.accuracy.evaluation import all_lesions_found, components_of, infer, new_lesions_found, say
from benchmarks.accuracy.models import add_model_options, engine_of, load_unseen, parse_models
from benchmarks.accuracy.results import CaseResult, found_by, is_done, write_result
from bids_app.cases import LabelKind, PreparedTimeline
from bids_app.dataset import read_prepared
from coactseg_cli.network.fast_vnet import Head
from coactseg_cli.network.inference import Engine
from coactseg_cli.volumes import load


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_model_options(parser)
    args = parser.parse_args(words)
    for assignment in parse_models(args.model):
        model = load_unseen(assignment, trained_on_too=args.trained_on_too)
        engine = engine_of(model, args.threads)
        for timeline in timelines_of(args.prepared, assignment.subjects):
            for result in results_of(timeline, engine, args.out, assignment.name, model.sha256):
                write_result(args.out / f"{result.name}.json", result)
                say(f"{result.name}: done")


def timelines_of(roots: Sequence[Path], subjects: Sequence[str]) -> Iterator[PreparedTimeline]:
    """The prepared subjects (labels without 'sub-') that have a label. Raises: SystemExit where none of them is there."""
    every = [t for root in roots for t in read_prepared(root).timelines if t.subject in subjects]
    if not every:
        msg = f"sub-{', sub-'.join(subjects)}: in none of {', '.join(map(str, roots))}. Name subjects that were prepared there."
        raise SystemExit(msg)
    return (t for t in every if t.labels)


def results_of(timeline: PreparedTimeline, engine: Engine, out: Path, model: str, sha256: str) -> Iterator[CaseResult]:
    """The cases of one subject that are not finished yet."""
    subject = timeline.subject
    for visit in timeline.visits:
        require_1_mm(load(visit.image), visit.image)
    masks = {(found.kind, found.session): load(found.path).data > 0.5 for found in timeline.labels}
    for visit in timeline.visits:
        truth = masks.get((LabelKind.ALL, visit.session))
        name = f"all-sub-{subject}" + (f"_ses-{visit.session}" if visit.session else "")
        if truth is not None and not is_done(out / f"{name}.json", sha256):
            yield single(name, subject, (load(visit.image).data, load(visit.brain_mask).data > 0.5, truth), engine, model, sha256)
    for before, after in zip(timeline.visits, timeline.visits[1:], strict=False):
        truth = masks.get((LabelKind.NEW, after.session))
        if truth is None:
            continue
        unknown = masks.get((LabelKind.IGNORE_NEW, after.session), np.zeros_like(truth))
        images = [load(v.image).data for v in (before, after)]
        brains = [load(v.brain_mask).data > 0.5 for v in (before, after)]
        name = f"sub-{subject}_ses-{after.session}"
        if not is_done(out / f"new-{name}.json", sha256):
            yield pair(f"new-{name}", subject, images, brains, truth, unknown, engine, model, sha256)
        if not is_done(out / f"reversed-{name}.json", sha256):
            yield without_new(
                f"reversed-{name}", subject, "reversed", images[::-1], brains[0] | brains[1], truth, unknown, engine, model, sha256
            )
        for visit, image, brain in zip((before, after), images, brains, strict=True):
            same = f"same-sub-{subject}_ses-{visit.session}"
            if not is_done(out / f"{same}.json", sha256):
                nothing = np.zeros_like(truth)
                yield without_new(same, subject, "same", [image, image], brain, nothing, nothing, engine, model, sha256)


def single(
    name: str, subject: str, arrays: tuple[np.ndarray, np.ndarray, np.ndarray], engine: Engine, model: str, sha256: str
) -> CaseResult:
    """All lesions of one visit. `arrays`: image, brain and label, (X, Y, Z)."""
    image, brain, truth = arrays
    probability = engine.run(image, image, brain, [Head.ALL_FOLLOWUP])[Head.ALL_FOLLOWUP]
    found, counts = all_lesions_found(probability, truth, brain)
    return CaseResult(name, "real", model, sha256, subject, (found,), {"all": counts})


def pair(
    name: str,
    subject: str,
    images: Sequence[np.ndarray],
    brains: Sequence[np.ndarray],
    truth: np.ndarray,
    unknown: np.ndarray,
    engine: Engine,
    model: str,
    sha256: str,
) -> CaseResult:
    """Brighter change between two visits: the network and the baselines. Arrays (X, Y, Z)."""
    maps = infer(engine, images[0], images[1], (brains[0], brains[1]))
    reference, targets = components_of(truth, "new", unknown)
    brain = brains[0] | brains[1]
    found = new_lesions_found(images[0], images[1], brain, maps, reference, targets)
    counts = histogram(maps["new"], reference, brain)
    return CaseResult(name, "real", model, sha256, subject, tuple(found), {"new": counts})


def without_new(
    name: str,
    subject: str,
    kind: str,
    images: Sequence[np.ndarray],
    brain: np.ndarray,
    brighter: np.ndarray,
    unknown: np.ndarray,
    engine: Engine,
    model: str,
    sha256: str,
) -> CaseResult:
    """A pass in which every new lesion is false: the pair backwards (where `brighter` change was there before), or one scan twice."""
    probability = engine.run(images[0], images[1], brain, [Head.NEW])[Head.NEW]
    reference, targets = components_of(brighter, "stable", unknown)
    return CaseResult(name, kind, model, sha256, subject, (found_by(by_network("network", probability, brain), "new", reference, targets),))


if __name__ == "__main__":
    main()
