"""The columns of the cohort's tables, and the words that some of them are made of. Reads nothing."""

from __future__ import annotations

from enum import StrEnum

from bids_app.tables import Column

Cells = dict[str, str]  # a row as it stands in a TSV: column to text
NA = "n/a"


class RowType(StrEnum):
    """What a row of group_lesions.tsv is about."""

    VISIT = "visit"
    PAIR = "pair"
    PARTICIPANT = "participant"


class Status(StrEnum):
    """What became of a participant."""

    DONE = "done"
    FAILED = "failed"
    INCOMPLETE = "incomplete"
    UNREADABLE = "unreadable"
    NOT_STARTED = "not_started"


ROW_TYPES = {
    RowType.VISIT.value: "One visit",
    RowType.PAIR.value: "One comparison of two visits; session_id is the follow-up",
    RowType.PARTICIPANT.value: "A participant without results; status and reason say why",
}
STATUSES = {
    Status.DONE.value: "Segmented; the row has the results",
    Status.FAILED.value: "The last run failed for this participant; what an earlier run left is not used",
    Status.INCOMPLETE.value: "Begun and not finished: the run was killed, or is still going on",
    Status.UNREADABLE.value: "A table or sidecar of the participant is broken",
    Status.NOT_STARTED.value: "In the raw data set, and not segmented in any of the folders",
}
MM3, PER_YEAR, PERCENT, DAYS = "mm^3", "mm^3/a", "%", "d"

IDENTITY = {
    "participant_id": Column("Participant"),
    "output": Column("Output folder that the row comes from, as seen from the folder of this table"),
    "row_type": Column("What the row is about", levels=ROW_TYPES),
    "status": Column("What became of the participant", levels=STATUSES),
    "reason": Column("Why there are no results"),
    "session_id": Column("Session; of a pair the follow-up; n/a in a data set without sessions"),
    "visit_number": Column("Place of the visit in time, from 1; of a pair that of the follow-up"),
    "acq_time": Column("Acquisition time of the visit, of a pair of the follow-up, where the raw data set gives it"),
    "days": Column("Days since the participant's first visit", DAYS),
}
VISIT = {
    "all_lesions": Column("Number of lesions of the visit"),
    "all_volume_mm3": Column("Volume of all lesions of the visit (lesion load)", MM3),
    "lesion_load_percent": Column("Volume of all lesions as a share of the volume of the brain mask", PERCENT),
    "nullpair_lesions": Column("Lesions that the network calls new where the visit is compared with itself: the false-positive floor"),
    "nullpair_volume_mm3": Column("Volume of those lesions", MM3),
}
PAIR = {
    "baseline_session_id": Column("The visit that the follow-up is compared with"),
    "days_between": Column("Days from the baseline to the follow-up", DAYS),
    "consecutive": Column("1 where no visit lies between the two, 0 where one does"),
    "new_lesions": Column("Number of lesions that are new at the follow-up"),
    "new_volume_mm3": Column("Volume of the lesions that are new at the follow-up", MM3),
    "resolved_lesions": Column("Number of lesions of the baseline that are gone at the follow-up"),
    "resolved_volume_mm3": Column("Volume of the lesions that are gone at the follow-up", MM3),
    "enlarging_lesions": Column("Number of lesions that grew by more than the measurement noise"),
    "shrinking_lesions": Column("Number of lesions that shrank by more than the measurement noise"),
    "stable_lesions": Column("Number of lesions that did not change by more than the measurement noise"),
    "merged_lesions": Column("Number of lesions that became part of another"),
    "split_lesions": Column("Number of lesions that were part of another at the baseline"),
    "enlarging_change_mm3": Column("Change of volume of the enlarging lesions together, common grid", MM3),
    "shrinking_change_mm3": Column("Change of volume of the shrinking lesions together, common grid; negative", MM3),
    "volume_change_mm3": Column("Volume of all lesions at the follow-up minus that at the baseline", MM3),
    "volume_change_mm3_per_year": Column("The same per year of 365.25 days; n/a where the days are not known", PER_YEAR),
    "brain_mask_change_percent": Column("Change of the volume of the brain mask since the baseline; a check, not atrophy", PERCENT),
    "new_outside_followup_mm3": Column("Contradiction: new, but no lesion at the follow-up; common grid", MM3),
    "new_inside_baseline_mm3": Column("Contradiction: new, but a lesion at the baseline already; common grid", MM3),
    "resolved_outside_baseline_mm3": Column("Contradiction: resolved, but no lesion at the baseline; common grid", MM3),
    "resolved_inside_followup_mm3": Column("Contradiction: resolved, but a lesion at the follow-up still; common grid", MM3),
    "new_and_resolved_mm3": Column("Contradiction: new and resolved at once; common grid", MM3),
}
BOTH = {
    "brain_mask_volume_mm3": Column("Volume of the brain mask of the visit, of a pair of the follow-up; a covariate", MM3),
    "n_flags": Column("Number of quality flags of the visit, of a pair of the follow-up"),
    "flags": Column("Names of the quality flags, separated by ';'"),
    "hand_corrected": Column("1 where a mask that the row rests on was corrected by hand (--from-masks), else 0"),
    "model_name": Column("Name of the model"),
    "model_sha256": Column("SHA-256 of the model's file"),
    "coactseg_version": Column("Version of the program that made the maps"),
    "threshold_all": Column("Probability from which a voxel belongs to a lesion of the visit"),
    "threshold_new": Column("Probability from which a voxel belongs to a new lesion"),
    "threshold_resolved": Column("Probability from which a voxel belongs to a resolved lesion"),
    "min_lesion_mm3": Column("Lesions up to this size are dropped", MM3),
    "all_lesion_pass": Column("Pass of the network that the visit's map of all lesions comes from"),
    "inference": Column("How the network saw the scan"),
    "precision": Column("Number format of the network"),
    "brain_extraction": Column("Method that the brain mask of the visit comes from"),
    "normalization": Column("How intensities were normalised"),
    "intended_use": Column("What the model may be used for, and what it was trained on"),
    "report": Column("Page of the participant, as seen from the folder of this table"),
}
COLUMNS = {**IDENTITY, **{k: PAIR[k] for k in ("baseline_session_id", "days_between", "consecutive")}, **VISIT, **PAIR, **BOTH}
MADE_WITH = (  # what must not differ within a cohort, as it decides the maps
    "model_name",
    "model_sha256",
    "coactseg_version",
    "threshold_all",
    "threshold_new",
    "threshold_resolved",
    "min_lesion_mm3",
    "inference",
    "precision",
    "brain_extraction",
    "normalization",
)
WORDS = frozenset({"session_id", "acq_time", "baseline_session_id", "flags"})  # cells of sessions.tsv that are no numbers

FLAG_COLUMNS = {
    "participant_id": Column("Participant"),
    "output": IDENTITY["output"],
    "session_id": Column("Session; n/a in a data set without sessions"),
    "name": Column("Name of the quality flag"),
    "value": Column("What was measured"),
    "units": Column("Unit of value, low and high"),
    "low": Column("Lowest value that raises no flag"),
    "high": Column("Highest value that raises no flag"),
    "reason": Column("What it means and what to do"),
}
SUMMARY_COLUMNS = {
    "quantity": Column("Column of group_lesions.tsv"),
    "row_type": Column("Rows of group_lesions.tsv that are summed up; of pairs the consecutive ones", levels=ROW_TYPES),
    "n": Column("Rows with a defined value"),
    "n_undefined": Column("Rows without a value"),
    "mean": Column("Mean"),
    "sd": Column("Standard deviation, ddof 1"),
    "min": Column("Smallest value"),
    "q25": Column("25th percentile, linear interpolation"),
    "median": Column("Median"),
    "q75": Column("75th percentile, linear interpolation"),
    "max": Column("Largest value"),
    "total": Column("Sum"),
    "outlier_low": Column("A smaller value is named an outlier; n/a: none is too small, or there are too few values"),
    "outlier_high": Column("A larger value is named an outlier; n/a: too few values"),
}
OUTLIER_COLUMNS = {
    "participant_id": Column("Participant"),
    "output": IDENTITY["output"],
    "session_id": IDENTITY["session_id"],
    "baseline_session_id": PAIR["baseline_session_id"],
    "quantity": Column("Column of group_lesions.tsv"),
    "value": Column("Its value"),
    "low": Column("A smaller value is an outlier; n/a: none is too small"),
    "high": Column("A larger value is an outlier"),
}
