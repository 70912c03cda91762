"""What the JSON beside each kind of output says; values only, see derivatives.Derivatives.sidecar for the writing.

The required and recommended keys are those of BIDS 1.11 (schema rules.sidecars.derivatives); with them the output passes
the validator without a warning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bids_app.tables import Column, columns_json

MASK_TYPES = ("Brain", "Lesion", "Face", "ROI")


def image_sidecar(
    *,
    description: str,
    sources: Sequence[str],
    skull_stripped: bool,
    spatial_reference: str | None = None,
    **extra: Any,
) -> dict[str, Any]:
    """For a FLAIR: a grey-value image.

    Args:
        description: what the image shows, one sentence.
        sources: BIDS URIs of the files it was made from (Derivatives.uri).
        skull_stripped: whether what is not brain was set to zero.
        spatial_reference: BIDS URI of the image whose grid it lies on; needed with space-.
        extra: further keys, in the writing of JSON ('BiasFieldCorrected').
    """
    reference = {} if spatial_reference is None else {"SpatialReference": spatial_reference}
    return _common(description, sources) | {"SkullStripped": skull_stripped} | reference | extra


def mask_sidecar(*, description: str, type_: str, sources: Sequence[str], spatial_reference: str, **extra: Any) -> dict[str, Any]:
    """For a binary mask; type_ is Brain, Lesion, Face or ROI. Raises: ValueError for another word."""
    if type_ not in MASK_TYPES:
        msg = f"the type of a mask is one of {MASK_TYPES}; got {type_!r}"
        raise ValueError(msg)
    return _common(description, sources) | {"Type": type_, "SpatialReference": spatial_reference} | extra


def probseg_sidecar(*, description: str, sources: Sequence[str], spatial_reference: str, **extra: Any) -> dict[str, Any]:
    """For a probability map, 0 to 1."""
    return _common(description, sources) | {"SpatialReference": spatial_reference} | extra


def dseg_sidecar(
    *,
    description: str,
    sources: Sequence[str],
    spatial_reference: str,
    columns: Mapping[str, Column],
    **extra: Any,
) -> dict[str, Any]:
    """For lesions numbered from 1, and for the columns of the `_dseg.tsv` beside the image (written with dictionary=False)."""
    return _common(description, sources) | {"SpatialReference": spatial_reference} | extra | columns_json(columns)


def xfm_sidecar(*, description: str, sources: Sequence[str], from_: str, to: str, **extra: Any) -> dict[str, Any]:
    """For an ITK text transform; from_ and to are BIDS URIs of images on the two grids."""
    return _common(description, sources) | {"FromFile": from_, "ToFile": to, "Units": "mm", "Format": "ITK text"} | extra


def _common(description: str, sources: Sequence[str]) -> dict[str, Any]:
    return {"Description": description, "Sources": list(sources)}
