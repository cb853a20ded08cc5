"""Read pickles as data: an interpreter of pickle's opcodes that has no way to import or call anything.

Python's own unpickler calls what a file names. This one builds lists, tuples and dicts, numbers and texts; tensors
become `TensorRef`, and instances of other classes become `OPAQUE`, whose content is dropped. Classes and functions that
files of weights and settings do not need are refused by name, so that a hostile file is told from a harmless one.
"""

import dataclasses
import pickletools
import re
from typing import Any, NamedTuple

from mmcl_jax.errors import UserError


class PickleError(UserError):
    """A pickle names what it has no use for, or is damaged."""


class Name(NamedTuple):
    """A class or function that a pickle names, which is never imported."""

    module: str
    name: str


class StorageRef(NamedTuple):
    """An array of a file, which tensors are views of.

    Attributes:
      kind: PyTorch's name of its type, such as "FloatStorage".
      key: its name in the file.
      numel: its number of elements.
    """

    kind: str
    key: str
    numel: int


@dataclasses.dataclass(frozen=True)
class TensorRef:
    """A tensor: a view of a storage, with offset and strides in elements."""

    storage: StorageRef
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Opaque:
    """An instance of another class."""

    def __repr__(self) -> str:
        return "OPAQUE"


OPAQUE = _Opaque()

# The names, as MODULE.NAME, that files of weights and settings contain. None of them is imported.
_KNOWN = re.compile(
    r"torch\.(\w+Storage|Size|device|strided|((b?float|u?int|complex)\d+|bool|half|double|long)\w*)"
    r"|torch\.storage\.(Typed|Untyped)Storage"
    r"|torch\._utils\._rebuild_(tensor|tensor_v2|parameter|parameter_with_state)"
    r"|torch\.nn\.parameter\.(Parameter|Buffer)|torch\.(_tensor\.)?Tensor"
    r"|collections\.(OrderedDict|defaultdict|Counter)|argparse\.Namespace|types\.SimpleNamespace"
    r"|(builtins|__builtin__)\.(dict|list|tuple|set|frozenset|int|float|bool|str|unicode|bytes|bytearray|complex|object"
    r"|slice|range|xrange)"
    r"|copy_?reg\.(_reconstructor|__newobj__)|_codecs\.encode|typing\.\w+"
    r"|numpy\.(dtype|ndarray|bool_?|(float|u?int|complex)\d+|dtypes\.\w+)"
    r"|numpy\._?core\.multiarray\.(scalar|_reconstruct)"
    r"|pathlib(\._local)?\.(Pure)?(Posix|Windows)?Path|datetime\.(datetime|timedelta|timezone|date)"
    r"|(omegaconf|pytorch_lightning|lightning|lightning_fabric|torchmetrics)(\.\w+)+"
)
_DICTS = {("collections", "OrderedDict"), ("collections", "defaultdict"), ("builtins", "dict"), ("__builtin__", "dict")}
_PLAIN = (str, bytes, int, float, type(None))

_VALUES = (
    "NONE", "NEWTRUE", "NEWFALSE", "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
    "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES",
    "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
)  # fmt: skip
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}


def read_pickle(file: Any, source: str) -> Any:
    """Return the content of the pickle at the position of a file, which is left behind the pickle.

    Args:
      file: a binary file, such as `io.BytesIO` or `mmap.mmap`, whose `read(n)` allocates no more than what is left.
      source: the name of the file, for messages.

    Raises:
      PickleError: the pickle names a class or function that weights do not need, or it is damaged.
    """
    try:
        machine = _Machine(source)
        for opcode, argument, _ in pickletools.genops(file):
            if opcode.name == "STOP":
                return machine.stack.pop()
            machine.run(opcode.name, argument)
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, MemoryError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)[:200]
        raise PickleError(f"{source} is damaged ({reason}); get the file again.") from error
    raise PickleError(f"{source} is damaged (a pickle has no end); get the file again.")


class _Machine:
    """The stack, the marks on it and the memo of a pickle that is being read."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self, name: str, argument: Any) -> None:
        """Run one opcode."""
        stack = self.stack
        if name in _VALUES:
            stack.append(_CONSTANTS.get(name, argument))
        elif name in ("PROTO", "FRAME"):
            pass
        elif name == "MARK":
            self.marks.append(len(stack))
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self.memo[int(argument)] = stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self.memo[int(argument)])
        elif name == "POP":
            if self.marks and self.marks[-1] == len(stack):
                self.marks.pop()
            else:
                stack.pop()
        elif name == "POP_MARK":
            self.above_mark()
        elif name == "DUP":
            stack.append(stack[-1])
        elif name.startswith("EMPTY_"):
            stack.append({"EMPTY_LIST": [], "EMPTY_TUPLE": (), "EMPTY_DICT": {}}.get(name, OPAQUE))
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            stack.append(tuple(self.top(int(name[-1]))))
        elif name in ("TUPLE", "LIST", "DICT", "FROZENSET"):
            items = self.above_mark()
            made = {"TUPLE": tuple(items), "LIST": items, "FROZENSET": OPAQUE}
            stack.append(_dict_of(items) if name == "DICT" else made[name])
        elif name in ("APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS"):
            items = self.top({"APPEND": 1, "SETITEM": 2}[name]) if name in ("APPEND", "SETITEM") else self.above_mark()
            self.extend(stack[-1], items)
        elif name == "BUILD":
            stack.pop()  # the state of an instance, which is dropped
        elif name == "GLOBAL":
            stack.append(self.known(*argument.split(" ", 1)))
        elif name == "STACK_GLOBAL":
            stack.append(self.known(*self.top(2)))
        elif name in ("REDUCE", "NEWOBJ"):
            stack.append(self.instance(*self.top(2)))
        elif name == "NEWOBJ_EX":
            stack.append(self.instance(*self.top(3)[:2]))
        elif name == "OBJ":
            made_by, *arguments = self.above_mark()
            stack.append(self.instance(made_by, tuple(arguments)))
        elif name == "INST":
            stack.append(self.instance(self.known(*argument.split(" ", 1)), tuple(self.above_mark())))
        elif name == "BINPERSID":
            stack.append(_storage(stack.pop()))
        else:
            raise ValueError(f"the opcode {name} has no use in a file of weights")

    def above_mark(self) -> list[Any]:
        """Remove and return what lies above the last mark."""
        at = self.marks.pop()
        items = self.stack[at:]
        del self.stack[at:]
        return items

    def top(self, count: int) -> list[Any]:
        """Remove and return the last values."""
        if len(self.stack) < count:
            raise IndexError("the stack is empty")
        items = self.stack[-count:]
        del self.stack[-count:]
        return items

    def extend(self, target: Any, items: list[Any]) -> None:
        """Add items to a list or dict; an instance drops them."""
        if isinstance(target, list):
            target.extend(items)
        elif isinstance(target, dict):
            target.update(_dict_of(items))
        elif target is not OPAQUE:
            raise TypeError("items of what is no list and no dict")

    def known(self, module: Any, name: Any) -> Name:
        """Return a name that files of weights have.

        Raises:
          PickleError: it is another name.
        """
        if not (isinstance(module, str) and isinstance(name, str)):
            raise TypeError("a name that is no text")
        if not _KNOWN.fullmatch(f"{module}.{name}"):
            raise PickleError(
                f"{self.source} names {module}.{name}, which tensors and settings do not need, so it is not read: "
                "open it where you trust it, and save its state dict with safetensors.torch.save_file."
            )
        return Name(module, name)

    def instance(self, made_by: Any, arguments: Any) -> Any:
        """Return what a call in the pickle stands for; nothing is called."""
        if not isinstance(made_by, Name):
            raise TypeError("a call of what is no name")
        if made_by.module == "torch._utils" and made_by.name.startswith("_rebuild_parameter"):
            return arguments[0]
        if made_by.module == "torch._utils":
            return _tensor(*arguments[:4])
        if made_by in _DICTS:
            pairs = arguments[0] if arguments and isinstance(arguments[0], list) else []
            return _dict_of([value for pair in pairs for value in pair])
        return tuple(arguments[0]) if made_by == ("torch", "Size") else OPAQUE


def _dict_of(items: list[Any]) -> dict[Any, Any]:
    """Return the dict of keys and values in turn. Keys of other types than numbers and texts are left out: the hash of
    nested tuples can take for ever.
    """
    return {key: value for key, value in zip(items[::2], items[1::2], strict=True) if isinstance(key, _PLAIN)}


def _storage(persistent: Any) -> StorageRef:
    """Return the storage that a persistent id names: ("storage", type, key, device, elements[, view])."""
    what, kind, key, _, numel, *view = persistent
    if what != "storage" or not isinstance(kind, Name) or not isinstance(key, str) or not _is_count(numel):
        raise ValueError("a persistent id that names no storage")
    if any(part is not None for part in view):
        raise ValueError("a storage that is a view of another, as PyTorch before 0.4 wrote")
    return StorageRef(kind.name, key, numel)


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any) -> TensorRef:
    if not isinstance(storage, StorageRef) or not _is_count(offset):
        raise ValueError("a tensor without a storage")
    if not (isinstance(shape, tuple) and isinstance(strides, tuple) and len(shape) == len(strides)):
        raise ValueError("a tensor without a shape")
    if not all(map(_is_count, (*shape, *strides))):
        raise ValueError("a tensor whose shape is no numbers")
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    elements = 1
    for size in shape:
        elements *= size
    if elements and (last >= storage.numel or elements > storage.numel):
        raise ValueError("a tensor that is larger than its storage")
    return TensorRef(storage, offset, shape, strides)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63
