"""Every quality check of a prepared participant, in one call; what each measures is in the files it names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from coactseg_cli.preprocessing.brain_checks import brain_checks, brain_ml, change_checks
from coactseg_cli.preprocessing.image_quality import contrast_checks, image_checks, scale_checks, signal_of
from coactseg_cli.preprocessing.protocol import protocol_checks
from coactseg_cli.preprocessing.quality import Check
from coactseg_cli.preprocessing.registration_checks import registration_checks
from coactseg_cli.preprocessing.seen_checks import seen_checks
from coactseg_cli.preprocessing.visit_facts import VisitFacts
from coactseg_cli.seen import ScanProfile, SeenRanges, profile_of


def participant_checks(
    visits: Sequence[VisitFacts],
    seen: SeenRanges | None,
    sidecars: Sequence[Mapping[str, Any]] = (),
    *,
    comparable: bool = True,
) -> tuple[Check, ...]:
    """Every check that can be made, passed or not; those of a visit together, visits in temporal order.

    Args:
        visits: in temporal order.
        seen: what the model saw in training; None (an older model): those checks are not made.
        sidecars: per visit the JSON of the raw scan with what it inherits; empty: no check of the protocol.
        comparable: the visits lie on one grid; else nothing is compared voxel by voxel.

    Raises: ValueError where there are sidecars, and not one per visit.
    """
    if sidecars and len(sidecars) != len(visits):
        msg = f"expected one sidecar per visit; got {len(sidecars)} for {len(visits)} visits"
        raise ValueError(msg)
    sessions = [v.session for v in visits]
    signals = [signal_of(v.native, v.native_brain) for v in visits]
    profiles = [_profile(v) for v in visits]
    checks = (
        *preparation_checks(visits, comparable=comparable),
        *(c for v, signal in zip(visits, signals, strict=True) for c in image_checks(v.native.spacing_mm, signal, v.session)),
        *scale_checks(signals, sessions),
        *contrast_checks([() if p is None else p.intensities for p in profiles], sessions),
        *protocol_checks(sidecars, sessions),
        *(c for v, p in zip(visits, profiles, strict=True) if seen and p for c in seen_checks(p, seen, v.session)),
    )
    order = {session: i for i, session in enumerate(sessions)}
    return tuple(sorted(checks, key=lambda c: order[c.session]))


def preparation_checks(visits: Sequence[VisitFacts], *, comparable: bool = True) -> tuple[Check, ...]:
    """The checks of what prep made: brain masks, and the registration where the visits are `comparable`."""
    volumes_ml = [brain_ml(v.native, v.native_brain) for v in visits]
    return (
        *(c for v in visits for c in brain_checks(v.native, v.native_brain, v.session)),
        *change_checks(volumes_ml, [v.session for v in visits]),
        *(registration_checks(visits) if comparable else ()),
    )


def _profile(visit: VisitFacts) -> ScanProfile | None:
    """None where the brain is empty or constant: there is nothing to describe."""
    values = visit.image.data[visit.brain]
    if values.size == 0 or float(values.min()) == float(values.max()):
        return None
    return profile_of(visit.native.spacing_mm, brain_ml(visit.native, visit.native_brain), visit.image, visit.brain)
