"""A generator that somebody else trained, inverted on photographs that nobody made for it."""

import dataclasses
import importlib.util
from pathlib import Path

import pytest

from unseen.generators import load_generator
from unseen.inversion.invert import InversionRun, invert
from unseen.inversion.inverter_training import InverterTraining, train_inverter
from unseen.inversion.methods import Inversion
from unseen.inversion.optimise import Adam
from unseen.inversion.recipes import preset


@pytest.mark.real
def test_a_dcgan_from_the_package_index_is_inverted_on_photographs_of_faces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(
        "gan_face_generate", reason="pip install --no-deps gan-face-generate==1.1.1"
    )
    if importlib.util.find_spec("skimage") is None:
        pytest.skip("pip install --no-deps scikit-image==0.26.0")
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "docs" / "examples"))
    generator = load_generator("python:faces:make")
    recipe = dataclasses.replace(preset("default"), batch_size=16).scaled(0.003)
    training = InverterTraining(folder=tmp_path / "inverter", recipe=recipe, held_out=16)
    inverter = train_inverter(generator, task=training)
    told: list[str] = []
    record = invert(
        "python:faces:photographs",
        generator,
        inverter,
        out=tmp_path / "faces",
        task=InversionRun(
            methods=("d", "f"),
            settings=Inversion(
                perceptual="none",
                optimiser=Adam(steps=60, learning_rate=0.03, momentum=0.97, falling=True),
            ),
            count=2,
            controls=2,
        ),
        say=told.append,
    )
    assert "is 25×25; images of other sizes are resized to 64×64" in told[0]
    assert not record.failures
    found = {
        role: [one.reconstructions for one in record.images if one.role == role]
        for role in ("photograph", "control")
    }
    for reconstructions in found.values():
        assert len(reconstructions) == 2
        for by in reconstructions:
            # The searched set begins at E(x): what is found is nearer than what it began with.
            assert by["f"].terms["pixel"] < 0.8 * by["d"].terms["pixel"]
            assert by["f"].correlation is not None
            assert by["f"].correlation > 0.8
