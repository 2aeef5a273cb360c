"""Network pickles in NVIDIA's layout, written without NVIDIA's code.

A stand-in `torch_utils.persistence` is put in place only while pickling, so that the file refers
to that name as the real ones do; it is gone when the file is read.
"""

import pickle
import sys
import types
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

Write = Callable[..., Path]


class Persistent:
    """Pickles as an instance of a persistent class does: its state, and source code with it."""

    reconstruct: Any  # `_reconstruct_persistent_obj` of the stand-in module

    def __init__(self, class_name: str, source: str, state: dict[str, Any]) -> None:
        self.meta = {
            "type": "class",
            "version": 6,
            "module_src": source,
            "class_name": class_name,
            "state": state,
        }

    def __reduce__(self) -> tuple[Any, ...]:
        return (Persistent.reconstruct, (self.meta,), None, None, None)


def module_tree(
    tensors: dict[str, torch.Tensor],
    settings: dict[str, dict[str, Any]],
    *,
    buffers: tuple[str, ...],
    source: str,
    class_name: str = "Generator",
    prefix: str = "",
) -> Persistent:
    """A tree of persistent modules that holds dotted tensors, as torch.nn.Module keeps them."""
    children = OrderedDict.fromkeys(key.split(".")[0] for key in tensors if "." in key)
    own = {key: tensor for key, tensor in tensors.items() if "." not in key}
    state: dict[str, Any] = {
        "training": False,
        "_parameters": OrderedDict(
            (key, torch.nn.Parameter(tensor, requires_grad=False))
            for key, tensor in own.items()
            if key not in buffers
        ),
        "_buffers": OrderedDict((key, own[key]) for key in own if key in buffers),
        "_non_persistent_buffers_set": set(),
        "_backward_hooks": OrderedDict(),
        "_modules": OrderedDict(),
        "_init_kwargs": {},
        **settings.get(prefix, {}),
    }
    for child in children:
        inside = {
            key.removeprefix(f"{child}."): tensor
            for key, tensor in tensors.items()
            if key.startswith(f"{child}.")
        }
        state["_modules"][child] = module_tree(
            inside,
            settings,
            buffers=buffers,
            source=source,
            class_name=f"Layer{child}",
            prefix=f"{prefix}.{child}" if prefix else child,
        )
    return Persistent(class_name, source, state)


BUFFERS = (
    "w_avg",
    "resample_filter",
    "noise_const",
    "magnitude_ema",
    "up_filter",
    "down_filter",
    "transform",
    "freqs",
    "phases",
)


@pytest.fixture
def write_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a snapshot whose G_ema holds the tensors and settings asked for."""

    def write(
        tensors: dict[str, torch.Tensor],
        settings: dict[str, dict[str, Any]] | None = None,
        *,
        source: str = "raise SystemExit",
        name: str = "network.pkl",
        protocol: int = 4,
        dump: Callable[[Any, Path], None] | None = None,
    ) -> Path:
        def reconstruct(meta: object) -> None:
            raise AssertionError("the file's own loader was called")

        reconstruct.__module__ = "torch_utils.persistence"
        reconstruct.__qualname__ = reconstruct.__name__ = "_reconstruct_persistent_obj"
        easy = type("EasyDict", (dict,), {"__module__": "dnnlib.util"})
        stand_ins = {"torch_utils": types.ModuleType("torch_utils")}
        stand_ins["torch_utils.persistence"] = types.ModuleType("torch_utils.persistence")
        stand_ins["dnnlib"] = types.ModuleType("dnnlib")
        stand_ins["dnnlib.util"] = types.ModuleType("dnnlib.util")
        vars(stand_ins["torch_utils.persistence"])["_reconstruct_persistent_obj"] = reconstruct
        vars(stand_ins["dnnlib.util"])["EasyDict"] = easy
        path = tmp_path / name
        with monkeypatch.context() as patch:
            for module, stand_in in stand_ins.items():
                patch.setitem(sys.modules, module, stand_in)
            patch.setattr(Persistent, "reconstruct", staticmethod(reconstruct), raising=False)
            network = module_tree(tensors, settings or {}, buffers=BUFFERS, source=source)
            snapshot = {
                "training_set_kwargs": easy(class_name="training.dataset.Dataset", path="x.zip"),
                "G": None,
                "G_ema": network,
                "augment_pipe": None,
            }
            if dump is None:
                path.write_bytes(pickle.dumps(snapshot, protocol=protocol))
            else:
                dump(snapshot, path)
        return path

    return write


@pytest.fixture
def write_tensorflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a tuple (G, D, Gs) of `dnnlib.tflib.network.Network`, as NVIDIA's first code did.

    Variables named `mapping/…` and `synthesis/…` go to components of those names.
    """

    def write(
        variables: dict[str, np.ndarray], settings: dict[str, Any], name: str = "tensorflow.pkl"
    ) -> Path:
        network_class = type(
            "Network",
            (),
            {"__module__": "dnnlib.tflib.network", "__getstate__": lambda self: self.kept},
        )

        def network(own: dict[str, np.ndarray], parts: dict[str, Any]) -> Any:
            made = network_class()
            made.kept = {  # type: ignore[attr-defined]
                "version": 4,
                "name": "Gs",
                "static_kwargs": settings,
                "components": parts,
                "build_module_src": "raise SystemExit",
                "build_func_name": "G_style",
                "variables": list(own.items()),
            }
            return made

        parts = {
            part: network(
                {k.split("/", 1)[1]: v for k, v in variables.items() if k.startswith(f"{part}/")},
                {},
            )
            for part in ("mapping", "synthesis")
        }
        own = {k: v for k, v in variables.items() if not k.startswith(("mapping/", "synthesis/"))}
        path = tmp_path / name
        with monkeypatch.context() as patch:
            for module in ("dnnlib", "dnnlib.tflib", "dnnlib.tflib.network"):
                patch.setitem(sys.modules, module, types.ModuleType(module))
            vars(sys.modules["dnnlib.tflib.network"])["Network"] = network_class
            path.write_bytes(pickle.dumps((None, None, network(own, parts)), protocol=4))
        return path

    return write
