"""What the page says in words: headline, the reading in a sentence, methods to paste, references, settings. Measures nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bids_app.cases import PreparedTimeline
from bids_app.errors import InvalidDataset
from bids_app.files import read_json
from bids_app.report import Finding, Quality, format_cell
from coactseg_cli.subject_report.sources import Change, LesionMask, Tables, Visit

MEETING = {
    "unbiased": "Scans of all visits were registered rigidly to their halfway space (Reuter et al. 2012)",
    "first-lex": "Scans of all visits were registered rigidly to the first visit",
    "sessionwise": "Each visit was prepared on a grid of its own, and visits were not compared",
}
SIMPLEITK = "Lowekamp B.C., Chen D.T., Ibáñez L., Blezek D. The design of SimpleITK. Frontiers in Neuroinformatics 7 (2013), 45."
NETWORK = (
    "Wu Y., Wu Z., Shi H., Picker B., Chong W., Cai J. CoactSeg: Learning from heterogeneous data for new multiple sclerosis "
    "lesion segmentation. MICCAI 2023, LNCS 14227, 3-13."
)
REUTER = (
    "Reuter M., Schmansky N.J., Rosas H.D., Fischl B. Within-subject template estimation for unbiased longitudinal image "
    "analysis. NeuroImage 61 (2012), 1402-1418."
)
N4 = "Tustison N.J. et al. N4ITK: improved N3 bias correction. IEEE Transactions on Medical Imaging 29 (2010), 1310-1320."
HD_BET = (
    "Isensee F. et al. Automated brain extraction of multisequence MRI using artificial neural networks. "
    "Human Brain Mapping 40 (2019), 4952-4964."
)
BIDS = "Gorgolewski K.J. et al. The brain imaging data structure. Scientific Data 3 (2016), 160044."


def headline(tables: Tables, visits: Sequence[Visit], changes: Sequence[Change], quality: Quality) -> tuple[Finding, ...]:
    """What is new, enlarging, resolved; the lesion load and its change; flags: of the latest visit and its comparison."""
    last = visits[-1]
    findings: list[Finding] = []
    latest = latest_change(changes, len(visits))
    if latest is not None:
        pair, new, resolved = latest.pair, latest.new, latest.resolved
        since = f"since {visits[pair.baseline].name}"
        counts = tables.counts(last.session_id) if pair.followup - pair.baseline == 1 else {}
        findings.append(Finding("New lesions", len(new.rows), note=f"{_mm3(new.volume_mm3)} {since}"))
        if any(counts.values()):
            findings.append(
                Finding("Enlarging lesions", counts["enlarging"], note=f"{counts['shrinking']} shrinking, {counts['stable']} stable")
            )
        if resolved is not None:
            findings.append(Finding("Resolved lesions", len(resolved.rows), note=f"{_mm3(resolved.volume_mm3)} {since}"))
    findings.append(Finding("Lesion load", last.lesions.volume_mm3 / 1000.0, "ml", 2, f"{_lesions(len(last.lesions.rows))}, {last.name}"))
    if len(visits) > 1:
        before = visits[-2] if latest is None else visits[latest.pair.baseline]
        change_ml = (last.lesions.volume_mm3 - before.lesions.volume_mm3) / 1000.0
        findings.append(Finding("Change of load", signed(change_ml), "ml", note=_percent(before, last) or f"since {before.name}"))
    if quality.flags is not None:
        findings.append(Finding("Flags raised", len(quality.raised), note=f"of {len(quality.flags)} checks"))
    return tuple(findings)


def reading(tables: Tables, visits: Sequence[Visit], changes: Sequence[Change], quality: Quality) -> str:
    """The headline as one sentence, and a second one where a reader should look at flags first."""
    last = visits[-1]
    load = f"{_lesions(len(last.lesions.rows))} of {format_cell(last.lesions.volume_mm3 / 1000.0)} ml in all"
    latest = latest_change(changes, len(visits))
    if latest is None:
        sentence = f"At {last.name}: {load}."
    else:
        pair, new, resolved = latest.pair, latest.new, latest.resolved
        parts = [f"{_count(len(new.rows), 'new lesion')} ({_mm3(new.volume_mm3)})" if new.rows else "no new lesion"]
        counts = tables.counts(last.session_id) if pair.followup - pair.baseline == 1 else {}
        if any(counts.values()):
            parts.append(f"{counts['enlarging']} enlarging")
        if resolved is not None:
            parts.append(f"{len(resolved.rows)} resolved")
        before = visits[pair.baseline]
        change_ml = (last.lesions.volume_mm3 - before.lesions.volume_mm3) / 1000.0
        sentence = f"{last.name} against {before.name}: {', '.join(parts)}; {load}, {signed(change_ml)} ml."
    raised = len(quality.raised)
    return f"{sentence} {raised} {'flags ask' if raised > 1 else 'flag asks'} for a look first." if raised else sentence


def latest_change(changes: Sequence[Change], n_visits: int) -> Change | None:
    """The comparison that the headline tells: of the last visit, with the visit before if there is that one."""
    return max((c for c in changes if c.pair.followup == n_visits - 1), key=lambda c: c.pair.baseline, default=None)


def signed(value: float, digits: int = 2) -> str:
    """A change with its sign."""
    text = format_cell(value, digits)
    return text if text.startswith("\N{MINUS SIGN}") else f"+{text}"


def _percent(before: Visit, after: Visit) -> str:
    old, new = before.lesions.volume_mm3, after.lesions.volume_mm3
    return f"{signed(100.0 * (new - old) / old, 0)} % since {before.name}" if old > 0 else ""


def _lesions(n: int) -> str:
    return _count(n, "lesion")


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _mm3(volume_mm3: float) -> str:
    return f"{format_cell(volume_mm3, 0)} mm³"


def preparation_facts(prepared: PreparedTimeline) -> Mapping[str, Any]:
    """What prep recorded beside the last visit's image. Raises: NoInput, InvalidDataset."""
    path = Path(str(prepared.visits[-1].image).replace(".nii.gz", ".json"))
    facts = read_json(path)
    if not isinstance(found := facts.get("ProcessingVersions", {}), dict):
        msg = f"{path}: ProcessingVersions is {found!r}; expected names with their versions. Prepare the scan again."
        raise InvalidDataset(msg)
    return facts


def methods(prepared: PreparedTimeline, visits: Sequence[Visit], tables: Tables, latest: Change | None) -> tuple[str, ...]:
    """Paragraphs to paste into a manuscript: what was done, with which settings."""
    return (_preparation(prepared), _segmentation(visits[-1].lesions.facts, latest), *_following(tables))


def _preparation(prepared: PreparedTimeline) -> str:
    facts = preparation_facts(prepared)
    meeting = MEETING.get(str(facts.get("SubjectAnatomicalReference")), "Scans were prepared as their sidecars say")
    if facts.get("Preregistered"):
        meeting = "Scans were given on one grid and not registered"
    elif len(prepared.visits) == 1:
        meeting = "The scan was brought to the model's grid"
    brain = f"brain masks: {facts.get('BrainExtraction', 'n/a')}"
    bias = str(facts.get("BiasFieldCorrection", "n/a"))
    bias = f"bias field correction: {bias}{' (Tustison et al. 2010)' if bias == 'N4' else ''}"
    return f"{meeting}; {brain}; {bias}; intensities: {facts.get('Normalization', 'n/a')}. No scan was resampled more than once."


def _segmentation(facts: Mapping[str, Any], latest: Change | None) -> str:
    model = facts.get("Model", {})
    name = f"{model.get('Name', 'n/a')}, SHA-256 {str(model.get('SHA256', 'n/a'))[:12]}"
    passes = f"A visit's all-lesion map comes from this pass: {facts.get('Pass', 'n/a')}"
    thresholds = f"{facts.get('Threshold', 'n/a')} (all lesions)"
    if latest is not None:
        passes += "; new-lesion maps come from the pass over both visits"
        thresholds += f" and {latest.new.facts.get('Threshold', 'n/a')} (new lesions)"
        if latest.resolved is not None:
            passes += ", maps of resolved lesions from that pass with the visits exchanged"
    return (
        f"Lesions were segmented with CoactSeg {facts.get('CoactSegVersion', 'n/a')} (Wu et al. 2023; model {name}), a 3D V-Net that takes "
        f"the baseline FLAIR, the follow-up FLAIR and their difference. {passes}. Probabilities were cut at {thresholds} on the scan's own "
        f"grid; lesions of at most {facts.get('MinLesionVolume', 'n/a')} mm³ were dropped."
    )


def _following(tables: Tables) -> tuple[str, ...]:
    if not tables.lesions:
        return ()
    rules = tables.tracking_facts.get("TrackingRules")
    text = (
        "Lesions were followed over the visits by the overlap of their masks on the grid where the visits meet; a change of volume within "
        "measurement noise counts as stable."
    )
    if isinstance(rules, dict):
        said = [f"{str(name).replace('_', ' ')} {value}" for name, value in rules.items()]
        text += f" Rules: {'; '.join(said)}."
    return (text,)


def references(prepared: PreparedTimeline) -> tuple[str, ...]:
    """What to cite for what was used."""
    facts = preparation_facts(prepared)
    found = [NETWORK]
    together = len(prepared.visits) > 1 and not facts.get("Preregistered")
    if together and facts.get("SubjectAnatomicalReference") == "unbiased":
        found.append(REUTER)
    if facts.get("BiasFieldCorrection") == "N4":
        found.append(N4)
    if "hd-bet" in str(facts.get("BrainExtraction", "")).lower():
        found.append(HD_BET)
    if "SimpleITK" in facts.get("ProcessingVersions", {}):
        found.append(SIMPLEITK)
    return (*found, BIDS)


def settings(prepared: PreparedTimeline, visit: Visit, new: LesionMask | None) -> tuple[tuple[str, str], ...]:
    """What decided the maps, as recorded beside them."""
    facts, brain = visit.lesions.facts, visit.brain_facts
    model = facts.get("Model", {})
    rows = [
        ("Model", f"{model.get('Name', 'n/a')}, SHA-256 {str(model.get('SHA256', 'n/a'))[:12]}, {model.get('Source', 'n/a')}"),
        ("All-lesion map from", str(facts.get("Pass", "n/a"))),
        ("Inference", f"{facts.get('Inference', 'n/a')}, {facts.get('Precision', 'n/a')}, {facts.get('Device', 'n/a')}"),
        ("Threshold, all lesions", str(facts.get("Threshold", "n/a"))),
        *([("Threshold, new lesions", str(new.facts.get("Threshold", "n/a")))] if new is not None else []),
        ("Lesions dropped up to", f"{facts.get('MinLesionVolume', 'n/a')} mm³"),
        ("Brain extraction", f"{brain.get('BrainExtraction', 'n/a')}: {brain.get('BrainExtractionReason', 'n/a')}"),
        ("Version", str(facts.get("CoactSegVersion", "n/a"))),
    ]
    versions = preparation_facts(prepared).get("ProcessingVersions", {})
    if isinstance(versions, dict) and versions:
        rows.append(("Preparation with", ", ".join(f"{name} {text}" for name, text in versions.items())))
    if facts.get("HandCorrected"):
        rows.append(("All-lesion mask", "corrected by hand"))
    return tuple(rows)
