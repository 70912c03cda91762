"""What is wrong with a data set, and what to change; each class is something its user can mend."""


class BidsAppError(Exception):
    """A problem with a data set that its user can mend; the message names the file, the finding and the way out."""


class MissingScan(BidsAppError):
    """A participant or session has no FLAIR scan."""


class AmbiguousScan(BidsAppError):
    """More than one file answers a request for one scan."""


class UnreadableImage(BidsAppError):
    """An image is truncated, not three-dimensional, without a usable affine, or not finite."""


class InvalidDataset(BidsAppError):
    """The folder is not the BIDS data set that was asked for (exit code 16)."""


class NothingMatched(BidsAppError):
    """The filters left no participant (exit code 18)."""


class NoInput(BidsAppError):
    """A file or folder that was named does not exist (exit code 66)."""


class CannotCreate(BidsAppError):
    """An output folder or file cannot be made (exit code 73)."""


class MadeDifferently(BidsAppError):
    """The output folder holds results of a run whose choices differ from this one's."""
