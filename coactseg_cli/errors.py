"""What a user of the stages can mend, beside the data set errors of bids_app.errors."""

from bids_app.errors import BidsAppError


class CoactSegError(BidsAppError):
    """A problem that the user of a stage can mend."""


class GridMismatch(CoactSegError):
    """Two volumes that must share a grid do not; the message gives both shapes and affines."""


class ConflictingGeometry(CoactSegError):
    """sform and qform of a scan disagree beyond rounding: left and right are at stake."""


class ImplausibleRegistration(CoactSegError):
    """A rigid registration ended at a motion or a similarity that cannot be true."""


class BrainExtractionFailed(CoactSegError):
    """No plausible brain was found."""


class MissingWeights(CoactSegError):
    """A weights file is absent (exit code 66)."""


class WrongWeights(CoactSegError):
    """A weights file is truncated, foreign or does not fit the network; both values are named."""


class InvalidConfig(CoactSegError):
    """Flags that do not go together or are out of range (exit code 2)."""


class OutOfMemory(CoactSegError):
    """A pass needs more memory than there is or than --mem allows; the message names --tile."""


class InputChanged(CoactSegError):
    """A participant's scans, labels or masks changed while they were worked on."""


class UnknownLevel(CoactSegError):
    """An analysis level that is neither participant nor group (exit code 17)."""


class SubmissionFailed(CoactSegError):
    """SLURM did not take a job; the message says why."""


class TaskLost(CoactSegError):
    """A SLURM task ended without saying what became of its participant: killed, out of time or memory, cancelled."""


class Stopped(CoactSegError):
    """A signal stopped the work at a place from which it can go on (exit code 75)."""
