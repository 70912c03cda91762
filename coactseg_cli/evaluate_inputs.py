"""From the configuration to what is compared: the pairs of masks of each method and rater, with maps, scans and sites. Reads no image."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bids_app.cases import LabelKind, MaskPair
from bids_app.companions import with_companions
from bids_app.errors import NothingMatched
from bids_app.lesionmasks import MaskSource, kind_of, stem
from bids_app.maskpairs import read_mask_pairs
from bids_app.pairtable import read_pair_table
from bids_app.participants import find_table, read_column
from coactseg_cli.config import EvaluateConfig
from coactseg_cli.errors import InvalidConfig
from coactseg_cli.metrics.cohort import patient_of
from coactseg_cli.metrics.results import ONLY_METHOD, REFERENCE

_Key = tuple[str, LabelKind]  # case and kind


@dataclass(frozen=True, slots=True)
class Comparison:
    """One set of masks and what it is compared with."""

    name: str  # of the method or rater
    against: str  # REFERENCE, or a rater's name
    pairs: tuple[MaskPair, ...]


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything that is compared."""

    methods: tuple[Comparison, ...]
    raters: tuple[Comparison, ...] = ()

    @property
    def n_pairs(self) -> int:
        """Pairs of masks in all."""
        return sum(len(comparison.pairs) for comparison in (*self.methods, *self.raters))


def read_inputs(config: EvaluateConfig) -> Inputs:
    """Find everything that is compared.

    Raises: InvalidConfig; NoInput, InvalidDataset, AmbiguousScan; NothingMatched where no prediction of a method has a reference.
    """
    methods = [
        Comparison(name, REFERENCE, pairs) for source, path in _places(config).items() for name, pairs in _pairs_at(config, source, path)
    ]
    for name, group in itertools.groupby(sorted(method.name for method in methods)):
        if len(list(group)) > 1:
            msg = f"two methods are named {name!r}. Give each its own name with --method NAME=DIR."
            raise InvalidConfig(msg)
    _check_names(config, [method.name for method in methods])
    sited = _with_sites(methods, config)
    for method in sited:
        _require_a_pair(method, config)
    return Inputs(tuple(sited), tuple(_raters(config, sited)))


def _places(config: EvaluateConfig) -> dict[str, Path]:
    """Name of each method to its place. Raises: InvalidConfig where there is none."""
    places: dict[str, Path] = {}
    if config.predicted is not None and not any(_same(config.predicted, path) for path in config.methods.values()):
        name = ONLY_METHOD if not config.methods else stem(config.predicted.resolve())
        if name in config.methods:
            msg = f"--method {name}=...: {config.predicted} goes by this name. Give it another name: --method NAME={config.predicted}"
            raise InvalidConfig(msg)
        places[name] = config.predicted
    places |= config.methods
    if not places:
        msg = "there is nothing to evaluate: give PREDICTED, or '-' in its place and --method NAME=DIR"
        raise InvalidConfig(msg)
    return places


def _same(first: Path, second: Path) -> bool:
    return first.resolve() == second.resolve()


def _check_names(config: EvaluateConfig, names: Sequence[str]) -> None:
    """Raises: InvalidConfig for an option of a method that is not there, and for a rater with the name of something else."""
    for option, given in (("--predicted-pattern", config.predicted_pattern), ("--probabilities", config.probabilities)):
        if unknown := [name for name in given if name and name not in names and config.methods]:
            msg = f"{option} {unknown[0]}=...: there is no such method; there are {', '.join(names)}"
            raise InvalidConfig(msg)
    if doubled := [name for name in config.raters if name in {*names, REFERENCE}]:
        msg = f"--rater {doubled[0]}=...: a method or the reference has this name. Give the rater another."
        raise InvalidConfig(msg)


def _pairs_at(config: EvaluateConfig, name: str, path: Path) -> list[tuple[str, tuple[MaskPair, ...]]]:
    """Method to its pairs: one method, or those of a table of pairs."""
    if path.suffix == ".tsv":
        if config.reference is not None and not _same(path, config.reference) and config.predicted is not None:
            msg = f"{path} is a table of pairs and names the references itself: give '-' as REFERENCE"
            raise InvalidConfig(msg)
        table = read_pair_table(path, config.kind, frozenset(config.participant_labels))
        return [(method or name, with_companions(pairs, config.background)) for method, pairs in table.items()]
    if config.reference is None:
        msg = f"'-' as REFERENCE needs a table of pairs (.tsv) as PREDICTED; got {path}"
        raise InvalidConfig(msg)
    pattern = config.predicted_pattern.get(name, config.predicted_pattern.get(""))
    source = MaskSource(path=path, pattern=pattern, filters=config.predicted_filter)
    pairs = _pairs(config, source)
    return [(name, with_companions(_with_maps(pairs, config, name), config.background))]


def _pairs(config: EvaluateConfig, source: MaskSource) -> tuple[MaskPair, ...]:
    """The masks of a place beside those of the reference. Several files are the reference's case, whatever their own names."""
    assert config.reference is not None
    pairs = read_mask_pairs(source, _reference(config, config.reference), config.kind, config.participant_labels)
    if config.reference.is_file() and (config.methods or config.raters):
        kind = config.kind or kind_of(config.reference)
        return tuple(replace(pair, case=stem(config.reference), kind=kind or pair.kind) for pair in pairs)
    return pairs


def _reference(config: EvaluateConfig, path: Path) -> MaskSource:
    return MaskSource(path=path, pattern=config.reference_pattern, filters=config.reference_filter)


def _with_maps(pairs: Iterable[MaskPair], config: EvaluateConfig, name: str) -> list[MaskPair]:
    """Give each pair its map from --probabilities, found as masks are."""
    place = config.probabilities.get(name, config.probabilities.get(""))
    if place is None or config.reference is None:
        return list(pairs)
    source = MaskSource(path=place, pattern=config.probability_pattern, suffix="probseg")
    found = read_mask_pairs(source, _reference(config, config.reference), config.kind, config.participant_labels)
    maps = {(pair.case, pair.kind): pair.predicted for pair in found if pair.predicted is not None}
    cases = list(pairs)
    if not any((pair.case, pair.kind) in maps or len(cases) == len(maps) == 1 for pair in cases):
        msg = f"--probabilities {place}: none of its {len(maps)} maps belongs to a case. Compare the names, or give --probability-pattern."
        raise NothingMatched(msg)
    only = next(iter(maps.values())) if len(cases) == len(maps) == 1 else None  # two files: whatever their names
    return [replace(pair, probability=maps.get((pair.case, pair.kind), only)) for pair in cases]


def _require_a_pair(method: Comparison, config: EvaluateConfig) -> None:
    if not any(pair.predicted and pair.reference for pair in method.pairs):
        only_predicted = sum(pair.predicted is not None for pair in method.pairs)
        only_reference = sum(pair.reference is not None for pair in method.pairs)
        place = {**config.methods}.get(method.name, config.predicted)
        msg = (
            f"no mask of {place} ({only_predicted} masks) has a counterpart in {config.reference} ({only_reference} masks), "
            f"kind {config.kind or 'all or new'}. Compare the file names, choose another --kind or --participant-label, "
            "or say where the masks lie: --predicted-pattern, --predicted-filter, --reference-pattern, --reference-filter."
        )
        raise NothingMatched(msg)


def _with_sites(methods: Sequence[Comparison], config: EvaluateConfig) -> list[Comparison]:
    """Give each case the site of its patient. Raises: NoInput, InvalidDataset."""
    if config.site_column is None:
        return list(methods)
    folders = [path for path in (config.reference, config.predicted, *config.methods.values()) if path is not None]
    places = [path if path.is_dir() else path.parent for path in folders]
    sites = read_column(config.participants or find_table(dict.fromkeys(places), config.site_column), config.site_column)
    return [replace(method, pairs=tuple(_with_site(pair, sites) for pair in method.pairs)) for method in methods]


def _with_site(pair: MaskPair, sites: Mapping[str, str]) -> MaskPair:
    patient = pair.patient or patient_of(pair.case)
    return replace(pair, site=pair.site or sites.get(f"sub-{patient.removeprefix('sub-')}"))


def _raters(config: EvaluateConfig, methods: Sequence[Comparison]) -> Iterable[Comparison]:
    """Each rater against the reference, each pair of raters, and each method against each rater; cases meet by the reference's.

    Raises: InvalidConfig without a REFERENCE; NothingMatched where a rater has no mask of any of its cases.
    """
    if config.raters and config.reference is None:
        msg = "--rater needs a REFERENCE, the consensus that the raters are compared with"
        raise InvalidConfig(msg)
    masks: dict[str, dict[_Key, MaskPair]] = {}
    for name, path in config.raters.items():
        pairs = _pairs(config, _reference(config, path))
        masks[name] = {(pair.case, pair.kind): pair for pair in pairs if pair.predicted and pair.reference}
        if not masks[name]:
            msg = f"--rater {name}={path}: none of its {len(pairs)} masks has a counterpart in {config.reference}. Compare the file names."
            raise NothingMatched(msg)
        yield Comparison(name, REFERENCE, tuple(pair for pair in pairs if pair.reference))
    for first, second in itertools.combinations(masks, 2):
        yield Comparison(first, second, _joined(masks[first].values(), masks[second]))
    for method, rater in itertools.product(methods, masks):
        yield Comparison(method.name, rater, _joined(method.pairs, masks[rater]))


def _joined(pairs: Iterable[MaskPair], others: Mapping[_Key, MaskPair]) -> tuple[MaskPair, ...]:
    """The predicted masks of both, the second as reference, of the cases that both have."""
    return tuple(
        replace(pair, reference=others[pair.case, pair.kind].predicted, probability=None)
        for pair in pairs
        if (pair.case, pair.kind) in others
    )
