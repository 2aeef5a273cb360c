import contextlib
import dataclasses
import json
import os

import hypothesis.strategies as st
import pytest
from hypothesis import given

from unseen.core.errors import RecordError
from unseen.core.records import Count, FilePath, RecordFile, Share, build, decode, field_comments


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """A part."""

    share: Share  # of the whole
    file: FilePath | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Whole(Part):
    """A whole."""

    schema_version: int = 1
    # above, over
    # two lines
    parts: tuple[Part, ...] = ()  # and behind
    seeds: Count


FILE = RecordFile(Whole, "whole", "whole.json", "unseen whole", schema_version=1)
WHOLE = {"schema_version": 1, "share": 0.5, "seeds": 3, "parts": [{"share": 1}]}


def test_a_fields_comments_are_those_above_and_behind_it():
    assert field_comments(Whole) == {
        "share": "of the whole",
        "parts": "above, over two lines and behind",
    }
    assert FILE.schema()["properties"]["parts"]["description"] == "above, over two lines and behind"


def test_a_record_is_read_and_what_is_not_known_is_left_out():
    assert FILE.parse({**WHOLE, "novelty": 1}) == Whole(
        share=0.5, seeds=3, parts=(Part(share=1.0),)
    )


@pytest.mark.parametrize(
    "path",
    [
        *("/etc/passwd", "../up.png", "a/../../b", "a/..", "./a", "a/./b", "a\nb", ""),
        *("http://host/x.png", "file:x", "//host/x", "C:\\x.png", "c:/x", "\\\\host\\share"),
        pytest.param("a" * 10_000, id="one that no file has"),
    ],
)
def test_a_path_that_may_leave_the_folder_is_refused(path):
    with pytest.raises(RecordError, match="file"):
        build(Part, {"share": 0.5, "file": path}, "no part")


@pytest.mark.parametrize("path", ["a.png", "pictures/photograph/00001.png", "a..b/c...png", ".x/y"])
def test_a_path_inside_the_folder_is_taken(path):
    assert build(Part, {"share": 0.5, "file": path}, "no part").file == path


@pytest.mark.parametrize(
    "text", ["NaN", "Infinity", "1e400", '"\\ud800"', "{", "[" * 100_000, "", "\x00"]
)
def test_text_that_is_no_json_is_refused(text):
    with pytest.raises(RecordError, match=r"here"):
        decode(text, "here", "name another")


def test_a_number_of_400_digits_does_not_fit():
    value = decode('{"share": 1' + "0" * 400 + "}", "here", "name another")
    with pytest.raises(RecordError, match="share"):
        build(Part, value, "no part")


@pytest.mark.timeout(5)
def test_a_pipe_is_no_record(tmp_path):
    os.mkfifo(tmp_path / "whole.json")
    with pytest.raises(RecordError, match=r"whole\.json"):
        FILE.read(tmp_path)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(list(WHOLE)) | st.text(), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(json_values, st.sampled_from(list(WHOLE)))
def test_whatever_a_field_holds_the_record_is_read_or_refused(value, field):
    with contextlib.suppress(RecordError):
        FILE.parse(WHOLE | {field: value})


@given(st.binary(max_size=40), st.integers(0, 60))
def test_whatever_bytes_a_file_holds_it_is_read_or_refused(spoilt, at):
    text = json.dumps(WHOLE).encode()
    with contextlib.suppress(RecordError):
        FILE.parse(decode(text[:at] + spoilt + text[at + len(spoilt) :], "here", "name another"))
