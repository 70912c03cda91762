"""What can become of a lesion between two visits: the words, colours and signs of every page and picture. Decides no fate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

DARK_INK, LIGHT_INK = "#10161d", "#ffffff"


@dataclass(frozen=True, slots=True)
class Look:
    """How a fate is shown: colour and sign together, so that neither is needed alone."""

    word: str
    colour: str  # #rrggbb
    sign: str  # one character
    meaning: str

    @property
    def rgb(self) -> tuple[int, int, int]:
        """The colour as red, green, blue, 0 to 255."""
        return int(self.colour[1:3], 16), int(self.colour[3:5], 16), int(self.colour[5:7], 16)

    @property
    def ink(self) -> str:
        """Dark or light letters, whichever stand out more on the colour (WCAG contrast, gamma 2.2)."""
        luminance = sum(w * (c / 255.0) ** 2.2 for w, c in zip((0.2126, 0.7152, 0.0722), self.rgb, strict=True))
        return DARK_INK if (luminance + 0.05) / 0.057 > 1.05 / (luminance + 0.05) else LIGHT_INK


FATES = (  # in the order in which a reader wants them
    Look("new", "#d7263d", "+", "absent at the visit before"),
    Look("enlarging", "#f4a259", "▲", "larger by more than measurement noise"),
    Look("resolved", "#2a9d5c", "\N{MULTIPLICATION SIGN}", "present at the visit before, gone here"),
    Look("shrinking", "#3d9be9", "▼", "smaller by more than measurement noise"),
    Look("merged", "#8e5bd0", "\N{UNION}", "grown together with another lesion, whose number it has now"),
    Look("split", "#c95fa8", "÷", "parted from a lesion of the visit before"),
    Look("stable", "#9aa5b1", "=", "no change beyond measurement noise, or seen at one visit alone and not confirmed"),
    Look("baseline", "#9aa5b1", "·", "seen at the first visit, compared with nothing yet"),
)
UNCHANGED = ("stable", "baseline")
_BY_WORD = {look.word: look for look in FATES}


def look_of(word: str) -> Look:
    """How a fate is shown; a word that is no fate gets a neutral look."""
    return _BY_WORD.get(word, Look(word, "#9aa5b1", "?", ""))


def rank_of(word: str) -> int:
    """Place in the reader's order, new first; words that are no fate come last."""
    return next((i for i, look in enumerate(FATES) if look.word == word), len(FATES))


@dataclass(frozen=True, slots=True, eq=False)
class LesionMap:
    """Numbered lesions on one grid and what became of each."""

    labels: np.ndarray  # (X, Y, Z) integers, 0 is background
    fates: Mapping[int, str]  # lesion number to fate; a number that is not here is not drawn

    def of(self, *words: str) -> np.ndarray:
        """(X, Y, Z) bool: lesions of these fates."""
        return np.isin(self.labels, [i for i, fate in self.fates.items() if fate in words])

    @property
    def present(self) -> tuple[Look, ...]:
        """The fates that occur among the lesions drawn, in the reader's order."""
        found = {self.fates.get(int(i)) for i in np.unique(self.labels[self.labels > 0])}
        return tuple(look for look in FATES if look.word in found)

    @property
    def ranks(self) -> np.ndarray:
        """(X, Y, Z) uint8: 1 + the fate's place in FATES, 0 where nothing is drawn."""
        table = np.zeros(max(int(self.labels.max(initial=0)), *self.fates, 0) + 1, np.uint8)
        for number, fate in self.fates.items():
            table[number] = rank_of(fate) + 1 if fate in _BY_WORD else 0
        ranks: np.ndarray = table[self.labels]
        return ranks
