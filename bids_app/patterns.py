"""Templates such as '{subject}/{session}/lesions.nii.gz' to files, and to what stands in the place of each name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from bids_app.errors import InvalidDataset

# {subject} also matches 'sub-01' where it stands for '01'; {case} is any text without a slash.
_NAMES = {
    "subject": (r"(?:sub-)?(?P<subject>[^/]+?)", r"(?:sub-)?(?P=subject)"),
    "session": (r"(?:ses-)?(?P<session>[^/]+?)", r"(?:ses-)?(?P=session)"),
    "case": (r"(?P<case>[^/]+?)", r"(?P=case)"),
}
_WILDCARDS = {"**/": r"((?:[^/]+/)*)", "*": r"([^/]*)", "?": r"([^/])"}
_ANY_NIFTI = ".nii*"  # at the end: with or without .gz
_TOKEN = re.compile(r"\{(\w*)\}|(\*\*/|\*|\?)")


@dataclass(frozen=True, slots=True)
class Match:
    """A file and what the template says of it; None where the template has no such name."""

    path: Path
    subject: str | None
    session: str | None
    case: str | None  # {case}; of a template without names what the wildcards stand for


def find(root: Path, template: str) -> list[Match]:
    """List the files below `root` that a template fits, sorted by path.

    Args:
        root: folder.
        template: relative path with {subject}, {session}, {case} and the wildcards *, ? and **/ ; a name may occur twice.

    Raises: InvalidDataset for a template that is absolute, leaves the folder, or has an unknown name.
    """
    expression = re.compile(_expression(template))
    wildcards = _TOKEN.sub(lambda token: token[2] or "*", template.replace("[", "[[]"))
    matches = []
    for path in sorted(root.glob(wildcards)):
        fit = expression.fullmatch(path.relative_to(root).as_posix())
        if fit is not None and path.is_file():
            names = fit.groupdict()
            free = "_".join(text.strip("/").replace("/", "_") for text in fit.groups() if text) if not names else None
            matches.append(Match(path, names.get("subject"), names.get("session"), names.get("case", free)))
    return matches


def _expression(template: str) -> str:
    """The regular expression of a template. Raises: InvalidDataset."""
    folders = template.split("/")
    if template.startswith("/") or ".." in folders or not template.strip() or any("**" in part and part != "**" for part in folders):
        msg = (
            f"the pattern {template!r} must be a path relative to its folder, such as '{{subject}}/{{session}}/lesions.nii.gz'; "
            "'**' may stand only between two slashes."
        )
        raise InvalidDataset(msg)
    parts, end, seen = [], 0, set()
    template, extension = (template[: -len(_ANY_NIFTI)], r"\.nii(?:\.gz)?") if template.endswith(_ANY_NIFTI) else (template, "")
    for token in _TOKEN.finditer(template):
        name, wildcard = token.groups()
        if wildcard is None and name not in _NAMES:
            msg = f"the pattern {template!r} has the unknown name {{{name}}}. Known: {{subject}}, {{session}}, {{case}}, and *, ?, **/."
            raise InvalidDataset(msg)
        parts.append(re.escape(template[end : token.start()]))
        parts.append(_WILDCARDS[wildcard] if wildcard else _NAMES[name][name in seen])
        seen.add(name)
        end = token.end()
    return "".join([*parts, re.escape(template[end:]), extension])
