"""CoactSeg: all and new multiple sclerosis lesions on FLAIR MRI of one or more visits."""

__version__ = "0.1.0"
