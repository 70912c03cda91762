"""What changed between two visits, as a section of the page: pictures, lesions from near. Decides no fate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bids_app import figures
from bids_app.differences import difference
from bids_app.fates import LesionMap
from bids_app.report import Crop, CropGroup, PairSection, Support, format_cell
from bids_app.tables import number
from bids_app.tiles import Overlay, Picture
from coactseg_cli.components import label as label_components
from coactseg_cli.subject_report.sources import Change, Row, Tables, Visit, value
from coactseg_cli.subject_report.tables import lesions_of_map, noted
from coactseg_cli.subject_report.tracked import anchor_of, weight

MAX_NEW, MAX_OTHERS = 12, 4  # lesions that get a picture, the largest first
SHARES = {"new": "overlap_with_new", "resolved": "overlap_with_resolved"}  # fate to the column that says how far its own map shows it
Z_LIMIT = 2.5  # standard deviations of the brain's grey values that the difference image shows as brightest
LIMIT_PERCENTILE = 99.8  # of the difference, where grey values are not normalised so


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Two visits, their maps, and their lesions with what became of them."""

    baseline: Visit
    followup: Visit
    change: Change
    lesions: LesionMap | None  # lesions of either visit by their lasting numbers; None: not followed
    window: tuple[float, float]

    @property
    def before(self) -> np.ndarray:
        """Every lesion of the baseline, bool."""
        mask, resolved = self.baseline.lesions.mask, self.change.resolved
        both: np.ndarray = mask if resolved is None else mask | resolved.mask
        return both

    @property
    def after(self) -> np.ndarray:
        """Every lesion of the follow-up, bool."""
        both: np.ndarray = self.followup.lesions.mask | self.change.new.mask
        return both

    @property
    def shown(self) -> tuple[np.ndarray, np.ndarray]:
        """Both images with black around the brain; normalised, its surroundings would be grey."""
        a, b = (np.where(v.brain, v.image.data, self.window[0]) for v in (self.baseline, self.followup))
        return a, b

    @property
    def brain(self) -> np.ndarray:
        """Brain of either visit, bool."""
        both: np.ndarray = self.baseline.brain | self.followup.brain
        return both


def compare(visits: Sequence[Visit], change: Change, lesions: LesionMap | None, tables: Tables, window: tuple[float, float]) -> Comparison:
    """Put together what a section needs.

    Args:
        visits: of the participant.
        change: the maps of the pair.
        lesions: every lesion ever seen, on the reference grid; None: not followed.
        tables: of the participant.
        window: grey values shown as black and white.
    """
    baseline, followup = visits[change.pair.baseline], visits[change.pair.followup]
    made = Comparison(baseline, followup, change, None, window)
    if lesions is None or not change.followed:
        return made
    fates = {int(number(r["lesion_id"])): r["fate"] for r in tables.at(followup.session_id)}
    gone = np.isin(lesions.labels, [i for i, fate in fates.items() if fate == "resolved"])
    here = LesionMap(np.where(made.after | (gone & made.before), lesions.labels, 0), fates)
    return Comparison(baseline, followup, change, here, window)


def pair_section(one: Comparison, tables: Tables, crops: tuple[CropGroup, ...], *, zscored: bool) -> PairSection:
    """Everything the page says of two visits."""
    new, resolved = one.change.new, one.change.resolved
    counts = tables.counts(one.followup.session_id) if one.lesions is not None else {}
    counts.pop("baseline", None)
    image, spacing = one.followup.image.data, one.followup.image.spacing_mm
    mosaic = figures.mosaic(
        image, spacing, one.window, _overlays(one), brain=one.brain, origin_mm=one.followup.origin_mm, guide=_guide(one)
    )
    return PairSection(
        baseline=one.baseline.name,
        followup=one.followup.name,
        n_new=len(new.rows),
        volume_new_mm3=new.volume_mm3,
        n_resolved=None if resolved is None else len(resolved.rows),
        volume_resolved_mm3=None if resolved is None else resolved.volume_mm3,
        fates=tuple(counts.items()) if any(counts.values()) else (),
        support=_support(one, tables),
        lesions=noted(mosaic),
        difference=_difference(one, zscored=zscored),
        flicker=figures.flicker(*one.shown, spacing, one.window, brain=one.brain),
        crops=crops,
        table=lesions_of_map(new.rows, f"New lesions, {one.followup.name} since {one.baseline.name}"),
    )


def _support(one: Comparison, tables: Tables) -> tuple[Support, ...]:
    """How many of the lesions followed that are new or resolved lie in the map of that name too; none where that is not known."""
    found = []
    for fate, column in SHARES.items():
        shares = [value(r, column) for r in tables.at(one.followup.session_id, fate)] if one.lesions is not None else []
        if shares and np.isfinite(shares).all():
            found.append(Support(fate, len(shares), sum(share > 0 for share in shares)))
    return tuple(found)


def _overlays(one: Comparison) -> tuple[Overlay, ...]:
    """Contours on the follow-up: by fate where lesions were followed, else all, resolved and new ones."""
    if one.lesions is None:
        gone = () if one.change.resolved is None else (figures.of_fate(one.change.resolved.mask, "resolved"),)
        return (figures.all_lesions(one.followup.lesions.mask), *gone, figures.new_lesions(one.change.new.mask))
    rest = one.after & (one.lesions.ranks == 0)
    return (*((figures.all_lesions(rest),) if rest.any() else ()), *figures.by_fate(one.lesions))


def _guide(one: Comparison) -> Overlay:
    """What the slices are chosen to cut: new lesions, else what else changed, else every lesion."""
    choices = [figures.new_lesions(one.change.new.mask if one.lesions is None else one.lesions.of("new"))]
    if one.lesions is not None:
        changed = one.lesions.of("enlarging", "shrinking", "resolved", "split")
        choices.append(Overlay(changed, figures.NEW_COLOUR, "changed lesions"))
    choices.append(figures.all_lesions(one.after))
    return next((choice for choice in choices if choice.mask.any()), choices[-1])


def _difference(one: Comparison, *, zscored: bool) -> Picture:
    a, b = one.baseline.image, one.followup.image
    both = one.baseline.brain & one.followup.brain
    limit = Z_LIMIT
    if not zscored and both.any():
        limit = float(f"{max(np.percentile(abs(b.data - a.data)[both], LIMIT_PERCENTILE), 1e-6):.2g}")
    return difference(a.data, b.data, both, a.spacing_mm, limit, _guide(one).mask, origin_mm=one.followup.origin_mm)


def crops_of(one: Comparison, tables: Tables, taken: set[str]) -> tuple[CropGroup, ...]:
    """Pictures of single lesions, the largest first, by fate.

    Args:
        one: the comparison.
        tables: of the participant.
        taken: anchors that the page has already; those given here are added.
    """
    if one.lesions is None:
        group = _crops_of_map(one)
        return (group,) if group.crops else ()
    groups = []
    shown = one.shown
    for fate in ("new", "enlarging", "resolved"):
        rows = sorted(tables.at(one.followup.session_id, fate), key=lambda r: _order(r, one, tables))
        made = [_crop(one, row, tables, shown) for row in rows[: MAX_NEW if fate == "new" else MAX_OTHERS]]
        crops = tuple(_anchored(crop, row, taken) for crop, row in zip(made, rows, strict=False) if crop is not None)
        if crops:
            groups.append(CropGroup(fate, len(rows), crops))
    return tuple(groups)


def _order(row: Row, one: Comparison, tables: Tables) -> tuple[bool, float]:
    """What the map of its own fate supports comes first, then the largest."""
    column = SHARES.get(row["fate"])
    unsupported = column is not None and not value(row, column) > 0
    return unsupported, -(_volume_before(row, one, tables) if row["fate"] == "resolved" else weight(row))


def _volume_before(row: Row, one: Comparison, tables: Tables) -> float:
    return value(tables.seen(row["lesion_id"], one.baseline.session_id), "volume_mm3")


def _anchored(crop: Crop, row: Row, taken: set[str]) -> Crop:
    anchor = anchor_of(row["lesion_id"])
    if anchor in taken:
        return crop
    taken.add(anchor)
    return Crop(crop.title, crop.picture, anchor)


def _crop(one: Comparison, row: Row, tables: Tables, shown: tuple[np.ndarray, np.ndarray]) -> Crop | None:
    """One lesion from near; None where it has no voxel of its own in the map of all lesions."""
    assert one.lesions is not None
    lesion_id, fate = int(number(row["lesion_id"])), row["fate"]
    mask = one.lesions.labels == lesion_id
    if not mask.any():
        return None
    others = [figures.all_lesions(one.before if fate == "resolved" else one.after)]
    if fate == "enlarging":
        others.append(Overlay(mask & one.before, (255, 255, 255), "the same lesion at the baseline", 1, dotted=True))
    picture = figures.triptych(
        *shown,
        figures.of_fate(mask, fate),
        others,
        centre=np.argwhere(mask).mean(axis=0),
        spacing_mm=one.followup.image.spacing_mm,
        window=one.window,
        on_baseline=fate == "resolved",
        name=f"lesion {lesion_id}, {fate}",
    )
    return Crop(_title(row, one, tables), picture)


def _title(row: Row, one: Comparison, tables: Tables) -> str:
    place = next((r["location"].replace("_", " ") for r in tables.lesions if r["index"] == row["lesion_id"]), "unclassified")
    here, before = value(row, "volume_mm3"), _volume_before(row, one, tables)
    sizes = {"enlarging": f"{format_cell(before, 0)} to {format_cell(here, 0)} mm³", "resolved": f"was {format_cell(before, 0)} mm³"}
    words = [f"Lesion {row['lesion_id']}: {row['fate']}", sizes.get(row["fate"], f"{format_cell(here, 0)} mm³")]
    if place != "unclassified":
        words.append(place)
    share = value(row, SHARES[row["fate"]]) if row["fate"] in SHARES else np.nan
    if np.isfinite(share):
        words.append(f"{format_cell(100.0 * share, 0)} % of it in the map of {row['fate']} lesions")
    return ", ".join(words)


def _crops_of_map(one: Comparison) -> CropGroup:
    """A picture per component of the new-lesion map, where lesions were not followed."""
    new, image, shown = one.change.new.mask, one.followup.image, one.shown
    labels, n = label_components(new)
    sizes = np.bincount(labels.ravel(order="K"), minlength=n + 1)[1:]
    crops = []
    for rank, i in enumerate(np.argsort(-sizes, kind="stable")[:MAX_NEW], start=1):
        picture = figures.triptych(
            *shown,
            figures.new_lesions(new),
            (figures.all_lesions(one.after),),
            centre=np.argwhere(labels == i + 1).mean(axis=0),
            spacing_mm=image.spacing_mm,
            window=one.window,
            name=f"new lesion {rank}",
        )
        volume = float(sizes[i]) * image.voxel_mm3
        crops.append(Crop(f"New lesion {rank} by size, {format_cell(volume, 0)} mm³ on the common grid", picture))
    return CropGroup("new", n, tuple(crops))
