"""Pickles read as data: tensors, settings and plain containers.

torch.save writes its checkpoints as pickles, and StyleGAN's `.pkl` files carry their own Python
source; loading either the ordinary way may run it. Here a small machine of its own walks the
opcodes. It holds no reference to any function or class of the file: a global is only a pair of
names, looked up in a fixed table of inert stand-ins, and anything outside that table is refused.
Nothing is imported, called or set on behalf of the file. Memory and time have a budget that grows
with the file: a small file cannot ask for much.
Left out: Python pickles in general.
Source: the opcodes as documented in the standard library's `pickletools`; the layouts of
`torch.save` (today's and that before zip files), of `torch_utils.persistence` (version 6) and of
`dnnlib.tflib.network`.
"""

import collections
import dataclasses
import io
import math
import mmap
import pickletools
import re
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from unseen.core.errors import CheckpointError
from unseen.core.wording import printable

if TYPE_CHECKING:
    import torch

# torch writes some fifty opcodes a tensor, and a snapshot has a thousand tensors at most. One
# opcode makes one small object at most: this bounds what a file of nothing but opcodes occupies.
MOST_OPCODES = 2_000_000
DEEPEST_MODULE = 32  # a published generator nests four deep
MOST_MODULES = 20_000  # a published file has a few hundred
MOST_TENSORS = 100_000  # a published file has a thousand
_LEAST_BUDGET = 1 << 24  # bytes that the smallest file may have copied
_BYTES_AN_ENTRY = 200  # of a copied dictionary or set, about
_LONGEST_SETTING = 64  # numbers in a list; characters in a text

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # begins the torch.save format before zip files
_LEGACY_PROTOCOL = 1001

_STORAGES = {  # torch's storage class → (torch dtype, bytes an element)
    "FloatStorage": ("float32", 4),
    "DoubleStorage": ("float64", 8),
    "HalfStorage": ("float16", 2),
    "BFloat16Storage": ("bfloat16", 2),
    "LongStorage": ("int64", 8),
    "IntStorage": ("int32", 4),
    "ShortStorage": ("int16", 2),
    "CharStorage": ("int8", 1),
    "ByteStorage": ("uint8", 1),
    "BoolStorage": ("bool", 1),
}
# What torch writes for tensors that are no plain numbers, and how they are called.
_SPECIAL = {
    "_rebuild_qtensor": "quantised tensors",
    "_rebuild_sparse_tensor": "sparse tensors",
    "_rebuild_meta_tensor_no_storage": "tensors without values (of the device meta)",
    "_rebuild_nested_tensor": "nested tensors",
    "_rebuild_tensor_v3": "tensors of a special number format",
    "ComplexFloatStorage": "complex numbers",
    "ComplexDoubleStorage": "complex numbers",
    "QInt8Storage": "quantised tensors",
    "QUInt8Storage": "quantised tensors",
    "QInt32Storage": "quantised tensors",
    "UntypedStorage": "tensors of a special number format",
}
_NUMBERS = re.compile(r"[<>=|]?(b1|\?|[iu][1248]|f[248])")  # no objects, strings or records


class _RefusedError(Exception):
    """What the file asked for; the reader adds the file's name and what to do."""


def _refuse(what: str) -> NoReturn:
    raise _RefusedError(what)


def _damaged(what: str) -> NoReturn:
    raise ValueError(what)


def _is_shape(value: object) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) <= 16
        and all(type(side) is int and 0 <= side < 2**48 for side in value)
    )


# What a file is turned into. None of these is callable, and none has a method that the machine
# would look up by a name from the file.


@dataclasses.dataclass(frozen=True, slots=True)
class _Global:
    """A name from the file that the table knows; never the thing itself."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclasses.dataclass(slots=True, eq=False, repr=False)
class _Storage:
    """Raw little-endian elements of a tensor storage; in older files they follow the pickle."""

    dtype: str
    itemsize: int
    count: int
    data: bytes | None = None
    _flat: "torch.Tensor | None" = None

    def fill(self, data: bytes) -> None:
        if len(data) != self.count * self.itemsize:
            _damaged(f"{self.count} elements in a storage of {len(data)} bytes")
        self.data = data

    def flat(self) -> "torch.Tensor":
        """All elements; copied out once, however many tensors share them."""
        import torch

        if self._flat is None:
            assert self.data is not None
            self._flat = torch.frombuffer(bytearray(self.data), dtype=getattr(torch, self.dtype))
            self.data = None
        return self._flat


class SavedTensor:
    """A tensor that still lies in the file's bytes; `tensor()` copies it out."""

    __slots__ = ("_offset", "_storage", "_stride", "shape")

    def __init__(
        self, storage: _Storage, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]
    ) -> None:
        count = math.prod(shape)
        last = offset + sum((side - 1) * step for side, step in zip(shape, stride, strict=True))
        if math.prod(side for side in shape if side) >= 2**48:  # even of an empty tensor
            _refuse("holds a tensor of an impossible shape")
        if count and (last >= storage.count or count > storage.count):
            _refuse(f"holds a tensor of {count} elements over a storage of {storage.count}")
        self.shape = shape
        self._storage = storage
        self._offset = offset
        self._stride = stride

    @property
    def nbytes(self) -> int:
        """Bytes that `tensor()` allocates."""
        return math.prod(self.shape) * self._storage.itemsize

    @property
    def storage_identity(self) -> tuple[int, int]:
        """The storage's identity and its bytes: tensors may share one."""
        return id(self._storage), self._storage.count * self._storage.itemsize

    def tensor(self) -> "torch.Tensor":
        """On the CPU; tensors that share a storage in the file share it here, too."""
        import torch

        if not math.prod(self.shape):
            return torch.empty(self.shape, dtype=getattr(torch, self._storage.dtype))
        view = self._storage.flat().as_strided(self.shape, self._stride, self._offset)
        return view.contiguous()


@dataclasses.dataclass(slots=True, eq=False)
class _Dtype:
    """A NumPy dtype of plain numbers, while the file is still describing it."""

    code: str
    order: str = "<"

    def build(self, state: object) -> None:
        if not (isinstance(state, tuple) and len(state) >= 5 and state[2:5] == (None, None, None)):
            _refuse("holds a NumPy dtype with fields")
        if state[1] not in ("<", ">", "|", "="):
            _refuse("holds a NumPy dtype of unknown byte order")
        self.order = state[1]

    def numpy(self) -> "np.dtype[Any]":
        return np.dtype(self.code).newbyteorder(">" if self.order == ">" else "<")


@dataclasses.dataclass(slots=True, eq=False, repr=False)
class SavedArray:
    """A NumPy array of plain numbers, in the file's bytes and read-only."""

    array: np.ndarray = dataclasses.field(default_factory=lambda: np.empty(0, np.uint8))

    def build(self, state: object) -> None:
        """Take what NumPy pickles beside an empty array (refused where it is no plain block)."""
        if not (isinstance(state, tuple) and len(state) == 5):
            _refuse("holds a NumPy array of unknown layout")
        _, shape, dtype, fortran, data = state
        self.fill(data, dtype, shape, "F" if fortran else "C")

    def fill(self, data: object, dtype: object, shape: object, order: object) -> None:
        """Take the bytes, which must be as many as the shape and the dtype ask for."""
        if isinstance(data, str):  # Python 2 wrote bytes so
            data = data.encode("latin-1", "replace")
        if not (isinstance(data, bytes) and isinstance(dtype, _Dtype) and _is_shape(shape)):
            _refuse("holds a NumPy array that is no plain block of numbers")
        numpy_dtype = dtype.numpy()
        assert isinstance(shape, tuple)
        if math.prod(shape) * numpy_dtype.itemsize != len(data):
            _refuse(f"holds a NumPy array of shape {shape} in {len(data)} bytes")
        flat = np.frombuffer(data, numpy_dtype)
        self.array = flat.reshape(shape, order="F" if order == "F" else "C")


@dataclasses.dataclass(frozen=True, slots=True, eq=False, repr=False)
class SavedModule:
    """One network or layer: its class's name, its settings, its tensors and its parts.

    The source code that the file holds for it is dropped unread.
    """

    class_name: str
    _state: Mapping[Any, Any]

    def _table(self, key: str) -> dict[str, Any]:
        table = self._state.get(key, {})
        if not isinstance(table, dict) or not all(isinstance(name, str) for name in table):
            raise CheckpointError(
                f"the module {self.class_name[:40]!a} of the file has no usable {key}"
            )
        return table

    @property
    def settings(self) -> dict[str, Any]:
        """Public attributes that are plain values (`plain_settings`)."""
        return plain_settings(self._state)

    @property
    def children(self) -> dict[str, "SavedModule"]:
        """The parts, by name."""
        modules = self._table("_modules")
        return {name: part for name, part in modules.items() if isinstance(part, SavedModule)}

    def modules(self) -> Iterator[tuple[str, "SavedModule"]]:
        """The module itself under "" and every part under its dotted name.

        Raises:
            CheckpointError: the parts nest without end or are too many.
        """
        pending: list[tuple[str, int, SavedModule]] = [("", 0, self)]
        count = 0
        while pending:
            prefix, depth, module = pending.pop()
            count += 1
            if depth > DEEPEST_MODULE or count > MOST_MODULES:
                raise CheckpointError(
                    f"the modules of the file nest deeper than {DEEPEST_MODULE} or are more than "
                    f"{MOST_MODULES}: no generator does; get it from its publisher again"
                )
            yield prefix, module
            children = module.children
            if len(children) > MOST_MODULES - len(pending):
                raise CheckpointError(f"the file has more than {MOST_MODULES} modules")
            for name, part in children.items():
                pending.append((f"{prefix}.{name}" if prefix else name, depth + 1, part))

    def state_dict(self) -> dict[str, "torch.Tensor"]:
        """Parameters and buffers under PyTorch's dotted names.

        Raises:
            CheckpointError: together they would take far more memory than the file has.
        """
        saved: dict[str, SavedTensor] = {}
        for prefix, module in self.modules():
            for key in ("_parameters", "_buffers"):
                table = module._table(key)
                if len(saved) + len(table) > MOST_TENSORS:
                    raise CheckpointError(f"the file has more than {MOST_TENSORS} tensors")
                for name, tensor in table.items():
                    if isinstance(tensor, SavedTensor):
                        saved[f"{prefix}.{name}" if prefix else name] = tensor
        return tensors_of(saved)


def tensors_of(saved: Mapping[str, SavedTensor]) -> dict[str, "torch.Tensor"]:
    """The tensors themselves.

    Raises:
        CheckpointError: together they would take far more memory than the file has.
    """
    stored = sum(dict(tensor.storage_identity for tensor in saved.values()).values())
    needed = sum(tensor.nbytes for tensor in saved.values())
    if needed > 2 * stored:  # a network may use a tensor twice, but no published file repeats more
        raise CheckpointError(
            f"the tensors of the file take {needed} bytes over {stored} stored ones: they "
            "overlap as no network's do; get it from its publisher again"
        )
    return {name: tensor.tensor() for name, tensor in saved.items()}


def plain_settings(state: Mapping[Any, Any]) -> dict[str, Any]:
    """The public ones of an object's attributes, as far as they are plain values.

    Numbers, short texts and short flat lists of numbers stay. What else there is becomes None if
    it is None, or else the text `a TYPE`, which no check of a setting accepts.
    """
    names = [name for name in state if isinstance(name, str) and not name.startswith("_")]
    return {name: _plain(state[name]) for name in names[:_MOST_SETTINGS] if len(name) < 200}


_MOST_SETTINGS = 200


def _plain(value: object) -> object:
    if isinstance(value, SavedArray) and value.array.size <= _LONGEST_SETTING:
        value = value.array.tolist()
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int) and abs(value) < 2**63:
        return value
    if isinstance(value, str) and len(value) <= _LONGEST_SETTING:
        return value
    if isinstance(value, list | tuple) and len(value) <= _LONGEST_SETTING:
        entries = [
            _plain(entry) if isinstance(entry, bool | int | float) else "" for entry in value
        ]
        if "" not in entries:
            return entries
    return f"a {type(value).__name__}"


@dataclasses.dataclass(slots=True, eq=False, repr=False)
class SavedTensorFlowNetwork:
    """One network of NVIDIA's TensorFlow files (2018–2020): settings, variables, components."""

    _state: dict[Any, Any] = dataclasses.field(default_factory=dict)

    def build(self, state: object) -> None:
        """Take the state that the file holds."""
        if not isinstance(state, dict):
            _refuse("holds a TensorFlow network without a state")
        self._state = state

    @property
    def settings(self) -> dict[str, Any]:
        """The keyword arguments it was made with."""
        settings = self._state.get("static_kwargs", {})
        return plain_settings(settings) if isinstance(settings, dict) else {}

    @property
    def components(self) -> dict[str, "SavedTensorFlowNetwork"]:
        """Its sub-networks, by name (`mapping`, `synthesis`)."""
        parts = self._state.get("components", {})
        if not isinstance(parts, dict):
            return {}
        return {k: v for k, v in parts.items() if isinstance(v, SavedTensorFlowNetwork)}

    @property
    def variables(self) -> dict[str, np.ndarray]:
        """Its own variables, by name inside the network."""
        pairs = self._state.get("variables", [])
        variables: dict[str, np.ndarray] = {}
        for pair in pairs if isinstance(pairs, list) else []:
            if isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str):
                value = pair[1]
                if isinstance(value, SavedArray):
                    variables[pair[0]] = value.array
                elif isinstance(value, float | int) and abs(value) < 2**63:
                    variables[pair[0]] = np.asarray(value)
        return variables


# The table: what stands in for each known name. A stand-in takes the arguments the file gives.


def _persistent(arguments: tuple[Any, ...]) -> SavedModule:
    meta = arguments[0] if len(arguments) == 1 else None
    if not isinstance(meta, dict) or meta.get("type") != "class":
        _refuse("holds a persistent object without a description")
    name, state = meta.get("class_name"), meta.get("state")
    if not isinstance(name, str) or not isinstance(state, dict):
        _refuse("holds a persistent object without a class name and a state")
    return SavedModule(name, state)


def _tensor(arguments: tuple[Any, ...]) -> SavedTensor:
    storage, offset, shape, stride = (*arguments, None, None, None, None)[:4]
    if not isinstance(storage, _Storage):
        _refuse("holds a tensor without a storage")
    if type(offset) is not int or not _is_shape((offset,)):
        _refuse("holds a tensor of an impossible offset")
    if not (_is_shape(shape) and _is_shape(stride) and len(shape) == len(stride)):
        _refuse("holds a tensor of an impossible shape")
    return SavedTensor(storage, offset, shape, stride)


def _first(kind: type, what: str) -> "_StandIn":
    """Gives back its first argument, which must be of that type."""

    def stand_in(arguments: tuple[Any, ...]) -> Any:
        if not arguments or not isinstance(arguments[0], kind):
            _refuse(f"holds {what}")
        return arguments[0]

    return stand_in


def _new(make: Callable[[], Any]) -> "_StandIn":
    """Makes an object that takes no arguments."""

    def stand_in(arguments: tuple[Any, ...]) -> Any:
        if arguments:
            _refuse("makes an object with arguments that its class does not take")
        return make()

    return stand_in


def _storage_from_bytes(arguments: tuple[Any, ...], budget: "_Budget") -> _Storage:
    if len(arguments) != 1 or not isinstance(arguments[0], bytes):
        _refuse("holds a tensor storage that is not bytes")
    stream = io.BytesIO(arguments[0])
    if _Machine(budget, frozenset()).run(stream) != _LEGACY_MAGIC:
        _refuse("holds a tensor storage that torch.save did not write")
    storage = _read_legacy(stream, budget, frozenset(_STORAGE_NAMES))
    if not isinstance(storage, _Storage) or stream.read(1):
        _refuse("holds a tensor storage that is not one storage")
    return storage


def _ordered_dict(arguments: tuple[Any, ...]) -> dict[Any, Any]:
    pairs = arguments[0] if arguments else []
    ordered: dict[Any, Any] = collections.OrderedDict()
    if not isinstance(pairs, list):
        _refuse("holds an ordered dictionary of no pairs")
    for pair in pairs:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            _refuse("holds an ordered dictionary of no pairs")
        ordered[_key(pair[0])] = pair[1]
    return ordered


def _set(arguments: tuple[Any, ...]) -> set[Any]:
    values = arguments[0] if arguments else []
    if not isinstance(values, list):
        _refuse("holds a set of no list")
    return {_key(value) for value in values}


def _array(arguments: tuple[Any, ...]) -> SavedArray:
    if not (arguments and isinstance(arguments[0], _Global) and arguments[0].name == "ndarray"):
        _refuse("holds an array that is no numpy.ndarray")
    return SavedArray()


def _array_from_buffer(arguments: tuple[Any, ...]) -> SavedArray:
    data, dtype, shape, order = (*arguments, None, None, None, None)[:4]
    array = SavedArray()
    array.fill(data, dtype, shape, order)
    return array


def _dtype(arguments: tuple[Any, ...]) -> _Dtype:
    code = arguments[0] if arguments else None
    if not isinstance(code, str) or not _NUMBERS.fullmatch(code):
        shown = repr(code[:40] if isinstance(code, str) else type(code).__name__)
        _refuse(f"holds a NumPy array of {shown}, which is no plain number")
    return _Dtype(code)


def _scalar(arguments: tuple[Any, ...]) -> float | int | bool:
    array = SavedArray()
    dtype, data = (*arguments, None, None)[:2]
    array.fill(data, dtype, (), "C")
    number: float | int | bool = array.array.item()
    return number


def _encode(arguments: tuple[Any, ...]) -> bytes:
    # Protocols 0 to 2 write bytes as text and ask for this codec to turn it back.
    if len(arguments) != 2 or not isinstance(arguments[0], str) or arguments[1] != "latin1":
        _refuse("asks for a codec")
    try:
        return arguments[0].encode("latin-1")
    except UnicodeEncodeError:
        _refuse("holds bytes that are none")


def _sizes(arguments: tuple[Any, ...]) -> tuple[int, ...]:
    sizes = tuple(arguments[0]) if arguments and isinstance(arguments[0], list | tuple) else None
    if sizes is None or not _is_shape(sizes):
        _refuse("holds an impossible torch.Size")
    return sizes


_StandIn = Callable[[tuple[Any, ...]], Any]

_NO_TENSOR = "a parameter without a tensor"
_STAND_INS: dict[tuple[str, str], _StandIn] = {
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _persistent,
    ("dnnlib.util", "EasyDict"): _new(dict),
    ("argparse", "Namespace"): _new(dict),
    ("dnnlib.tflib.network", "Network"): _new(SavedTensorFlowNetwork),
    ("collections", "OrderedDict"): _ordered_dict,
    ("builtins", "set"): _set,
    ("__builtin__", "set"): _set,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _first(SavedTensor, _NO_TENSOR),
    ("torch._utils", "_rebuild_parameter_with_state"): _first(SavedTensor, _NO_TENSOR),
    ("torch", "Size"): _sizes,
    ("torch", "device"): _first(str, "a device without a name"),
    ("numpy", "dtype"): _dtype,
    ("_codecs", "encode"): _encode,
} | {
    (f"numpy.{core}.{module}", name): stand_in
    for core in ("core", "_core")
    for module, name, stand_in in (
        ("multiarray", "_reconstruct", _array),
        ("multiarray", "scalar", _scalar),
        ("numeric", "_frombuffer", _array_from_buffer),
    )
}
_LOAD_STORAGE = ("torch.storage", "_load_from_bytes")
_STORAGE_NAMES = {("torch", name) for name in _STORAGES}
# Names that may be mentioned, as what another stand-in expects, but never called.
_MENTIONED = {("numpy", "ndarray")} | {
    ("torch", dtype) for dtype in ("float32", "float64", "float16", "bfloat16", "int64")
}
_DATA_NAMES = frozenset(_STAND_INS) | frozenset(_MENTIONED) | {_LOAD_STORAGE}


def _key(value: object) -> Any:
    # Hashing a deeply nested tuple overflows the interpreter's own stack, so keys are flat.
    if value is not None and type(value) not in (str, int, float, bool, bytes):
        _refuse(f"holds a dictionary key or set member of type {type(value).__name__}")
    return value


class _Budget:
    """What one file may ask for, in opcodes and in bytes that are copied."""

    def __init__(self, file_size: int) -> None:
        self.opcodes = MOST_OPCODES
        self.bytes = _LEAST_BUDGET + 4 * file_size

    def step(self) -> None:
        self.opcodes -= 1
        if self.opcodes < 0:
            _refuse(f"has more than {MOST_OPCODES} opcodes, as no network has")

    def copy(self, value: object) -> None:
        """Pay for a copy of a value, which the file may ask for again and again."""
        if isinstance(value, str | bytes):
            self.bytes -= len(value)
        elif isinstance(value, list | dict):
            self.bytes -= _BYTES_AN_ENTRY * len(value)
        if self.bytes < 0:
            _refuse("repeats its contents far beyond its own size, as no network does")


class _Machine:
    """Walks one pickle's opcodes; what is not written here does not happen."""

    def __init__(
        self,
        budget: _Budget,
        names: frozenset[tuple[str, str]],
        persistent: Callable[[object], object] | None = None,
    ) -> None:
        self._budget = budget
        self._names = names
        self._persistent = persistent
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def run(self, stream: Any) -> Any:
        """The value at STOP; the stream is left just behind it.

        Raises:
            _RefusedError: an opcode, a name or a value outside the table, or no pickle at all.
        """
        for opcode, argument, _ in pickletools.genops(stream):
            self._budget.step()
            name = opcode.name
            if name == "STOP":
                return self._pop()
            if name in _CONSTANTS:
                self._stack.append(argument)
            elif name in _FRESH:
                self._stack.append(_FRESH[name]())
            elif name in _TAKES:
                self._collect(name)
            else:
                self._act(name, argument)
        raise AssertionError("genops ends at STOP or raises")

    def _pop(self) -> Any:
        if len(self._stack) <= (self._marks[-1] if self._marks else 0):
            _damaged("nothing left on its stack")
        return self._stack.pop()

    def _top(self) -> Any:
        value = self._pop()
        self._stack.append(value)
        return value

    def _popped_to_mark(self) -> list[Any]:
        if not self._marks:
            _damaged("no mark on its stack")
        start = self._marks.pop()
        values = self._stack[start:]
        del self._stack[start:]
        return values

    def _collect(self, name: str) -> None:
        """One of the opcodes that move values into a container."""
        values = [self._pop() for _ in range(_TAKES[name])][::-1] if _TAKES[name] else None
        if values is None:
            values = self._popped_to_mark()
        match name:
            case "LIST":
                self._stack.append(values)
            case "TUPLE" | "TUPLE1" | "TUPLE2" | "TUPLE3":
                self._stack.append(tuple(values))
            case "FROZENSET":
                self._stack.append(frozenset(_key(value) for value in values))
            case "APPEND" | "APPENDS":
                self._container(list).extend(values)
            case "ADDITEMS":
                self._container(set).update(_key(value) for value in values)
            case "DICT" | "SETITEM" | "SETITEMS":
                if name == "DICT":
                    self._stack.append({})
                target = self._container(dict)
                if len(values) % 2:
                    _damaged("a key without a value")
                for key, value in zip(values[::2], values[1::2], strict=True):
                    target[_key(key)] = value

    def _container(self, kind: type) -> Any:
        target = self._top()
        if not isinstance(target, kind):
            _refuse(f"puts values into a {type(target).__name__}")
        return target

    def _act(self, name: str, argument: Any) -> None:
        """One of the other opcodes."""
        match name:
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self._memo[argument] = self._top()
            case "MEMOIZE":
                self._memo[len(self._memo)] = self._top()
            case "GET" | "BINGET" | "LONG_BINGET":
                if argument not in self._memo:
                    _damaged("a memo entry that was never stored")
                self._stack.append(self._memo[argument])
            case "MARK":
                self._marks.append(len(self._stack))
            case "POP":
                self._pop()
            case "POP_MARK":
                self._popped_to_mark()
            case "DUP":
                self._stack.append(self._top())
            case "BYTEARRAY8":
                self._stack.append(bytes(argument))
            case "GLOBAL":
                self._name(*argument.split(" ", 1))
            case "STACK_GLOBAL":
                name, module = self._pop(), self._pop()
                self._name(module, name)
            case "REDUCE" | "NEWOBJ":
                self._call()
            case "BUILD":
                self._build()
            case "BINPERSID" if self._persistent is not None:
                self._stack.append(self._persistent(self._pop()))
            case "BINPERSID":
                _refuse("refers to objects outside itself")
            case "PROTO" | "FRAME":
                pass
            case _:
                _refuse(f"asks to run code while loading (opcode {name})")

    def _name(self, module: object, name: object) -> None:
        if type(module) is not str or type(name) is not str:
            _refuse("asks to run code while loading (a global without a name)")
        if name in _SPECIAL and module.partition(".")[0] == "torch":
            _refuse(f"holds {_SPECIAL[name]}, not plain numbers")
        if (module, name) not in self._names:
            module, name = module[:60], name[:60]
            _refuse(f"asks to run code while loading ({module}.{name})")
        self._stack.append(_Global(module, name))

    def _call(self) -> None:
        arguments = self._pop()
        what = self._pop()
        if type(arguments) is not tuple:
            _refuse("asks to run code while loading (a call without arguments)")
        if type(what) is not _Global:
            _refuse(f"asks to run code while loading (a call of a {type(what).__name__})")
        for value in arguments:
            self._budget.copy(value)
        stand_in = _STAND_INS.get((what.module, what.name))
        if (what.module, what.name) == _LOAD_STORAGE:
            self._stack.append(_storage_from_bytes(arguments, self._budget))
        elif stand_in is None:
            _refuse(f"asks to run code while loading (a call of {what})")
        else:
            self._stack.append(stand_in(arguments))

    def _build(self) -> None:
        state = self._pop()
        target = self._top()
        if isinstance(target, _Dtype | SavedArray | SavedTensorFlowNetwork):
            for value in state if isinstance(state, tuple) else ():
                self._budget.copy(value)
            target.build(state)
        elif isinstance(target, dict):
            # An OrderedDict's or EasyDict's own attributes (`_metadata`): nothing reads them.
            if state is not None and not isinstance(state, dict):
                _refuse("sets the attributes of a dictionary to no dictionary")
        else:
            _refuse(f"asks to run code while loading (sets attributes of a {_kind(target)})")


def _kind(value: object) -> str:
    return str(value) if isinstance(value, _Global) else type(value).__name__


_CONSTANTS = frozenset(
    (
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
        *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    )
)
_FRESH: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
    "EMPTY_SET": set,
}
_TAKES = {  # how many values an opcode puts into a container; 0: those behind the mark
    **dict.fromkeys(("LIST", "TUPLE", "FROZENSET", "DICT", "APPENDS", "SETITEMS", "ADDITEMS"), 0),
    **dict.fromkeys(("TUPLE1", "APPEND"), 1),
    **dict.fromkeys(("TUPLE2", "SETITEM"), 2),
    "TUPLE3": 3,
}


def _described_storage(described: object) -> tuple[str, _Storage]:
    """A persistent identifier's key, and the storage, still without its elements."""
    if not (isinstance(described, tuple) and len(described) >= 5 and described[0] == "storage"):
        _refuse("refers to an object outside itself that is no tensor storage")
    _, kind, key, _, count = described[:5]
    if not (isinstance(kind, _Global) and kind.name in _STORAGES and isinstance(key, str)):
        _refuse("refers to a tensor storage of unknown type")
    if type(count) is not int or not 0 <= count < 2**48 or any(described[5:]):
        _refuse("refers to a tensor storage of impossible size")
    dtype, itemsize = _STORAGES[kind.name]
    return key, _Storage(dtype, itemsize, count)


def _read_legacy(stream: Any, budget: _Budget, names: frozenset[tuple[str, str]]) -> Any:
    """What torch.save wrote before zip files, behind the magic number.

    The protocol and the machine, the object itself, the keys of its storages, then for each the
    element count and the elements. Every pickle is walked by the same machine.
    """
    nothing: frozenset[tuple[str, str]] = frozenset()
    if _Machine(budget, nothing).run(stream) != _LEGACY_PROTOCOL:
        _refuse("was not written by a known torch.save")
    machine = _Machine(budget, nothing).run(stream)
    if not isinstance(machine, dict) or machine.get("little_endian") is not True:
        _refuse("was written on a big-endian machine")
    storages: dict[str, _Storage] = {}

    def persistent(value: object) -> object:
        key, storage = _described_storage(value)
        return storages.setdefault(key, storage)

    content = _Machine(budget, names, persistent).run(stream)
    keys = _Machine(budget, nothing).run(stream)
    if not (
        isinstance(keys, list)
        and all(isinstance(key, str) for key in keys)
        and sorted(keys) == sorted(storages)
    ):
        _refuse("lists other tensor storages than it uses")
    for key in keys:
        storage = storages[key]
        header = stream.read(8)
        stored = struct.unpack("<q", header)[0] if len(header) == 8 else -1
        if stored != storage.count:
            _damaged(f"{storage.count} elements in a storage of {stored}")
        storage.fill(stream.read(storage.count * storage.itemsize))
    return content


def _read_zip(path: Path) -> Any:
    """A whole object as torch.save writes it now: `…/data.pkl` and one entry a storage."""
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        pickles = [name for name in entries if name.split("/")[1:] == ["data.pkl"]]
        if any(name.split("/")[1:2] == ["constants.pkl"] for name in entries):
            _refuse("holds a TorchScript program, which is code")
        if len(pickles) != 1:
            _refuse("is a zip file, but holds no data.pkl of torch.save")
        folder = pickles[0].split("/")[0]
        storages: dict[str, _Storage] = {}
        left = path.stat().st_size

        def entry_bytes(name: str) -> bytes:
            nonlocal left
            entry = entries.get(name)
            if entry is None:
                _damaged(f"its entry {name} is missing")
            left -= entry.file_size
            if entry.compress_type != zipfile.ZIP_STORED or left < 0:
                _refuse(f"holds {name} compressed or overlapping, as torch.save never does"[:160])
            return archive.read(entry)

        byteorder = f"{folder}/byteorder"
        if byteorder in entries and entry_bytes(byteorder) != b"little":
            _refuse("was written on a big-endian machine")

        def persistent(value: object) -> object:
            key, storage = _described_storage(value)
            if key not in storages:
                storage.fill(entry_bytes(f"{folder}/data/{key}"))
                storages[key] = storage
            return storages[key]

        machine = _Machine(_Budget(left), _DATA_NAMES | _STORAGE_NAMES, persistent)
        return machine.run(io.BytesIO(entry_bytes(pickles[0])))


def _read_pickle(path: Path) -> Any:
    # A memory map reads no more than there is, whatever length an opcode claims.
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
    ):
        budget = _Budget(len(mapped))
        content = _Machine(budget, _DATA_NAMES).run(mapped)
        if content == _LEGACY_MAGIC:
            return _read_legacy(mapped, budget, _DATA_NAMES | _STORAGE_NAMES)
        return content


def read_pickle(path: Path) -> dict[str, Any]:
    """Read a pickle or a file of torch.save without running or importing any of its code.

    Returns:
        The file's entries: numbers, texts, lists and dictionaries, with `SavedTensor` for tensors,
        `SavedArray` for NumPy's, `SavedModule` and `SavedTensorFlowNetwork` for NVIDIA's networks.
        A file of one bare network gives it as `G_ema`, a tuple of three as `G`, `D`, `G_ema`.

    Raises:
        CheckpointError: the file cannot be read, is no such pickle, or asks for anything beyond
            the table of known names.
    """
    try:
        if path.stat().st_size == 0:
            _damaged("it is empty")
        with path.open("rb") as file:
            is_zip = file.read(2) == b"PK"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickletools, about escapes in a damaged text
            content = _read_zip(path) if is_zip else _read_pickle(path)
    except _RefusedError as refused:
        raise CheckpointError(
            f"{path} {printable(str(refused))}; only tensors and settings are read from a pickle: "
            "if you trust the file, export its state dict to .safetensors with its own code"
        ) from None
    except (
        ValueError,
        KeyError,
        EOFError,
        RuntimeError,
        NotImplementedError,
        zipfile.BadZipFile,
    ) as error:
        raise CheckpointError(
            f"{path} cannot be read as a checkpoint ({printable(str(error))[:120]}): it is cut "
            "short or damaged, or no torch file; download it again"
        ) from None
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be read ({error.strerror or error}); name a checkpoint file"
        ) from error
    if isinstance(content, SavedModule | SavedTensorFlowNetwork):
        return {"G_ema": content}
    if isinstance(content, tuple) and len(content) == 3:
        return dict(zip(("G", "D", "G_ema"), content, strict=True))
    if isinstance(content, dict):
        return content
    raise CheckpointError(
        f"{path} holds no tensors (it is a {type(content).__name__}); save the network's "
        "state_dict()"
    )
