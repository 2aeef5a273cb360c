"""What a result depends on, and what differs between two results, in words.

A result may be used again only where all that decides its bytes is the same: the contents of the
images, every file that a loader opened, the options that change values, and the version of the
format. What decides no bytes stays out: the version of the package, the places of files whose
hashes are known, the number of workers.
"""

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from unseen.core.files import canonical_json
from unseen.core.records import build
from unseen.core.wording import cut

_SHA256 = re.compile(r"[0-9a-f]{64}")
_HASHED = ("weights", "files")  # keys whose value is a mapping from a file's name to its hash
_LEFT_OUT = ("package_version",)  # keys of a provenance that decide nothing
_TOLD = 3  # differences that a message names
_HASH_SHOWN = 12  # characters of a hash in a message


@dataclasses.dataclass(frozen=True, kw_only=True)
class Identity:
    """All that decides the bytes of a result. Two results are the same where these are equal.

    Made by `identify`; written by `to_json` and read by `Identity.from_json`.
    """

    kind: str  # of the result, e.g. "areas"
    version: int  # of its format
    images: Mapping[str, str | None]  # set of images, e.g. "images" → its fingerprint
    files: Mapping[str, str]  # file that a loader opened, e.g. "segmenter weights/a.onnx" → SHA-256
    options: Mapping[str, Any]  # name → JSON value, e.g. "seed", "segmenter precision"
    # Images a call, where the last bits of the arithmetic may depend on it. A run is finished with
    # the size that it began with, and the size makes no other run of it.
    batch_size: int | None = dataclasses.field(default=None, compare=False)

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        value: dict[str, Any] = json.loads(canonical_json(dataclasses.asdict(self)))
        return value

    @classmethod
    def from_json(cls, value: Any, origin: str) -> "Identity":
        """What `to_json` gave.

        Args:
            value: what json.loads returned.
            origin: how messages call it.

        Raises:
            RecordError: it is no identity.
        """
        return build(cls, value, f"{origin} does not say what it is of")

    def difference(self, here: "Identity") -> str | None:
        """What differs between this result, which is there, and another; None where nothing does.

        Returns:
            Names and both values, e.g. "seed is 0 there, 1 here; and 2 more".
        """
        return difference(_flat(self), _flat(here))


def identify(
    kind: str,
    version: int,
    *,
    images: Mapping[str, str | None] | None = None,
    parts: Mapping[str, Mapping[str, Any] | None] | None = None,
    options: Mapping[str, Any] | None = None,
    batch_size: int | None = None,
) -> Identity:
    """The identity of a result.

    Args:
        kind: of the result.
        version: of its format.
        images: fingerprints of the sets of images, by what they are called in messages.
        parts: what networks say of themselves (`segmenter.provenance`, `generator.provenance`), by
            what they are called in messages. Hashes become `files`, all else `options`; the place
            of weights is left out where their hash is known.
        options: those that change values; mappings in them are flattened.
        batch_size: images a call, where the arithmetic may depend on it.

    Example:
        >>> def of(seed, sha256):
        ...     network = {"spec": "onnx:net", "weights": {"model.onnx": sha256}}
        ...     return identify("areas", 1, parts={"segmenter": network}, options={"seed": seed})
        >>> of(0, "ab12").difference(of(0, "ab12"))
        >>> of(0, "ab12").difference(of(1, "ff00"))
        'segmenter weights/model.onnx is ab12 there, ff00 here; seed is 0 there, 1 here'
    """
    files: dict[str, str] = {}
    values: dict[str, Any] = {}
    for part, provenance in (parts or {}).items():
        for name, value, is_file in _leaves(part, _placeless(dict(provenance or {}))):
            (files if is_file else values)[name] = value
    for name, value, is_file in _leaves("", dict(options or {})):
        (files if is_file else values)[name] = value
    return Identity(
        kind=kind,
        version=version,
        images=dict(images or {}),
        files=files,
        options=json.loads(canonical_json(values)),
        batch_size=batch_size,
    )


def part_difference(there: Mapping[str, Any], here: Mapping[str, Any], name: str) -> str | None:
    """What differs between what two networks say of themselves, in words; None: nothing.

    Args:
        there: one's provenance.
        here: the other's.
        name: what messages call them, e.g. "segmenter".
    """
    return identify("", 0, parts={name: there}).difference(identify("", 0, parts={name: here}))


def difference(there: Mapping[str, Any], here: Mapping[str, Any]) -> str | None:
    """What differs between two JSON objects, in words; None: nothing.

    >>> difference({"seed": 0, "drawn": {"psi": 1}}, {"seed": 0, "drawn": {"psi": 0.5}})
    'psi is 1 there, 0.5 here'
    """
    told = [
        f"{name} is {_short(value)} there, {_short(wanted)} here"
        for name, value, wanted in _differences(there, here)
    ]
    if not told:
        return None
    more = [f"and {len(told) - _TOLD} more"] if len(told) > _TOLD else []
    return "; ".join([*told[:_TOLD], *more])


def _differences(there: Any, here: Any, where: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Every name under which two JSON values differ, with both values."""
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        for key in dict.fromkeys([*there, *here]):
            yield from _differences(there.get(key), here.get(key), key)
    elif there != here:
        yield where, there, here


def _short(value: Any) -> str:
    """A JSON value as messages show it: hashes and long texts cut."""
    text = value if isinstance(value, str) else canonical_json(value)
    if _SHA256.fullmatch(text):
        return text[:_HASH_SHOWN] + "…"
    return cut(text, 60)


def _flat(identity: Identity) -> dict[str, Any]:
    return {
        "kind": identity.kind,
        "format version": identity.version,
        **identity.files,
        **identity.options,
        **{f"fingerprint of {name}": value for name, value in identity.images.items()},
    }


def _placeless(provenance: dict[str, Any]) -> dict[str, Any]:
    """Without the places of weights that are known by their hashes, at any depth.

    Of the spec remain the name of the plug-in and the options. `python:MODULE:FACTORY` remains
    whole: the function decides.
    """
    kept = {
        key: _placeless(dict(value)) if isinstance(value, Mapping) else value
        for key, value in provenance.items()
        if key not in _LEFT_OUT
    }
    spec = kept.get("spec")
    if isinstance(spec, str) and (kept.get("weights") or kept.get("weights_sha256")):
        place, mark, options = spec.partition("?")
        if not spec.startswith("python:"):
            kept["spec"] = place.partition(":")[0] + mark + options
    return kept


def _leaves(
    where: str, value: Mapping[str, Any], holder: str | None = None
) -> Iterator[tuple[str, Any, bool]]:
    """Name, value, and whether it is a file's hash, of everything in nested mappings.

    Args:
        where: the names of the mappings around this one.
        value: the mapping.
        holder: the key of a mapping around it that holds hashes of files.
    """
    for key, entry in value.items():
        inside = holder or (key if key in _HASHED or key.endswith("sha256") else None)
        name = f"{where}/{key}" if holder else f"{where} {key}".strip()
        if isinstance(entry, Mapping) and entry:
            yield from _leaves(name, entry, inside)
        else:
            is_text = isinstance(entry, str)
            yield name, entry, is_text and bool(inside or _SHA256.fullmatch(entry))
