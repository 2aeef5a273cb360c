"""The files that commands exchange, and what they hold in memory."""

from unseen.records.areas import Areas
from unseen.records.areas_file import check_comparable, concatenate, read_areas, write_areas
from unseen.records.tally import read_tally

__all__ = [
    "Areas",
    "check_comparable",
    "concatenate",
    "read_areas",
    "read_tally",
    "write_areas",
]
