"""What the training's page says in sentences: warnings, settings, the methods section. Only what was done is said."""

from __future__ import annotations

from dataclasses import MISSING, fields

import numpy as np

from coactseg_cli.config import TrainConfig

WU = (
    "Wu Y, Wu Z, Shi H, Picker B, Chong W, Cai J. CoactSeg: Learning from Heterogeneous Data for New Multiple Sclerosis Lesion "
    "Segmentation. MICCAI 2023, LNCS 14227, 3-13."
)
MILLETARI = (
    "Milletari F, Navab N, Ahmadi SA. V-Net: Fully Convolutional Neural Networks for Volumetric Medical Image Segmentation. 3DV 2016."
)
LESIONMIX = (
    "Basaran BD et al. LesionMix: A Lesion-Level Data Augmentation Method for Medical Image Segmentation. MICCAI 2022 workshop (DALI)."
)
CARVEMIX = "Zhang X et al. CarveMix: A Simple Data Augmentation Method for Brain Lesion Segmentation. MICCAI 2021."


def warnings(config: TrainConfig, iterations: np.ndarray, total: np.ndarray, *, validated: bool) -> list[str]:
    """What a reader must know first. `iterations`, `total`: columns of losses.tsv."""
    lines = []
    done = int(iterations[-1]) if len(iterations) else 0
    if done < config.iterations:
        lines.append(f"the training stopped after iteration {done} of {config.iterations}; go on with --resume.")
    broken = iterations[~np.isfinite(total)]
    if len(broken):
        lines.append(
            f"the loss was not finite in {len(broken)} iterations, first at {int(broken[0])}: the weights after it may be useless. "
            "Lower --learning-rate, or shorten gradients with --clip-norm."
        )
    if validated:
        lines.append(
            "the validation cases chose the checkpoint: their scores are optimistic. Measure on cases that had no part in training."
        )
    elif not (config.fold or config.validation or config.validation_prepared):
        lines.append("there were no validation cases (--fold, --validation): nothing is known of how well this model does.")
    else:
        lines.append("nothing was validated yet: nothing is known of how well this model does.")
    return lines


def settings(config: TrainConfig) -> tuple[tuple[str, str, str], ...]:
    """Name, value, and the default of --preset cpu where the value differs from it."""
    rows = []
    for item in fields(config):
        value = getattr(config, item.name)
        differs = item.default is not MISSING and value != item.default
        rows.append((item.name, plain(value), f"changed; default {plain(item.default)}" if differs else ""))
    return tuple(rows)


def plain(value: object) -> str:
    """A setting as text."""
    if isinstance(value, tuple):
        return ", ".join(map(plain, value)) or "none"
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def methods(config: TrainConfig, version: str, trained_on: str, validated_on: str, chosen: int) -> tuple[str, ...]:
    """Paragraphs to paste, the citations last."""
    shape = " x ".join(map(str, config.patch_size))
    start = config.relation_start
    relation = (
        f", and from iteration {start + 1} on the longitudinal relation loss (weight {config.relation_weight:g})"
        if config.relation_weight and start < config.iterations
        else ""
    )
    entropy = f", cross-entropy (weight {config.cross_entropy_weight:g})" if config.cross_entropy_weight else ""
    schedule = "a constant learning rate of" if config.schedule == "constant" else "warm-up and a cosine decay from a learning rate of"
    first = (
        f"A V-Net (Milletari et al. 2016) with three heads, {config.base_filters} base filters and dropout {config.dropout:g} was trained "
        f"with CoactSeg {version} (Wu et al. 2023) on {trained_on}; labels that a case lacks took no part in the loss. The network saw the "
        "baseline, the follow-up and their difference. The loss was the Dice loss of the all-lesion heads and of the new-lesion head "
        f"(weight {config.new_weight:g}){entropy}{relation}. Adam made {config.iterations} updates with {schedule} "
        f"{config.learning_rate:g}; a batch had {config.pairs_per_batch} pairs and {config.singles_per_batch} single scans, "
        f"patches of {shape} voxels (seed {config.seed})."
    )
    return (first, *_samples(config), _choice(config, validated_on, chosen), f"References: {' '.join(_citations(config))}")


def _synthetic(config: TrainConfig) -> bool:
    return config.synthetic_share > 0 and config.pairs_per_batch > 0


def _samples(config: TrainConfig) -> tuple[str, ...]:
    parts = []
    if _synthetic(config):
        parts.append(
            f"Of the pairs, {100 * config.synthetic_share:g} % were synthetic: lesions were put into, or taken out of, real scans at one "
            "visit or both, in the manner of CarveMix (Zhang et al. 2021) and LesionMix (Basaran et al. 2022)."
        )
    if config.transplant_share:
        parts.append(
            f"Into {100 * config.transplant_share:g} % of the synthetic pairs and single scans all lesions of another patient were put."
        )
    if config.augment_strength:
        parts.append(
            "The acquisition of each visit (noise, bias field, blur, contrast, shift) was varied at random; patches were flipped "
            "and rotated."
        )
    else:
        parts.append("Patches were flipped and rotated at random.")
    return (" ".join(parts),)


def _choice(config: TrainConfig, validated_on: str, chosen: int) -> str:
    weights = f"the exponential average of the weights (decay {config.ema_decay:g})" if config.ema_decay else "the weights"
    if not validated_on:
        return f"The model is {weights} at iteration {chosen}, the last; no case was held out."
    return (
        f"The model is {weights} at iteration {chosen}, chosen by the mean Dice per kind of lesion map on {validated_on}, which took no "
        "part in the updates."
    )


def _citations(config: TrainConfig) -> tuple[str, ...]:
    return (WU, MILLETARI, *((CARVEMIX, LESIONMIX) if _synthetic(config) else ()))
