"""NVIDIA's pickles give tensors and settings; what asks for more is refused and does not run."""

import builtins
import copyreg
import io
import os
import pickle
import re
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unseen.core.errors import CheckpointError
from unseen.weights import restricted_pickle
from unseen.weights.restricted_pickle import (
    SavedModule,
    SavedTensorFlowNetwork,
    read_pickle,
)

WEIGHT = torch.arange(6.0).reshape(2, 3)
TENSORS = {
    "mapping.fc0.weight": WEIGHT,
    "mapping.w_avg": torch.tensor([1.5, -2.0]),
    "synthesis.b4.const": torch.full((2, 4, 4), 0.25, dtype=torch.float16),
}


# What a sound file gives


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_network_is_read_with_each_binary_protocol_of_pickle(
    write_network: Any, protocol: int
) -> None:
    settings = {"mapping.fc0": {"bias_gain": np.float64(0.01), "in_size": np.array([4, 4])}}
    path = write_network(TENSORS, settings, protocol=protocol)
    snapshot = read_pickle(path)
    network = snapshot["G_ema"]
    assert isinstance(network, SavedModule)
    state = network.state_dict()
    assert set(state) == set(TENSORS)
    for key, tensor in TENSORS.items():
        assert state[key].dtype == tensor.dtype
        assert torch.equal(state[key], tensor)
    layer = network.children["mapping"].children["fc0"]
    assert layer.settings["bias_gain"] == 0.01
    assert layer.settings["in_size"] == [4, 4]
    assert snapshot["training_set_kwargs"]["path"] == "x.zip"


def test_the_source_code_in_the_file_is_neither_run_nor_imported(
    write_network: Any, tmp_path: Path
) -> None:
    canary = tmp_path / "ran"
    path = write_network(TENSORS, source=f"open({str(canary)!r}, 'w')")
    read_pickle(path)["G_ema"].state_dict()
    assert not canary.exists()
    assert "torch_utils" not in sys.modules
    assert "dnnlib" not in sys.modules


@pytest.mark.parametrize(
    "dtype",
    [
        torch.float64,
        torch.float16,
        torch.bfloat16,
        torch.int64,
        torch.int32,
        torch.uint8,
        torch.bool,
    ],
)
def test_every_type_of_tensor_keeps_its_values(write_network: Any, dtype: torch.dtype) -> None:
    tensor = torch.tensor([[0, 1], [1, 1]]).to(dtype)
    read = read_pickle(write_network({"noise_const": tensor}))["G_ema"].state_dict()
    assert read["noise_const"].dtype == dtype
    assert torch.equal(read["noise_const"], tensor)


def test_a_strided_view_and_an_empty_tensor_are_read_as_they_were(write_network: Any) -> None:
    base = torch.arange(12.0).reshape(3, 4)
    tensors = {"up_filter": base.T[1:], "down_filter": torch.empty(0, 3)}
    read = read_pickle(write_network(tensors))["G_ema"].state_dict()
    assert torch.equal(read["up_filter"], base.T[1:])
    assert read["up_filter"].is_contiguous()
    assert read["down_filter"].shape == (0, 3)


def test_an_object_saved_with_torch_save_is_read_too(write_network: Any) -> None:
    path = write_network(TENSORS, name="network.pt", dump=torch.save)
    assert zipfile.is_zipfile(path)
    state = read_pickle(path)["G_ema"].state_dict()
    for key, tensor in TENSORS.items():
        assert torch.equal(state[key], tensor)


def test_the_tensorflow_layout_gives_variables_and_components(write_tensorflow: Any) -> None:
    path = write_tensorflow(
        {"lod": np.float32(0), "mapping/Dense0/weight": WEIGHT.numpy()}, {"resolution": 8}
    )
    network = read_pickle(path)["G_ema"]
    assert isinstance(network, SavedTensorFlowNetwork)
    assert network.settings == {"resolution": 8}
    assert network.variables["lod"].item() == 0.0
    weight = network.components["mapping"].variables["Dense0/weight"]
    assert np.array_equal(weight, WEIGHT.numpy())


# What an attack gives: each returns the bytes of a file that would touch `canary` in pickle.load


class Reduces:
    """Pickles as whatever call it is made of."""

    def __init__(self, *parts: Any) -> None:
        self.parts = parts

    def __reduce__(self) -> tuple[Any, ...]:
        return self.parts


def touch(canary: str) -> None:
    Path(canary).touch()


class SetsState:
    """Restores itself by its own method, which touches the canary."""

    def __init__(self, canary: str) -> None:
        self.canary = canary

    def __getstate__(self) -> dict[str, str]:
        return {"canary": self.canary}

    def __setstate__(self, state: dict[str, str]) -> None:
        touch(state["canary"])


class NestedReduces:
    def __init__(self, canary: str) -> None:
        self.canary = canary

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return (os.system, (f"touch {self.canary}",))


def text(value: str) -> bytes:
    encoded = value.encode()
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def os_system_by_reduce(canary: str) -> bytes:
    return pickle.dumps({"G_ema": Reduces(os.system, (f"touch {canary}",))})


def builtins_eval(canary: str) -> bytes:
    return pickle.dumps(
        {"G_ema": Reduces(eval, (f"__import__('pathlib').Path({canary!r}).touch()",))}
    )


def builtins_exec_of_bytes(canary: str) -> bytes:
    return pickle.dumps(Reduces(exec, (f"open({canary!r}, 'w')",)), protocol=2)


def a_getattr_chain(canary: str) -> bytes:
    opened = Reduces(getattr, (Reduces(__import__, ("os",)), "system"))
    return pickle.dumps({"G_ema": Reduces(map, (opened, [f"touch {canary}"]))})


def setstate_of_an_own_class(canary: str) -> bytes:
    return pickle.dumps({"G_ema": SetsState(canary)})


def reduce_ex_in_a_nested_object(canary: str) -> bytes:
    return pickle.dumps({"G": None, "G_ema": {"state": [{"deep": (NestedReduces(canary),)}]}})


def a_payload_in_load_from_bytes(canary: str) -> bytes:
    payload = pickle.dumps(Reduces(os.system, (f"touch {canary}",)))
    call = Reduces(torch.storage._load_from_bytes, (payload,))
    return pickle.dumps({"G_ema": call})


def a_payload_behind_a_sound_storage_header(canary: str) -> bytes:
    buffer = io.BytesIO()
    torch.save(torch.zeros(2), buffer, _use_new_zipfile_serialization=False)
    header = buffer.getvalue()[: buffer.getvalue().index(b"\x80\x02}")]  # magic and protocol
    payload = header + pickle.dumps(Reduces(os.system, (f"touch {canary}",)), protocol=2)
    return pickle.dumps(Reduces(torch.storage._load_from_bytes, (payload,)))


def a_numpy_array_of_objects(canary: str) -> bytes:
    objects = np.empty(1, dtype=object)
    objects[0] = NestedReduces(canary)
    return pickle.dumps({"G_ema": objects})


def a_numpy_array_that_claims_to_hold_objects(canary: str) -> bytes:
    # Eight bytes of file taken as a pointer would be an arbitrary read.
    sound = pickle.dumps(np.array([0x4141414141414141]), protocol=2)
    return sound.replace(b"X\x02\x00\x00\x00i8", b"X\x02\x00\x00\x00O8")


def copyreg_reconstructor(canary: str) -> bytes:
    return pickle.dumps({"G_ema": Reduces(copyreg._reconstructor, (SetsState, object, None))})


def a_memo_that_swaps_the_function(canary: str) -> bytes:
    # A harmless name goes into memo 0, a harmful one takes its place, and memo 0 is called.
    return (
        b"\x80\x02ccollections\nOrderedDict\nq\x000cos\nsystem\nq\x000h\x00"
        + text(f"touch {canary}")
        + b"\x85R."
    )


def a_memo_entry_that_was_never_stored(canary: str) -> bytes:
    return b"\x80\x02h\x07" + text(f"touch {canary}") + b"\x85R."


def a_stack_global_with_dotted_names(canary: str) -> bytes:
    # Python's own unpickler follows dots from an allowed module: `collections` has `_sys`.
    return (
        b"\x80\x04" + text("collections") + text("_sys.modules.__class__") + b"\x93"
        b""
        + text("torch.storage")
        + text("os.system")
        + b"\x93"
        + text(f"touch {canary}")
        + b"\x85R."
    )


def a_stack_global_of_a_name_made_of_pieces(canary: str) -> bytes:
    return b"\x80\x04(" + text("os") + b"l" + text("system") + b"\x93."


def the_inst_opcode(canary: str) -> bytes:
    return b"(" + text(f"touch {canary}") + b"ios\nsystem\n."


def the_obj_opcode(canary: str) -> bytes:
    return b"(cos\nsystem\n" + text(f"touch {canary}") + b"o."


def the_obj_opcode_on_an_allowed_name(canary: str) -> bytes:
    return b"(ccollections\nOrderedDict\no."


def an_extension_code(canary: str) -> bytes:
    # The test registers the code, as a library that uses copyreg could have.
    return b"\x80\x02\x82\xf0" + text(canary) + b"\x85R."


def newobj_with_keywords(canary: str) -> bytes:
    return b"\x80\x04ccollections\nOrderedDict\n)}\x92."


def build_on_a_module(canary: str) -> bytes:
    # `import os` as a global's module, then its attributes set by BUILD.
    return b"\x80\x02cbuiltins\n__import__\n" + text("os") + b"\x85R}" + text("x") + b"Nsb."


def build_on_an_allowed_function(canary: str) -> bytes:
    # The second half of a state is set by setattr: it would change the defaults of our own code.
    return b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nN}" + text("__defaults__") + b")s\x86b."


def build_on_the_result_of_a_call(canary: str) -> bytes:
    return b"\x80\x02c__builtin__\nset\n)R}" + text("__class__") + b"Nsb."


def a_call_of_a_call(canary: str) -> bytes:
    return b"\x80\x02ccollections\nOrderedDict\n)R" + text(canary) + b"\x85R."


def a_persistent_identifier(canary: str) -> bytes:
    return b"\x80\x02" + text(canary) + b"Q."


def a_textual_persistent_identifier(canary: str) -> bytes:
    return b"P" + canary.encode() + b"\n."


def a_codec_that_runs_code(canary: str) -> bytes:
    return b"\x80\x02c_codecs\nencode\n" + text("x") + text("rot13") + b"\x86R."


def _storage_payload(claimed: int, data: bytes, *, stored: int | None = None) -> bytes:
    buffer = io.BytesIO()
    torch.save(
        torch.storage.TypedStorage(
            wrap_storage=torch.zeros(2).untyped_storage(), dtype=torch.float32, _internal=True
        ),
        buffer,
        _use_new_zipfile_serialization=False,
    )
    payload = buffer.getvalue()
    before = payload.replace(b"K\x02N", b"J" + struct.pack("<i", claimed) + b"N")
    assert before != payload
    return before[:-16] + struct.pack("<q", claimed if stored is None else stored) + data


def an_oversized_storage(canary: str) -> bytes:
    payload = _storage_payload(2**31 - 1, b"\0" * 8)
    return pickle.dumps(Reduces(torch.storage._load_from_bytes, (payload,)))


def a_tensor_larger_than_its_storage(canary: str) -> bytes:
    storage = Reduces(torch.storage._load_from_bytes, (_storage_payload(2, b"\0" * 8),))
    arguments = (storage, 0, (2**20, 2**20), (0, 0), False, None)
    return pickle.dumps(Reduces(torch._utils._rebuild_tensor_v2, arguments))


def a_tensor_that_reads_behind_its_storage(canary: str) -> bytes:
    storage = Reduces(torch.storage._load_from_bytes, (_storage_payload(2, b"\0" * 8),))
    return pickle.dumps(
        Reduces(torch._utils._rebuild_tensor_v2, (storage, 1, (2,), (1,), False, None))
    )


def a_tensor_with_a_negative_stride(canary: str) -> bytes:
    storage = Reduces(torch.storage._load_from_bytes, (_storage_payload(2, b"\0" * 8),))
    return pickle.dumps(
        Reduces(torch._utils._rebuild_tensor_v2, (storage, 0, (2,), (-4096,), False, None))
    )


def a_string_that_claims_an_exabyte(canary: str) -> bytes:
    return b"\x80\x04\x8e" + struct.pack("<Q", 2**60) + b"abc."


def more_opcodes_than_any_network(canary: str) -> bytes:
    return b"\x80\x04" + b"}" * 60_001 + b"."


def a_key_nested_too_deep_to_hash(canary: str) -> bytes:
    # Hashing a tuple nested a million deep ends the process; here any nesting is refused.
    return b"\x80\x04})" + b"\x85" * 50_000 + b"Ns."


ATTACKS: list[Callable[[str], bytes]] = [
    os_system_by_reduce,
    builtins_eval,
    builtins_exec_of_bytes,
    a_getattr_chain,
    setstate_of_an_own_class,
    reduce_ex_in_a_nested_object,
    a_payload_in_load_from_bytes,
    a_payload_behind_a_sound_storage_header,
    a_numpy_array_of_objects,
    a_numpy_array_that_claims_to_hold_objects,
    copyreg_reconstructor,
    a_memo_that_swaps_the_function,
    a_memo_entry_that_was_never_stored,
    a_stack_global_with_dotted_names,
    a_stack_global_of_a_name_made_of_pieces,
    the_inst_opcode,
    the_obj_opcode,
    the_obj_opcode_on_an_allowed_name,
    an_extension_code,
    newobj_with_keywords,
    build_on_a_module,
    build_on_an_allowed_function,
    build_on_the_result_of_a_call,
    a_call_of_a_call,
    a_persistent_identifier,
    a_textual_persistent_identifier,
    a_codec_that_runs_code,
    an_oversized_storage,
    a_tensor_larger_than_its_storage,
    a_tensor_that_reads_behind_its_storage,
    a_tensor_with_a_negative_stride,
    a_string_that_claims_an_exabyte,
    more_opcodes_than_any_network,
    a_key_nested_too_deep_to_hash,
]


@pytest.fixture
def nothing_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A canary's path; afterwards it must not exist, and nothing may have been imported by name."""
    canary = tmp_path / "canary"
    imported: list[str] = []
    real_import = builtins.__import__

    def watched(name: str, *rest: Any, **more: Any) -> Any:
        imported.append(name)
        return real_import(name, *rest, **more)

    copyreg.add_extension(touch.__module__, "touch", 0xF0)
    monkeypatch.setitem(vars(sys.modules[touch.__module__]), "touch", touch)
    yield canary, lambda: monkeypatch.setattr(builtins, "__import__", watched)
    copyreg.remove_extension(touch.__module__, "touch", 0xF0)
    assert not canary.exists()
    assert "os" not in imported
    assert not any(name.startswith(("torch_utils", "dnnlib")) for name in imported)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_an_attack_is_refused_and_does_not_run(
    attack: Callable[[str], bytes],
    tmp_path: Path,
    nothing_happens: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    canary, watch_imports = nothing_happens
    path = tmp_path / "attack.pkl"
    path.write_bytes(attack(str(canary)))
    # The true bound is two million, which takes half a minute to walk.
    monkeypatch.setattr(restricted_pickle, "MOST_OPCODES", 60_000)
    watch_imports()
    with pytest.raises(CheckpointError, match=re.escape(str(path))) as refusal:
        read_pickle(path)
    assert "\n" not in str(refusal.value)  # one line, which says what to do next
    assert re.search("export its state dict|download it again", str(refusal.value))


def test_the_attacks_do_run_in_pythons_own_unpickler(tmp_path: Path) -> None:
    # Otherwise the test above would prove nothing.
    for attack in (
        os_system_by_reduce,
        builtins_eval,
        setstate_of_an_own_class,
        reduce_ex_in_a_nested_object,
        a_numpy_array_of_objects,
        the_inst_opcode,
        the_obj_opcode,
    ):
        canary = tmp_path / attack.__name__
        pickle.loads(attack(str(canary)))
        assert canary.exists(), attack.__name__


def test_what_is_refused_is_named(tmp_path: Path) -> None:
    path = tmp_path / "attack.pkl"
    path.write_bytes(pickle.dumps(Reduces(os.system, ("true",))))
    with pytest.raises(CheckpointError, match=r"asks to run code while loading \(posix\.system\)"):
        read_pickle(path)


def test_a_name_from_the_file_cannot_steer_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "attack.pkl"
    path.write_bytes(b"\x80\x04" + text("os\n\x1b[2J") + text("system") + b"\x93.")
    with pytest.raises(CheckpointError, match=r"\(os\?\?\[2J\.system\)") as refusal:
        read_pickle(path)
    assert str(refusal.value).isprintable()


def test_a_zip_whose_storage_is_compressed_or_missing_is_refused(
    write_network: Any, tmp_path: Path
) -> None:
    whole = write_network(TENSORS, name="whole.pt", dump=torch.save)
    for name, compression, keep in (
        ("bomb.pt", zipfile.ZIP_DEFLATED, True),
        ("lacking.pt", zipfile.ZIP_STORED, False),
    ):
        path = tmp_path / name
        with zipfile.ZipFile(whole) as old, zipfile.ZipFile(path, "w", compression) as new:
            for entry in old.namelist():
                if keep or "/data/" not in entry:
                    new.writestr(entry, old.read(entry))
        with pytest.raises(CheckpointError, match=name):
            read_pickle(path)


def test_tensors_that_overlap_are_not_multiplied_in_memory(
    write_network: Any, tmp_path: Path
) -> None:
    base = torch.zeros(1000)
    path = write_network({f"layer{i}.w_avg": base[i:] for i in range(100)})
    network = read_pickle(path)["G_ema"]
    # Plain pickling gives each its own copy of the storage, so nothing overlaps here.
    assert len(network.state_dict()) == 100
    shared = write_network(
        {f"layer{i}.w_avg": base[i:] for i in range(100)}, name="shared.pt", dump=torch.save
    )
    with pytest.raises(CheckpointError, match="overlap"):
        read_pickle(shared)["G_ema"].state_dict()


def test_modules_that_hold_themselves_end(tmp_path: Path) -> None:
    # {"_modules": {"again": <the module itself>}} by way of the memo.
    cycle = (
        b"\x80\x02ctorch_utils.persistence\n_reconstruct_persistent_obj\n}("
        + text("type") + text("class")
        + text("class_name") + text("G")
        + text("state") + b"}q\x01"
        + b"u\x85R"  # the module, over a state that is still empty
        + b"q\x02h\x01" + text("_modules") + b"}" + text("again") + b"h\x02ss0."
    )  # fmt: skip
    path = tmp_path / "cycle.pkl"
    path.write_bytes(cycle)
    with pytest.raises(CheckpointError, match="nest deeper"):
        read_pickle(path)["G_ema"].state_dict()


@pytest.mark.parametrize(
    "content", [b"", b"\x80\x04", b".", b"hello", b"\x80\x04N.", b"PK\x03\x04"]
)
def test_what_is_no_pickle_of_networks_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "nothing.pkl"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"nothing\.pkl"):
        read_pickle(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_pickle(tmp_path / "absent.pkl")


def test_a_damaged_text_is_read_without_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "escape.pkl"
    path.write_bytes(b"\x80\x02}S'\\z'\nK\x01s.")
    assert list(read_pickle(path).values()) == [1]


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_any_damage_gives_a_network_or_one_clear_error(
    write_network: Any, tmp_path: Path, data: st.DataObject
) -> None:
    content = bytearray(write_network(TENSORS).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(1, len(content)))
    path = tmp_path / "damaged.pkl"
    path.write_bytes(content[:cut] if data.draw(st.booleans()) else content)
    try:
        found = read_pickle(path).get("G_ema")
        if isinstance(found, SavedModule):
            found.state_dict()
    except CheckpointError:
        pass
