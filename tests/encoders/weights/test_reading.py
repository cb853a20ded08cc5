"""State dicts are read from the files of PyTorch, safetensors, NumPy and Orbax, and no file runs code."""

import argparse
import contextlib
import pickle
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mmcl_jax.encoders.weights.read import read_state_dict
from mmcl_jax.errors import UserError

from . import made

STATE = {
    "a.weight": np.arange(12, dtype=np.float32).reshape(3, 4),
    "half": np.array([1.5, -2, 65504], np.float16),
    "brain": np.array([1.5, -2, 3e38], made.BFLOAT16),
    "double": np.array(1 / 3),
    "count": np.array(7),
    "empty": np.zeros((0, 3), np.float32),
}


def same(read: dict[str, np.ndarray], state: dict[str, np.ndarray] = STATE) -> bool:
    return read.keys() == state.keys() and all(
        read[key].dtype == array.dtype and np.array_equal(read[key], array) for key, array in state.items()
    )


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("nested", ["", "state_dict", "model"])
def test_files_of_pytorch(tmp_path: Path, nested: str, legacy: bool) -> None:
    path = made.save(tmp_path / "w.pth", STATE, nested=nested, legacy=legacy)
    assert same(read_state_dict(path).tensors)


def test_views_of_a_storage_and_big_endian_numbers(tmp_path: Path) -> None:
    numbers = np.arange(12, dtype=">f4")
    stored = made.storage("FloatStorage", "0", 12)
    content = made.mapping({
        "transposed": made.tensor(stored, (4, 3), (1, 4)),
        "slice": made.tensor(stored, (2,), (3,), offset=4),
    })  # fmt: skip
    path = made.zipped(tmp_path / "w.pt", content, {"0": numbers.tobytes()}, byteorder=b"big")
    read = read_state_dict(path).tensors
    np.testing.assert_array_equal(read["transposed"], numbers.reshape(3, 4).T)
    np.testing.assert_array_equal(read["slice"], [4, 7])


def test_other_formats(tmp_path: Path) -> None:
    from orbax.checkpoint import v1 as ocp

    state = {"conv.kernel": np.ones((2, 2), np.float32), "norms.0.mean": np.arange(3, dtype=np.float32)}
    safetensors.numpy.save_file(state, tmp_path / "w.safetensors")
    np.savez(tmp_path / "w.npz", **{name.replace(".", "/"): array for name, array in state.items()})
    nested = {"conv": {"kernel": state["conv.kernel"]}, "norms": {"0": {"mean": state["norms.0.mean"]}}}
    ocp.save(tmp_path / "w", nested)
    for name in ("w.safetensors", "w.npz", "w"):
        assert same(read_state_dict(tmp_path / name).tensors, state), name


# What Lightning's checkpoints hold beside tensors: none of it is built, and plain settings are read.
HARMLESS = {
    "namespace": made.call(made.name("copyreg", "_reconstructor"), made.name("argparse", "Namespace"),
                           made.name("builtins", "object"), b"N") + b"}(" + made.plain("lr") + made.plain(1) + b"ub",
    "new style": made.name("argparse", "Namespace") + b")\x81}b",
    "omegaconf": made.name("omegaconf.dictconfig", "DictConfig") + b")\x81" + made.mapping({
        "_metadata": made.name("omegaconf.base", "ContainerMetadata") + b")\x81}b", "_type": made.name("typing", "Any"),
    }) + b"b",
    "numpy scalar": made.call(
        made.name("numpy._core.multiarray", "scalar"),
        made.call(made.name("numpy", "dtype"), made.plain("f8"), made.plain(False), made.plain(True)) + b"(tb",
        made.call(made.name("_codecs", "encode"), made.plain("xxxxxxxx"), made.plain("latin1")),
    ),
    "path": made.call(made.name("pathlib", "PosixPath"), made.plain("a")),
    "set": made.call(made.name("builtins", "set"), b"](" + made.plain(1) + b"e"),
    "callback": made.name("pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint"),
}  # fmt: skip


@pytest.mark.parametrize("what", HARMLESS)
def test_settings_of_a_checkpoint_are_passed_over(tmp_path: Path, what: str) -> None:
    array = STATE["a.weight"]
    content = made.mapping({
        "state_dict": made.mapping({"a.weight": made.of_array(array, "0")}),
        "hyper_parameters": made.mapping({"loss": made.plain("clip"), "lr": made.plain(0.1), "x": HARMLESS[what]}),
    })  # fmt: skip
    read = read_state_dict(made.zipped(tmp_path / "w.ckpt", content, {"0": array.tobytes()}))
    assert same(read.tensors, {"a.weight": array})
    assert read.settings == {"loss": "clip", "lr": 0.1}


def hostile(marker: str) -> dict[str, bytes]:
    """Pickles that would make the marker file if they were unpickled, or that are not what they say."""
    touch = made.plain(f"open({marker!r}, 'w').close()")
    array, small = made.of_array(np.ones(2, np.float32), "0"), made.storage("FloatStorage", "0", 2)
    return {
        "os.system": made.call(made.name("os", "system"), made.plain(f"touch {marker}")),
        "posix.system": made.call(made.name("posix", "system"), made.plain(f"touch {marker}")),
        "eval": made.call(made.name("builtins", "eval"), touch),
        "old eval": made.call(made.name("__builtin__", "eval"), touch),
        "exec by stack": made.plain("builtins") + made.plain("exec") + b"\x93(" + touch + b"tR",
        "getattr": made.call(made.name("builtins", "getattr"), made.name("torch", "FloatStorage"), made.plain("x")),
        "instance": b"(" + touch + b"ibuiltins\neval\n",
        "object": b"(" + made.name("builtins", "eval") + touch + b"o",
        "torch": made.call(made.name("torch.storage", "_load_from_bytes"), made.plain(b"x")),
        "dotted": made.call(made.name("torch", "serialization.os.system"), made.plain(f"touch {marker}")),
        "under a harmless root": made.call(made.name("omegaconf", "os.system"), made.plain(f"touch {marker}"))
        + made.call(made.name("os", "system"), made.plain(f"touch {marker}")),
        "nested reduce": made.call(made.call(made.name("builtins", "int")), made.plain("x")),
        "a call of a text": made.call(made.plain("os.system"), made.plain("x")),
        "a call of a tensor": made.call(array, made.plain("x")),
        "extension": b"\x82\x01)R",
        "persistent id": made.plain("os.system") + b"Q",
        "persistent text": b"Pos.system\n",
        "persistent of another kind": made.plain(("file", "/etc/passwd", "0", "cpu", 1)) + b"Q",
        "huge storage": made.tensor(made.storage("FloatStorage", "0", 2**62), (2**62,), (1,)),
        "huge tensor": made.tensor(small, (2**40,), (0,)),
        "tensor beyond its storage": made.tensor(small, (2,), (1,), offset=1),
        "negative stride": made.tensor(small, (2,), (-1,), offset=1),
        "negative size": made.tensor(small, (-2,), (1,)),
        "huge product": made.tensor(small, (2**62, 2**62, 0), (1, 1, 1)),
        "sizes that are no numbers": made.tensor(small, (True,), (1,)),
        "many axes": made.tensor(small, (1,) * 100, (1,) * 100),
        "path as key": made.tensor(made.storage("FloatStorage", "../../../etc/passwd", 2), (2,), (1,)),
        "unknown storage": made.tensor(made.storage("QInt8Storage", "0", 2), (2,), (1,)),
        "missing storage": made.of_array(np.ones(2, np.float32), "9"),
        "text": made.plain("no tensor"),
        "namespace": made.name("argparse", "Namespace") + b")\x81}b",
        "odd items": b"}(" + made.plain("a") + b"u",
        "memo": b"h\x07",
        "huge memo": b"Nr\xff\xff\xff\xff" + b"j\xff\xff\xff\xfe",
        "huge bytes": b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f",
        "huge number": b"\x8b\xff\xff\xff\x7f",
        "digits": b"I" + b"9" * 10_000 + b"\n",
        "a key whose hash takes for ever": b"}()" + b"2\x86" * 60 + b"Nu",
    }  # fmt: skip


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("what", hostile(""))
def test_hostile_files_end_in_a_sentence(tmp_path: Path, what: str, legacy: bool) -> None:
    marker, path = tmp_path / "ran", tmp_path / "w.ckpt"
    content = made.mapping({"state_dict": made.mapping({"x": hostile(str(marker))[what]})})
    if legacy:
        head = b"".join(pickle.dumps(part, 2) for part in (made.MAGIC, made.VERSION, {"little_endian": True}))
        path.write_bytes(head + made.whole(content) + pickle.dumps(["0"], 2) + (2).to_bytes(8, "little") + b"\0" * 8)
    else:
        made.zipped(path, content, {"0": b"\0" * 8})
    with pytest.raises(UserError) as error:
        read_state_dict(path)
    assert str(error.value).startswith(str(path))
    assert not marker.exists()


def test_faults_of_the_zip(tmp_path: Path) -> None:
    """Compressed, renamed, doubled, missing and oversized entries, and another file's magic."""
    content, data = made.mapping({"x": made.of_array(np.ones(2, np.float32), "0")}), np.ones(2, np.float32).tobytes()
    path = tmp_path / "w.pt"
    assert same(read_state_dict(made.zipped(path, content, {"0": data})).tensors, {"x": np.ones(2, np.float32)})

    def refused(sentence: str) -> None:
        with pytest.raises(UserError, match=sentence) as error:
            read_state_dict(path)
        assert str(path) in str(error.value)

    made.zipped(path, content, {"0": data[:-1]})
    refused("has 7 bytes, not 8")
    made.zipped(path, content, {"0": data * 1000})
    refused("has 8000 bytes, more than the 8")
    made.zipped(path, content)
    refused("archive/data/0 is missing")
    for names in ((), ("a/data.pkl", "b/data.pkl"), ("../data.pkl/../x",), ("/data.pkl",)):
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, made.whole(content))
        refused(r"data\.pkl|no file of weights")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", made.whole(content) + b"\0" * 10**6)
    refused("is compressed")
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as archive:
        warnings.simplefilter("ignore", UserWarning)  # of two entries with one name
        for text in (made.whole(content), made.whole(b"N")):
            archive.writestr("archive/data.pkl", text)
    refused("two entries")
    for text in (b"", b"PK", b"GIF89a" + b"\0" * 50, pickle.dumps([1, 2])):
        path.write_bytes(text)
        refused("empty|no file of weights|damaged")
    path.unlink()
    refused("does not exist")


@pytest.mark.parametrize("legacy", [False, True])
def test_a_file_that_is_cut_off_or_changed(tmp_path: Path, legacy: bool) -> None:
    """Whatever bytes change: the right tensors or others of the same shapes, or one sentence."""
    path = tmp_path / "w.pt"
    whole = made.save(path, {"x": np.ones(3, np.float32)}, legacy=legacy).read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError):
            read_state_dict(path)

    @settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
    @example([(29, 2)])  # the length of the first header's extra field, behind which nothing is left
    @example([(610, 2)])  # an offset before the start of the file
    @given(st.lists(st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 255)), min_size=1, max_size=4))
    def changed(edits: list[tuple[int, int]]) -> None:
        text = bytearray(whole)
        for at, value in edits:
            text[at % len(text)] = value
        path.write_bytes(text)
        with contextlib.suppress(UserError):  # any other exception fails
            tensors = read_state_dict(path).tensors
            assert all(isinstance(array, np.ndarray) and array.size <= 3 for array in tensors.values())

    changed()


@pytest.mark.foreign
@pytest.mark.parametrize("zipped", [True, False])
def test_what_pytorch_writes(tmp_path: Path, zipped: bool) -> None:
    torch = pytest.importorskip("torch")
    weight = torch.arange(12.0).reshape(3, 4)
    state = {
        "a": torch.nn.Parameter(weight.t()),
        "b": weight[1:, 2].bfloat16(),
        "c": weight.half(),
        "n": torch.tensor(3),
    }
    settings_of = {"loss": "clip", "lr": np.float64(0.1), "root": Path("a"), "old": argparse.Namespace(a=1)}
    content = {
        "state_dict": state,
        "hyper_parameters": settings_of,
        "optimizer_states": [{"state": {0: {"m": weight}}}],
    }
    torch.save(content, tmp_path / "w.ckpt", _use_new_zipfile_serialization=zipped)
    read = read_state_dict(tmp_path / "w.ckpt")
    assert read.settings == {"loss": "clip"}
    for name, tensor in state.items():
        np.testing.assert_array_equal(read.tensors[name].astype(np.float32), tensor.detach().float().numpy())
    torch.save(torch.nn.Linear(2, 2), tmp_path / "w.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError, match=r"names torch\.nn\.modules\.linear\.Linear"):
        read_state_dict(tmp_path / "w.pt")
