"""Every example of a docstring runs, with small photographs, areas and records at hand."""

import ast
import doctest
import importlib
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.support.evidence_world import evidence_world
from tests.support.worlds import areas, run

import unseen

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
PACKAGE = Path(unseen.__path__[0])
MODULES = [
    ".".join(("unseen", *file.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
    for file in sorted(PACKAGE.rglob("*.py"))
    if ">>> " in file.read_text(encoding="utf-8")
]


@pytest.fixture(scope="module")
def namespace(tmp_path_factory):
    """What an example may use without saying where it comes from."""
    from unseen.inversion.inversions import InversionsWriter, Place, Reconstruction

    tmp_path = tmp_path_factory.mktemp("examples")
    photos = tmp_path / "photos"
    photos.mkdir()
    for i in range(8):
        pixels = np.random.default_rng(i).integers(0, 255, (16, 16, 3), np.uint8)
        Image.fromarray(pixels).save(photos / f"{i}.png")
    presence = {"sky": 0.7, "tree": 0.4, "person": 0.3, "car": 0.2}
    real = areas(200, presence, seed=0, name="photos")
    fakes = areas(200, {**presence, "person": 0.0}, seed=1, name="fakes")
    run(tmp_path / "comparison", real, [fakes])
    evidence_world(tmp_path / "evidence")
    writer = InversionsWriter(tmp_path / "inversions", provenance={}, methods=["f"])
    for role in ("photograph", "control"):
        writer.write_target(Place(role, 0), np.zeros((3, 4, 4), np.uint8))
        found = Reconstruction(
            image=None, tensors=None, loss=0.25, terms={"pixel": 0.2}, correlation=0.9, cosine=0.9,
            steps=7,
        )  # fmt: skip
        writer.write(
            Place(role, 0), "f", found, name=f"{role}.png", index=0,
            image=np.ones((3, 4, 4), np.uint8), tensors={"latents": np.zeros(5, np.float32)},
        )  # fmt: skip
    writer.finish()
    return {
        **{name: getattr(unseen, name) for name in unseen.__all__},
        "unseen": unseen,
        "np": np,
        "folder": tmp_path,
        "photos": photos,
        "real": real,
        "fakes": fakes,
        "comparison": unseen.read_comparison(tmp_path / "comparison"),
        "evidence": unseen.read_evidence(tmp_path / "evidence"),
        "inversions": unseen.read_inversions(tmp_path / "inversions"),
    }


def examples(thing, module):
    """The examples of a module, a class with its methods, or a function."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    return [test for test in finder.find(thing, module.__name__, module) if test.examples]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name, namespace):
    module = importlib.import_module(name)
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    said = []
    for test in examples(module, module):
        test.globs = {**vars(module), **namespace}
        runner.run(test, out=said.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(said)


@pytest.mark.parametrize("name", unseen.__all__)
def test_every_public_name_has_an_example(name):
    thing = getattr(unseen, name)
    if isinstance(thing, types.ModuleType):
        return
    assert examples(thing, importlib.import_module(thing.__module__)), name


@pytest.mark.parametrize("kind", ["comparison", "evidence", "inversions", "real"])
def test_a_result_shows_itself(kind, namespace):
    result = namespace[kind]
    assert len(repr(result)) < 2_000
    assert "\n" not in repr(result)
    assert result.summary()
    assert len(result.to_pandas()) > 0
    assert result.plot()._repr_png_().startswith(b"\x89PNG")
    html = result._repr_html_()
    assert "<table" in html
    assert "width:12.00em" in html if kind == "real" else "data:image/" in html  # bars, pictures
    assert "<script" not in html
    assert 'src="http' not in html


def test_type_checkers_see_the_public_names():
    tree = ast.parse(Path(unseen.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = [alias.asname for node in block.body for alias in node.names]
    assert sorted(seen) == sorted(unseen.__all__)
    assert all(hasattr(unseen, name) for name in unseen.__all__)
