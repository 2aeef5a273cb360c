"""What is said of a device before anything is computed on it."""

import warnings

import pytest
import torch

import unseen


def test_bf16_without_instructions_for_it_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    with pytest.warns(UserWarning, match="ask for fp32"):
        unseen.load_segmenter("churchyard", device="cpu", precision="bf16")
    with pytest.warns(UserWarning, match="ask for fp32"):
        unseen.load_generator("churchyard-full", device="cpu", precision="bf16")


@pytest.mark.parametrize(("has", "precision"), [(True, "bf16"), (False, "fp32")])
def test_other_arithmetic_is_not(
    has: bool, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: has)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        unseen.load_segmenter("churchyard", device="cpu", precision=precision)
