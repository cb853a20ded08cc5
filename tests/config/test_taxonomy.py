"""The taxonomy's experiments: all unions by one file, their names, and the published values."""

import itertools

import pytest

from mmcl_jax.config import edges, experiments, load, shipped, taxonomy, unions
from mmcl_jax.errors import UserError
from mmcl_jax.training.runs.plain import to_plain

pytestmark = pytest.mark.core

DATA = ("two_view_mnist", "mnist_svhn", "oasis")
# facts, 2.2: the edges of two modalities.
BETWEEN = {
    "CR": [("t1", "t1.local"), ("falff", "falff.local")],
    "XX": [("t1", "falff.local"), ("falff", "t1.local")],
    "CC": [("t1.local", "falff.local"), ("falff.local", "t1.local")],
    "RR": [("t1", "falff"), ("falff", "t1")],
}


def test_the_fifteen_unions_are_experiments_of_one_file() -> None:
    names = [name for name in experiments() if name.startswith("taxonomy/") and name.endswith(":oasis")]
    assert len(unions()) == len(set(unions())) == 15
    assert {f"taxonomy/{union}:oasis" for union in unions()} <= set(names)
    assert len({shipped()[f"taxonomy/{union}"] for union in unions()}) == 1


@pytest.mark.parametrize("union", unions())
def test_a_union_is_the_sum_of_its_edges_and_nothing_else(union: str) -> None:
    config, whole = load(f"taxonomy/{union}:oasis"), load("taxonomy/CR-XX-CC-RR:oasis")
    assert [spec.between for spec in config.objective] == [pair for edge in union.split("-") for pair in BETWEEN[edge]]
    read = {text for spec in config.objective for text in spec.between}
    assert set(config.projectors) == read
    assert config.name == union
    for key in ("objective", "projectors", "name"):
        with config.ignore_type():
            config[key] = whole[key]
    assert to_plain(config) == to_plain(whole)


@pytest.mark.parametrize("written", ["xx-cr", "XX-CR", "Cr-xX"])
def test_order_and_case_of_edges_do_not_matter(written: str) -> None:
    said: list[str] = []
    config = load(f"taxonomy/{written}:mnist_svhn", log=said.append)
    assert to_plain(config) == to_plain(load("taxonomy/CR-XX:mnist_svhn"))
    assert said == [f"taxonomy/{written} is taxonomy/CR-XX"]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("taxonomy/CR-XY:oasis", r"has no edge 'XY'.*: a union joins edges by -, some of CR, XX, CC, RR, as in CR-XX"),
        ("taxonomy/ZZ", "The union 'ZZ' has no edge 'ZZ'"),
        ("taxonomy/CR-CR", "names the edge CR twice; name it once"),
        ("taxonomy/CR-XX:oass", r"takes no argument 'oass' \(did you mean 'oasis'\?\)"),
        ("taxonomy/unions", "There is no config 'taxonomy/unions'"),
    ],
)
def test_a_name_of_no_union_is_refused(name: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        load(name)


def test_unions_join_any_number_of_modalities() -> None:
    specs = edges("CR-CC", ("a", "b", "c"), penalty=0.05)
    pairs = [(f"{a}.local", f"{b}.local") for a, b in itertools.permutations("abc", 2)]
    assert [spec.between for spec in specs] == [*((name, f"{name}.local") for name in "abc"), *pairs]
    assert {spec.penalty for spec in specs} == {0.05}
    assert [spec.between for spec in edges("CR", ("a",))] == [("a", "a.local")]
    with pytest.raises(UserError, match="The edge RR joins two modalities, and there is one, 'a'; use CR"):
        edges("CR-RR", ("a",))


@pytest.mark.parametrize("data", DATA)
def test_the_values_are_the_published_ones(data: str) -> None:
    """facts, 4."""
    config = load(f"taxonomy/XX:{data}")
    assert (config.seed, config.batch_size, config.batch_norm.group_size) == (343, 64, 64)
    assert config.epochs == (200 if data == "oasis" else 50)
    assert (config.optimizer.name, config.optimizer.weight_decay) == ("radam", 0.0)
    cycle = config.schedule
    assert (cycle.name, cycle.learning_rate, cycle.rise, cycle.b1) == ("one_cycle", 0.01, 0.3, (0.85, 0.95))
    assert cycle.learning_rate * cycle.start == pytest.approx(4e-4)
    assert config.validation.epochs == 1
    assert config.sampler.name == ("balanced" if data == "oasis" else "shuffle")
    terms = [{**spec} for spec in config.objective]
    assert {(t["critic"], t["estimator"], t["clip"], t["penalty"]) for t in terms} == {("scaled", "infonce", 20, 0.04)}
    assert {spec.name for key, spec in config.projectors.items() if ".local" not in key} == {"identity"}


def test_another_head_is_one_override_of_each_modality() -> None:
    names = taxonomy("oasis").modalities
    config = load("taxonomy/RR:oasis", [f"projectors.{name}.name=latent_mlp" for name in names])
    assert {(spec.name, spec.hidden, spec.out) for spec in config.projectors.values()} == {("latent_mlp", 64, 64)}


def test_there_is_no_other_preset() -> None:
    with pytest.raises(UserError, match="There is no preset for the data 'photos'; choose from two_view_mnist, mnist"):
        taxonomy("photos")
