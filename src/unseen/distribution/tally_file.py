"""The 2019 tallies by name: `tally:church` is downloaded when it is asked for, with its labels."""

from pathlib import Path

from unseen.core.errors import RecordError
from unseen.core.registry import Spec, parse_spec
from unseen.distribution import tally as files
from unseen.distribution.areas import Areas
from unseen.weights import fetch
from unseen.weights.known import KNOWN

_PREFIX = "tally-"  # of their names among the published files
_LABELS = "upp/labels.json"


def read_tally(tally: str | Path) -> Areas:
    """Read a tally of the 2019 code: a file, or one that its authors published.

    Args:
        tally: the file; the spec `tally:FILE.npy`, see `unseen.distribution.tally.read_tally`; or
            `tally:church`, `tally:bedroom`: published, downloaded once, with its class names.

    Raises:
        RecordError: no such file or published tally, or not a tally.
        DownloadError: it cannot be fetched.
    """
    if isinstance(tally, Path) or not tally.startswith("tally:"):
        return files.read_tally(tally)
    spec = parse_spec(tally)
    name = spec.require_argument("file")
    if Path(name).exists() or name.endswith(".npy"):
        return files.read_tally(spec)
    if _PREFIX + name not in KNOWN:
        known = [each.removeprefix(_PREFIX) for each in KNOWN if each.startswith(_PREFIX)]
        raise RecordError(
            f"{tally} names neither a file nor a published tally; known: {', '.join(known)}"
        )
    options = {"labels": spec.options.get("labels") or str(fetch(_LABELS)), **spec.options}
    return files.read_tally(Spec(tally, spec.name, str(fetch(_PREFIX + name)), options))
