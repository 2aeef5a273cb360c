"""NVIDIA's network pickles, read as data: tensors, settings and plain containers.

StyleGAN's `.pkl` files carry their own Python source, and loading one the ordinary way runs it.
Here a small machine of its own walks the opcodes. It holds no reference to any function or class
of the file: a global is only a pair of names, looked up in a fixed table of inert stand-ins, and
anything outside that table is refused. Nothing is imported, called or set on behalf of the file.
Left out: Python pickles in general, and state dicts (`weights_only` reads those).
Source: the opcodes as documented in the standard library's `pickletools`; the layouts of
`torch_utils.persistence` (version 6) and of `dnnlib.tflib.network`, whose objects the files hold.
"""

import collections
import io
import math
import mmap
import pickletools
import re
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

import numpy as np

from unseen.core.errors import CheckpointError

if TYPE_CHECKING:
    import torch

# torch writes some fifty opcodes a tensor, and a snapshot has a thousand tensors at most. One
# opcode makes one small object at most: this bounds what a file of nothing but opcodes occupies.
MOST_OPCODES = 2_000_000
DEEPEST_MODULE = 32  # a published generator nests four deep
MOST_MODULES = 20_000  # a published file has a few hundred

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
_NUMBERS = re.compile(r"[<>=|]?(b1|\?|[iu][1248]|f[248])")  # no objects, strings or records


class _RefusedError(Exception):
    """What the file asked for; the reader adds the file's name and what to do."""


def _refuse(what: str) -> NoReturn:
    raise _RefusedError(what)


def _is_shape(value: object) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) <= 16
        and all(type(side) is int and 0 <= side < 2**48 for side in value)
    )


# What a file is turned into. None of these is callable, and none has a method that the machine
# would look up by a name from the file.


class _Global:
    """A name from the file that the table knows; never the thing itself."""

    __slots__ = ("module", "name")

    def __init__(self, module: str, name: str) -> None:
        self.module = module
        self.name = name

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class _Storage:
    """Raw little-endian elements of one tensor storage."""

    __slots__ = ("data", "dtype", "itemsize")

    def __init__(self, data: memoryview, dtype: str, itemsize: int) -> None:
        self.data = data
        self.dtype = dtype
        self.itemsize = itemsize

    def __len__(self) -> int:
        return len(self.data) // self.itemsize


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
        if count and (last >= len(storage) or count > len(storage)):
            _refuse(f"holds a tensor of {count} elements over a storage of {len(storage)}")
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
        return id(self._storage), len(self._storage.data)

    def tensor(self) -> "torch.Tensor":
        """A contiguous copy on the CPU."""
        import torch

        dtype = getattr(torch, self._storage.dtype)
        if not math.prod(self.shape):
            return torch.empty(self.shape, dtype=dtype)
        flat = torch.frombuffer(bytearray(self._storage.data), dtype=dtype)
        view = flat.as_strided(self.shape, self._stride, self._offset)
        return view.clone(memory_format=torch.contiguous_format)


class _Dtype:
    """A NumPy dtype of plain numbers, while the file is still describing it."""

    __slots__ = ("code", "order")

    def __init__(self, code: str) -> None:
        self.code = code
        self.order = "<"

    def build(self, state: object) -> None:
        if not (isinstance(state, tuple) and len(state) >= 5 and state[2:5] == (None, None, None)):
            _refuse("holds a NumPy dtype with fields")
        if state[1] not in ("<", ">", "|", "="):
            _refuse("holds a NumPy dtype of unknown byte order")
        self.order = state[1]

    def numpy(self) -> "np.dtype[Any]":
        return np.dtype(self.code).newbyteorder(">" if self.order == ">" else "<")


class SavedArray:
    """A NumPy array of plain numbers, in the file's bytes and read-only."""

    __slots__ = ("array",)

    def __init__(self) -> None:
        self.array: np.ndarray = np.empty(0, np.uint8)

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


class SavedModule:
    """One network or layer: its class's name, its settings, its tensors and its parts.

    The source code that the file holds for it is dropped unread.
    """

    __slots__ = ("_state", "class_name")

    def __init__(self, class_name: str, state: Mapping[Any, Any]) -> None:
        self.class_name = class_name
        self._state = state

    def _table(self, key: str) -> dict[str, Any]:
        table = self._state.get(key, {})
        if not isinstance(table, dict) or not all(isinstance(name, str) for name in table):
            raise CheckpointError(f"a {self.class_name} of the file has no usable {key}")
        return table

    @property
    def settings(self) -> dict[str, Any]:
        """Public attributes: plain values, NumPy arrays and numbers as lists and numbers."""
        return {
            name: value.array.tolist() if isinstance(value, SavedArray) else value
            for name, value in self._state.items()
            if isinstance(name, str) and not name.startswith("_")
        }

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
            for name, part in module.children.items():
                pending.append((f"{prefix}.{name}" if prefix else name, depth + 1, part))

    def state_dict(self) -> dict[str, "torch.Tensor"]:
        """Parameters and buffers under PyTorch's dotted names.

        Raises:
            CheckpointError: together they would take far more memory than the file has.
        """
        saved: dict[str, SavedTensor] = {}
        for prefix, module in self.modules():
            for key in ("_parameters", "_buffers"):
                for name, tensor in module._table(key).items():
                    if isinstance(tensor, SavedTensor):
                        saved[f"{prefix}.{name}" if prefix else name] = tensor
        stored = sum(dict(tensor.storage_identity for tensor in saved.values()).values())
        needed = sum(tensor.nbytes for tensor in saved.values())
        if needed > 2 * stored:  # a published file shares no storage
            raise CheckpointError(
                f"the tensors of the file take {needed} bytes over {stored} stored ones: they "
                "overlap as no network's do; get it from its publisher again"
            )
        return {name: tensor.tensor() for name, tensor in saved.items()}


class SavedTensorFlowNetwork:
    """One network of NVIDIA's TensorFlow files (2018–2020): settings, variables, components."""

    __slots__ = ("_state",)

    def __init__(self) -> None:
        self._state: dict[Any, Any] = {}

    def build(self, state: object) -> None:
        """Take the state that the file holds."""
        if not isinstance(state, dict):
            _refuse("holds a TensorFlow network without a state")
        self._state = state

    @property
    def settings(self) -> dict[str, Any]:
        """The keyword arguments it was made with."""
        settings = self._state.get("static_kwargs", {})
        return dict(settings) if isinstance(settings, dict) else {}

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
        found: dict[str, np.ndarray] = {}
        for pair in pairs if isinstance(pairs, list) else []:
            if isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str):
                value = pair[1]
                if isinstance(value, SavedArray):
                    found[pair[0]] = value.array
                elif isinstance(value, float | int):
                    found[pair[0]] = np.asarray(value)
        return found


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


def _parameter(arguments: tuple[Any, ...]) -> SavedTensor:
    if not arguments or not isinstance(arguments[0], SavedTensor):
        _refuse("holds a parameter without a tensor")
    return arguments[0]


def _storage_from_bytes(arguments: tuple[Any, ...]) -> _Storage:
    if len(arguments) != 1 or not isinstance(arguments[0], bytes):
        _refuse("holds a tensor storage that is not bytes")
    return _legacy_storage(arguments[0])


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


def _empty_dict(arguments: tuple[Any, ...]) -> dict[Any, Any]:
    if arguments:
        _refuse("holds a dictionary with arguments")
    return {}


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
        shown = repr(code)[:40]
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


def _text(arguments: tuple[Any, ...]) -> str:
    if not arguments or not isinstance(arguments[0], str):
        _refuse("holds a device without a name")
    return arguments[0]


def _tensorflow_network(arguments: tuple[Any, ...]) -> SavedTensorFlowNetwork:
    if arguments:
        _refuse("holds a TensorFlow network with arguments")
    return SavedTensorFlowNetwork()


_StandIn = Callable[[tuple[Any, ...]], Any]

_STAND_INS: dict[tuple[str, str], _StandIn] = {
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _persistent,
    ("dnnlib.util", "EasyDict"): _empty_dict,
    ("dnnlib.tflib.network", "Network"): _tensorflow_network,
    ("collections", "OrderedDict"): _ordered_dict,
    ("builtins", "set"): _set,
    ("__builtin__", "set"): _set,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch.storage", "_load_from_bytes"): _storage_from_bytes,
    ("torch", "Size"): _sizes,
    ("torch", "device"): _text,
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
_STORAGE_NAMES = {("torch", name) for name in _STORAGES}
# Names that may be mentioned, as what another stand-in expects, but never called.
_MENTIONED = {("numpy", "ndarray")} | {
    ("torch", dtype) for dtype in ("float32", "float64", "float16", "bfloat16", "int64")
}
_DATA_NAMES = frozenset(_STAND_INS) | frozenset(_MENTIONED)


def _key(value: object) -> Any:
    # Hashing a deeply nested tuple overflows the interpreter's own stack, so keys are flat.
    if value is not None and type(value) not in (str, int, float, bool, bytes):
        _refuse(f"holds a dictionary key or set member of type {type(value).__name__}")
    return value


class _Machine:
    """Walks one pickle's opcodes; what is not written here does not happen."""

    def __init__(
        self,
        names: frozenset[tuple[str, str]],
        persistent: Callable[[object], object] | None = None,
    ) -> None:
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
        for count, (opcode, argument, _) in enumerate(pickletools.genops(stream), start=1):
            if count > MOST_OPCODES:
                _refuse(f"has more than {MOST_OPCODES} opcodes, as no network has")
            name = opcode.name
            if name == "STOP":
                return self._pop()
            if name in _CONSTANTS:
                self._stack.append(argument)
            elif name in _FRESH:
                self._stack.append(_FRESH[name]())
            elif name in _STEPS:
                _STEPS[name](self, argument)
            else:
                _refuse(f"asks to run code while loading (opcode {name})")
        raise AssertionError("genops ends at STOP or raises")

    def _pop(self) -> Any:
        if len(self._stack) <= (self._marks[-1] if self._marks else 0):
            _refuse("is no sound pickle (nothing left on its stack)")
        return self._stack.pop()

    def _top(self) -> Any:
        value = self._pop()
        self._stack.append(value)
        return value

    def _popped_to_mark(self) -> list[Any]:
        if not self._marks:
            _refuse("is no sound pickle (no mark on its stack)")
        start = self._marks.pop()
        values = self._stack[start:]
        del self._stack[start:]
        return values

    def _ignore(self, argument: object) -> None:
        del argument

    def _mark(self, argument: object) -> None:
        del argument
        self._marks.append(len(self._stack))

    def _drop(self, argument: object) -> None:
        del argument
        self._pop()

    def _drop_to_mark(self, argument: object) -> None:
        del argument
        self._popped_to_mark()

    def _duplicate(self, argument: object) -> None:
        del argument
        self._stack.append(self._top())

    def _buffer(self, argument: Any) -> None:
        self._stack.append(bytes(argument))

    def _list(self, argument: object) -> None:
        del argument
        self._stack.append(self._popped_to_mark())

    def _tuple(self, argument: object) -> None:
        del argument
        self._stack.append(tuple(self._popped_to_mark()))

    def _frozenset(self, argument: object) -> None:
        del argument
        self._stack.append(frozenset(_key(value) for value in self._popped_to_mark()))

    def _tuple_of(self, length: int) -> None:
        values = [self._pop() for _ in range(length)]
        self._stack.append(tuple(reversed(values)))

    def _dict(self, argument: object) -> None:
        del argument
        values = self._popped_to_mark()
        self._stack.append({})
        self._set_items(values)

    def _append(self, argument: object) -> None:
        del argument
        value = self._pop()
        self._extend([value])

    def _appends(self, argument: object) -> None:
        del argument
        self._extend(self._popped_to_mark())

    def _extend(self, values: list[Any]) -> None:
        target = self._top()
        if type(target) is not list:
            _refuse(f"appends to a {type(target).__name__}")
        target.extend(values)

    def _set_item(self, argument: object) -> None:
        del argument
        value = self._pop()
        key = self._pop()
        self._set_items([key, value])

    def _set_all_items(self, argument: object) -> None:
        del argument
        self._set_items(self._popped_to_mark())

    def _set_items(self, values: list[Any]) -> None:
        target = self._top()
        if not isinstance(target, dict):
            _refuse(f"sets items of a {type(target).__name__}")
        if len(values) % 2:
            _refuse("is no sound pickle (a key without a value)")
        for key, value in zip(values[::2], values[1::2], strict=True):
            target[_key(key)] = value

    def _add_items(self, argument: object) -> None:
        del argument
        values = self._popped_to_mark()
        target = self._top()
        if type(target) is not set:
            _refuse(f"adds members to a {type(target).__name__}")
        target.update(_key(value) for value in values)

    def _memoize(self, argument: object) -> None:
        del argument
        self._memo[len(self._memo)] = self._top()

    def _put(self, argument: Any) -> None:
        self._memo[argument] = self._top()

    def _get(self, argument: Any) -> None:
        if argument not in self._memo:
            _refuse("is no sound pickle (a memo entry that was never stored)")
        self._stack.append(self._memo[argument])

    def _global(self, argument: Any) -> None:
        module, _, name = argument.partition(" ")
        self._name(module, name)

    def _stack_global(self, argument: object) -> None:
        del argument
        name = self._pop()
        module = self._pop()
        self._name(module, name)

    def _name(self, module: object, name: object) -> None:
        if type(module) is not str or type(name) is not str:
            _refuse("asks to run code while loading (a global without a name)")
        if (module, name) not in self._names:
            _refuse(f"asks to run code while loading ({module}.{name}"[:120] + ")")
        self._stack.append(_Global(module, name))

    def _call(self, argument: object) -> None:
        del argument
        arguments = self._pop()
        what = self._pop()
        if type(arguments) is not tuple:
            _refuse("asks to run code while loading (a call without arguments)")
        if type(what) is not _Global:
            _refuse(f"asks to run code while loading (a call of a {type(what).__name__})")
        stand_in = _STAND_INS.get((what.module, what.name))
        if stand_in is None:
            _refuse(f"asks to run code while loading (a call of {what})")
        self._stack.append(stand_in(arguments))

    def _build(self, argument: object) -> None:
        del argument
        state = self._pop()
        target = self._top()
        if isinstance(target, _Dtype | SavedArray | SavedTensorFlowNetwork):
            target.build(state)
        elif isinstance(target, dict):
            # An OrderedDict's or EasyDict's own attributes (`_metadata`): nothing reads them.
            if state is not None and not isinstance(state, dict):
                _refuse("sets the attributes of a dictionary to no dictionary")
        else:
            _refuse(f"asks to run code while loading (sets attributes of a {_kind(target)})")

    def _persistent_id(self, argument: object) -> None:
        del argument
        if self._persistent is None:
            _refuse("refers to objects outside itself")
        self._stack.append(self._persistent(self._pop()))


def _kind(value: object) -> str:
    return str(value) if isinstance(value, _Global) else type(value).__name__


_NUMBER_OPCODES = ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4")
_REAL_OPCODES = ("FLOAT", "BINFLOAT")
_STRING_OPCODES = ("STRING", "BINSTRING", "SHORT_BINSTRING")
_UNICODE_OPCODES = ("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8")
_BYTES_OPCODES = ("BINBYTES", "SHORT_BINBYTES", "BINBYTES8")
_CONSTANTS = frozenset(
    (*_NUMBER_OPCODES, *_REAL_OPCODES, *_STRING_OPCODES, *_UNICODE_OPCODES, *_BYTES_OPCODES)
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
_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": _Machine._ignore,
    "FRAME": _Machine._ignore,
    "MARK": _Machine._mark,
    "POP": _Machine._drop,
    "POP_MARK": _Machine._drop_to_mark,
    "DUP": _Machine._duplicate,
    "BYTEARRAY8": _Machine._buffer,
    "LIST": _Machine._list,
    "TUPLE": _Machine._tuple,
    "TUPLE1": lambda machine, _: machine._tuple_of(1),
    "TUPLE2": lambda machine, _: machine._tuple_of(2),
    "TUPLE3": lambda machine, _: machine._tuple_of(3),
    "FROZENSET": _Machine._frozenset,
    "DICT": _Machine._dict,
    "APPEND": _Machine._append,
    "APPENDS": _Machine._appends,
    "SETITEM": _Machine._set_item,
    "SETITEMS": _Machine._set_all_items,
    "ADDITEMS": _Machine._add_items,
    "MEMOIZE": _Machine._memoize,
    "PUT": _Machine._put,
    "BINPUT": _Machine._put,
    "LONG_BINPUT": _Machine._put,
    "GET": _Machine._get,
    "BINGET": _Machine._get,
    "LONG_BINGET": _Machine._get,
    "GLOBAL": _Machine._global,
    "STACK_GLOBAL": _Machine._stack_global,
    "REDUCE": _Machine._call,
    "NEWOBJ": _Machine._call,
    "BUILD": _Machine._build,
    "BINPERSID": _Machine._persistent_id,
}


def _described_storage(described: object) -> tuple[str, str, int, int]:
    """A persistent identifier's (key, dtype, bytes an element, elements)."""
    if not (isinstance(described, tuple) and len(described) >= 5 and described[0] == "storage"):
        _refuse("refers to an object outside itself that is no tensor storage")
    _, kind, key, _, count = described[:5]
    if not (isinstance(kind, _Global) and kind.name in _STORAGES and isinstance(key, str)):
        _refuse("refers to a tensor storage of unknown type")
    if type(count) is not int or count < 0 or any(described[5:]):
        _refuse("refers to a tensor storage of impossible size")
    dtype, itemsize = _STORAGES[kind.name]
    return key, dtype, itemsize, count


def _legacy_storage(payload: bytes) -> _Storage:
    """One storage as torch.save wrote it before zip files.

    Four pickles (magic number, protocol, machine, the storage's description), one of keys, then
    the element count and the elements. Every one is walked by the same machine.
    """
    described: list[tuple[str, str, int, int]] = []

    def persistent(value: object) -> object:
        described.append(_described_storage(value))
        return None

    stream = io.BytesIO(payload)
    nothing: frozenset[tuple[str, str]] = frozenset()
    magic = _Machine(nothing).run(stream)
    protocol = _Machine(nothing).run(stream)
    if magic != _LEGACY_MAGIC or protocol != _LEGACY_PROTOCOL:
        _refuse("holds a tensor storage that torch.save did not write")
    machine = _Machine(nothing).run(stream)
    if not isinstance(machine, dict) or machine.get("little_endian") is not True:
        _refuse("holds a tensor storage of a big-endian machine")
    _Machine(frozenset(_STORAGE_NAMES), persistent).run(stream)
    keys = _Machine(nothing).run(stream)
    if len(described) != 1 or keys != [described[0][0]]:
        _refuse("holds a tensor storage that is not one storage")
    _, dtype, itemsize, count = described[0]
    header = stream.read(8)
    data = memoryview(payload)[stream.tell() :]
    stored = struct.unpack("<q", header)[0] if len(header) == 8 else -1
    if stored != count or count * itemsize != len(data):
        _refuse(f"holds a tensor storage that claims {count} elements in {len(data)} bytes")
    return _Storage(data, dtype, itemsize)


def _read_zip(path: Path) -> Any:
    """A whole object as torch.save writes it now: `…/data.pkl` and one entry a storage."""
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        pickles = [name for name in entries if name.split("/")[1:] == ["data.pkl"]]
        if len(pickles) != 1:
            _refuse("is a zip file, but holds no data.pkl of torch.save")
        folder = pickles[0].split("/")[0]
        storages: dict[str, _Storage] = {}
        left = path.stat().st_size

        def entry_bytes(name: str) -> bytes:
            nonlocal left
            entry = entries.get(name)
            if entry is None:
                _refuse(f"lacks its entry {name}"[:120])
            left -= entry.file_size
            if entry.compress_type != zipfile.ZIP_STORED or left < 0:
                _refuse(f"holds {name} compressed or overlapping, as torch.save never does"[:160])
            return archive.read(entry)

        def persistent(value: object) -> object:
            key, dtype, itemsize, count = _described_storage(value)
            if key not in storages:
                data = entry_bytes(f"{folder}/data/{key}")
                if len(data) != count * itemsize:
                    _refuse(f"claims {count} elements in a storage of {len(data)} bytes")
                storages[key] = _Storage(memoryview(data), dtype, itemsize)
            return storages[key]

        names = _DATA_NAMES | _STORAGE_NAMES
        return _Machine(frozenset(names), persistent).run(io.BytesIO(entry_bytes(pickles[0])))


def _read_pickle(file: BinaryIO) -> Any:
    # A memory map reads no more than there is, whatever length an opcode claims.
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        return _Machine(_DATA_NAMES).run(mapped)


def _printable(message: str) -> str:
    # Names come from the file: they must not steer the terminal or break the line.
    return "".join(character if character.isprintable() else "?" for character in message)


def read_pickled_networks(path: Path) -> dict[str, Any]:
    """Read a network pickle of NVIDIA's without running or importing any of its code.

    Args:
        path: a `.pkl` of stylegan2-ada-pytorch or stylegan3, or a TensorFlow one of
            StyleGAN or StyleGAN2, or such an object saved with torch.save.

    Returns:
        The snapshot's entries: for the PyTorch files `G`, `D`, `G_ema` as `SavedModule` (and
        whatever else it holds, in plain containers), for the TensorFlow files `G`, `D` and
        `G_ema` as `SavedTensorFlowNetwork`. A file of one bare network gives only `G_ema`.

    Raises:
        CheckpointError: the file cannot be read, is no such pickle, or asks for anything beyond
            the table of known names.
    """
    try:
        if path.stat().st_size == 0:
            _refuse("is empty")
        if zipfile.is_zipfile(path):
            found = _read_zip(path)
        else:
            with path.open("rb") as file:
                found = _read_pickle(file)
    except _RefusedError as refused:
        raise CheckpointError(
            f"{path} {_printable(str(refused))}; only tensors and settings are read from a pickle: "
            "if you trust the file, export its state dict to .safetensors with its own code"
        ) from None
    except (ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
        raise CheckpointError(
            f"{path} is no sound pickle ({_printable(str(error))[:120]}); download it again"
        ) from None
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be read ({error.strerror or error}); name a .pkl file"
        ) from error
    if isinstance(found, SavedModule | SavedTensorFlowNetwork):
        return {"G_ema": found}
    if isinstance(found, tuple) and len(found) == 3:
        return dict(zip(("G", "D", "G_ema"), found, strict=True))
    if isinstance(found, dict) and all(isinstance(name, str) for name in found):
        return dict(found)
    raise CheckpointError(
        f"{path} holds a {type(found).__name__}, no snapshot of networks; name a .pkl that "
        "StyleGAN's training wrote"
    )
