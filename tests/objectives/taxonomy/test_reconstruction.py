"""The term `reconstruction` against the same loss by hand in float64, and in training."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from ml_collections import ConfigDict

from mmcl_jax.config import apply, decoder, encoder, experiment, input, term, view
from mmcl_jax.data.arrays_store import store_of_arrays
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError
from mmcl_jax.objectives import reconstruction
from mmcl_jax.training.build import Experiment, build_experiment
from tests.encoders.operations.test_halve import by_definition
from tests.training.walk import begin, compiled, walk

ROWS, SIDE = 24, 32


def by_hand(layers: nnx.Module, features: np.ndarray, views: np.ndarray) -> float:
    """Normalisation by the batch, transposed convolutions as sums of kernels, the mean of squares; in float64."""
    decode = layers["decoder"]
    x = np.einsum("bi,...io->b...o", features, np.asarray(decode.layers[0].kernel[...], np.float64))
    for layer, norm in zip(decode.layers[1:], decode.norms, strict=True):
        axes = tuple(range(x.ndim - 1))
        mean, var = x.mean(axis=axes), x.var(axis=axes)
        scale, bias = (np.asarray(array[...], np.float64) for array in (norm.scale, norm.bias))
        x = np.maximum((x - mean) / np.sqrt(var + 1e-5) * scale + bias, 0)
        x = by_definition(x, np.asarray(layer.kernel[...], np.float64))
    return float(((1 / (1 + np.exp(-x)) - views) ** 2).mean())


@pytest.mark.core
@pytest.mark.parametrize("shape", [(32, 32, 2), (32, 32, 32, 1)], ids=["image", "volume"])
def test_the_loss_by_hand(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    features, views = rng.normal(size=(3, 5)), rng.random((3, *shape))
    made = reconstruction(decoder=decoder("dcgan", width=2))
    layers = made.init(nnx.Rngs(0), features, views=views)
    for norm in layers["decoder"].norms:
        for array, low in ((norm.scale, 0.5), (norm.bias, -0.5)):
            array.set_value(jnp.asarray(rng.uniform(low, low + 1, array.shape), jnp.float32))
    expected = by_hand(layers, features, views)
    graph, state = nnx.split(layers)

    @jax.jit
    def loss(features: jax.Array, views: jax.Array, present: jax.Array | None) -> jax.Array:
        return made(features, layers=nnx.merge(graph, state, copy=True), views=views, present=present)

    assert float(loss(features, views, None)) == pytest.approx(expected, rel=1e-5)
    if len(shape) == 3:  # absent rows count nowhere, whatever they hold
        present = np.array([True, False, True, True])
        junk = [np.insert(array, 1, 1e3, axis=0) for array in (features, views)]
        assert float(loss(*junk, present)) == pytest.approx(expected, rel=1e-5)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Pictures and volumes of light squares on a dark ground."""
    rng = np.random.default_rng(0)
    image = np.kron(rng.integers(0, 2, (ROWS, 4, 4, 1)), np.ones((1, 8, 8, 1)))
    scan = np.kron(rng.integers(0, 2, (ROWS, 2, 2, 2, 1)), np.ones((1, 16, 16, 16, 1)))
    arrays = {"image": ("image", np.uint8(200 * image)), "scan": ("volume", np.uint8(200 * scan))}
    return store_of_arrays(tmp_path_factory.mktemp("blocks") / "store", arrays, split=(0.7, 0.15, 0.15))


def autoencoders(store: Store, *names: str) -> ConfigDict:
    config = experiment()
    config.name, config.data = "autoencoders", str(store.directory)
    config.batch_size, config.batch_norm.group_size, config.epochs = 8, 2, 20
    config.inputs = {name: input() for name in names}
    views = {
        "image": view("resized", size=(SIDE, SIDE)),
        "scan": view("resized_volume", modality="scan", size=(SIDE, SIDE, SIDE)),
    }
    config.views = {name: views[name] for name in names}
    config.encoders = {name: encoder("dcgan", width=1, features=4) for name in config.inputs}
    config.objective = tuple(
        term("reconstruction", between=(name,), decoder=decoder("dcgan", width=1)) for name in config.inputs
    )
    return config


def test_an_autoencoder_trains_alike_on_devices_and_in_slices(store: Store) -> None:
    """Of images alone, since a step of volumes takes long to compile."""

    def losses(devices: int, *options: str) -> list[float]:
        config = autoencoders(store, "image")
        apply(config, ["schedule.warmup_epochs=0", "schedule.learning_rate=0.05", *options])
        made = build_experiment(config, store, jax.devices()[:devices])
        return walk(compiled(made), *begin(made, 6))

    whole = losses(1)
    np.testing.assert_allclose(losses(2, "micro_batch=4"), whole, rtol=1e-4)
    assert whole[-1] < whole[0]


def built(store: Store, option: str) -> Experiment:
    config = autoencoders(store, "image", "scan")
    apply(config, [option])
    return build_experiment(config, store, jax.devices()[:1])


def test_options_of_a_decoder_are_set_and_checked(store: Store) -> None:
    config = autoencoders(store, "image", "scan")
    apply(config, ["objective.1.decoder.width=3", "objective.1.decoder.name=dcgan"])
    widths = [spec.decoder.width for spec in config.objective]
    assert widths == [1, 3]
    assert term("reconstruction").decoder.width == 32  # no other config's default has changed
    for override, sentence in [
        ("objective.0.decoder.name=gan", "config.objective.0.decoder.name: there is no decoder 'gan'"),
        ("objective.0.decoder.width=0", "config.objective.0: decoder: width must be positive, not 0."),
        ("objective.0.decoder.width=wide", "config.objective.0: decoder.width: 'wide' is not of type int."),
        ("objective.0.decoder.depth=3", "config.objective.0.decoder.depth: there is no such key"),
        ("views.image.size=(32,64)", "config.encoders.image: dcgan takes images and volumes whose sides are all"),
    ]:
        with pytest.raises(UserError) as caught:
            built(store, override)
        assert sentence in str(caught.value)


def test_a_view_that_is_no_image_is_named() -> None:
    with pytest.raises(ValueError, match=r"between must name a view of an image or a volume, and 'image' is none"):
        reconstruction().init(nnx.Rngs(0), np.ones((2, 8), np.float32), views=np.ones((2, 5), np.float32))
    with pytest.raises(UserError, match=r"there are 1 arrays of features and 2 of views; give one view each"):
        reconstruction().init(nnx.Rngs(0), np.ones((2, 8), np.float32), views=(np.ones((2, 5)), np.ones((2, 5))))
