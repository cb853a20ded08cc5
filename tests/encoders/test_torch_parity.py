"""The encoders and projectors of MMCL against PyTorch's layers with the same weights: outputs, gradients, statistics.

PyTorch at float64 is the reference. Our modules are compared with it twice: at float32, as they are used, and with all
their arithmetic at float64, where rounding hides nothing. Of ResNet-50 only the second compares gradients: at float32
rounding turns some of its rectifiers on or off, which moves gradients by 1e-2, PyTorch's own as much as ours.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mmcl_jax.encoders import ENCODERS, PROJECTORS, layers
from mmcl_jax.encoders.layers import BatchNorm

torch = pytest.importorskip("torch")
nn = torch.nn

from benchmarks import torch_forms  # noqa: E402
from mmcl_jax.export.modeling_torch.sequences import ResNet1D  # noqa: E402

pytestmark = pytest.mark.foreign
TOLERANCE = {"float32": 1e-4, "float64": 1e-9}  # of an array's error in norm, relative to the array
SIDES = {"float32": 64, "float64": 32}  # of pictures; small ones round off more
BATCH = 8
WIDTHS = (1,) * 13 + (22, 13, 3, 12)  # of DVM
Pairs = Iterator[tuple[nnx.Module, Any]]


class Case(NamedTuple):
    """Our module and PyTorch's, which layer is which, and one batch for each."""

    ours: nnx.Module
    theirs: Any
    pairs: Callable[[nnx.Module, Any], Pairs]
    input: np.ndarray
    their_input: np.ndarray


def widest() -> str:
    return "float64" if jax.config.jax_enable_x64 else "float32"


def build(registry: Any, name: str, **options: Any) -> nnx.Module:
    """Our module at the widest type there is, its batch normalisation over the whole batch."""
    dtype = jnp.dtype(widest())
    given = {
        "shape": (SIDES[widest()], SIDES[widest()], 3),
        "widths": WIDTHS,
        "missing": options.pop("missing", "refuse"),
        "features": options.pop("inputs", 0),
    }
    if registry is ENCODERS:
        del given["features"]

    def norm(channels: int) -> BatchNorm:
        return BatchNorm(channels, group_size=None, momentum=0.9, epsilon=1e-5, dtype=dtype)

    spec = registry.spec(name, **options)
    return registry.build(spec, name, **given, norm=norm, rngs=nnx.Rngs(0), dtype=dtype)


class BasicBlock(nn.Module):
    """3x3 with the stride, 3x3, and a projected shortcut where the shape changes."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, 1, 1, bias=False),
            nn.BatchNorm2d(width),
        )
        self.shortcut: nn.Module = nn.Identity()
        if inputs != width or stride != 1:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Any) -> Any:
        """Feature map to feature map."""
        return torch.relu(self.body(x) + self.shortcut(x))


def torch_resnet18() -> Any:
    """ResNet-18 without its classifier."""
    layers: list[Any] = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    for inputs, width, stride in ((64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2)):
        layers += [BasicBlock(inputs, width, stride), BasicBlock(width, width, 1)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def resnet(name: str, theirs: Any, block: type, rng: np.random.Generator) -> Case:
    def pairs(ours: nnx.Module, theirs: Any) -> Pairs:
        yield from ((ours.conv, theirs[0]), (ours.norm, theirs[1]))
        blocks = [layer for layer in theirs if isinstance(layer, block)]
        mine = itertools.chain.from_iterable(stage.blocks for stage in ours.stages)
        for here, their in zip(mine, blocks, strict=True):
            for place in range(len(their.body) // 3 + 1):  # convolution, norm and rectifier, the last without it
                yield from ((getattr(here, f"conv{place + 1}"), their.body[3 * place]),)
                yield from ((getattr(here, f"norm{place + 1}"), their.body[3 * place + 1]),)
            if here.shortcut:
                yield from ((here.shortcut.conv, their.shortcut[0]), (here.shortcut.norm, their.shortcut[1]))

    # Patches of colour. Of noise, all pictures would look alike after some layers, and normalisation blow up rounding.
    side = SIDES[widest()] // 4
    images = rng.normal(size=(BATCH, 4, 4, 3)).repeat(side, axis=1).repeat(side, axis=2)
    return Case(build(ENCODERS, name), theirs, pairs, images, images.transpose(0, 3, 1, 2))


def resnet18(rng: np.random.Generator) -> Case:
    return resnet("resnet18", torch_resnet18(), BasicBlock, rng)


def resnet50(rng: np.random.Generator) -> Case:
    return resnet("resnet50", torch_forms.resnet50(), torch_forms.Bottleneck, rng)


def table_mlp(rng: np.random.Generator) -> Case:
    def pairs(ours: nnx.Module, theirs: Any) -> Pairs:
        yield from ((ours.layers[0], theirs[0]), (ours.norms[0], theirs[1]), (ours.layers[1], theirs[3]))

    numbers = rng.normal(size=(BATCH, 13))
    codes = [rng.integers(width, size=BATCH) for width in WIDTHS[13:]]
    spread = [np.eye(width)[code] for width, code in zip(WIDTHS[13:], codes, strict=True)]
    theirs = nn.Sequential(nn.Linear(63, 2048), nn.BatchNorm1d(2048), nn.ReLU(), nn.Linear(2048, 2048))
    rows, one_hot = np.column_stack([numbers, *codes]), np.column_stack([numbers, *spread])
    return Case(build(ENCODERS, "table_mlp"), theirs, pairs, rows, one_hot)


class Pooled(nn.Module):
    """An encoder of an export, without its local features."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, x: Any) -> Any:
        """Views to pooled features."""
        return self.encoder(x).pooled


def resnet1d_cbam(rng: np.random.Generator) -> Case:
    options = {"channels": 8, "depths": (1, 1), "reduction": 2, "order": 1}

    def pairs(ours: nnx.Module, theirs: Any) -> Pairs:
        """Every layer that holds weights has the same path in both."""
        for name, layer in theirs.encoder.named_modules():
            if [*layer.parameters(recurse=False)]:
                mine = ours
                for part in name.split("."):
                    mine = mine[int(part)] if part.isdigit() else getattr(mine, part)
                yield mine, layer

    ours = build(ENCODERS, "resnet1d_cbam", missing="token", **options)
    spec = {"widths": WIDTHS, "missing": "token", "options": {**ENCODERS.spec("resnet1d_cbam"), **options}}
    rows = np.stack([rng.normal(size=BATCH) if w == 1 else rng.integers(-1, w, BATCH) for w in WIDTHS], axis=1)
    rows[rng.random(rows.shape) < 0.1] = np.nan
    theirs = Pooled(ResNet1D(spec, 1e-5))
    for weights in theirs.encoder.input.parameters():  # zeros otherwise
        nn.init.normal_(weights)
    return Case(ours, theirs, pairs, rows, rows)


def mlp(rng: np.random.Generator) -> Case:
    def pairs(ours: nnx.Module, theirs: Any) -> Pairs:
        yield from ((ours.hidden, theirs[0]), (ours.out, theirs[2]))

    x = rng.normal(size=(BATCH, 2048))
    theirs = nn.Sequential(nn.Linear(2048, 2048), nn.ReLU(), nn.Linear(2048, 128))
    return Case(build(PROJECTORS, "mlp", inputs=2048), theirs, pairs, x, x)


def linear(rng: np.random.Generator) -> Case:
    x = rng.normal(size=(BATCH, 2048))
    ours = build(PROJECTORS, "linear", inputs=2048)
    return Case(ours, nn.Linear(2048, 128), lambda ours, theirs: iter([(ours.layer, theirs)]), x, x)


def mlp_norm(rng: np.random.Generator) -> Case:
    def pairs(ours: nnx.Module, theirs: Any) -> Pairs:
        yield from zip(ours.layers, (theirs[0], theirs[3], theirs[6]), strict=True)
        yield from zip(ours.norms, (theirs[1], theirs[4]), strict=True)

    x = rng.normal(size=(BATCH, 256))
    hidden = [nn.Linear(256, 512, bias=False), nn.BatchNorm1d(512), nn.ReLU()]
    hidden += [nn.Linear(512, 384, bias=False), nn.BatchNorm1d(384), nn.ReLU()]
    ours = build(PROJECTORS, "mlp_norm", inputs=256, hidden=(512, 384), out=128, out_bias=True)
    return Case(ours, nn.Sequential(*hidden, nn.Linear(384, 128)), pairs, x, x)


def their_arrays(layer: Any, kind: str) -> dict[str, np.ndarray]:
    """A PyTorch layer's "data" or "grad" of parameters, or its "statistics", by our names and in our layouts."""
    if kind == "statistics":
        if not hasattr(layer, "running_mean"):
            return {}
        return {"mean": layer.running_mean.numpy(), "var": layer.running_var.numpy()}
    found = {name: getattr(value, kind).numpy() for name, value in layer.named_parameters()}
    if "weight" not in found:
        return found
    weight = found.pop("weight")
    if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear):
        return {"kernel": np.moveaxis(weight, (1, 0), (-2, -1)), **found}
    if isinstance(layer, nn.ConvTranspose2d | nn.ConvTranspose3d):
        return {"kernel": np.moveaxis(weight, (0, 1), (-2, -1)), **found}
    return {"scale": weight, **found}


def prepared(make: Callable[[np.random.Generator], Case]) -> Case:
    """The case with PyTorch's weights in both; what starts as 0 or 1 drawn instead, lest a mistake in it not show."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    case = make(rng)
    norms = [layer for layer in case.theirs.modules() if hasattr(layer, "running_mean")]
    for norm in norms:
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.uniform_(norm.bias, -0.5, 0.5)
        norm.momentum = 1.0  # takes the statistics of one batch, for evaluation to have sensible ones
    factor = rng.normal(size=case.their_input.shape[:2])  # of each sample and channel, for another batch
    other = case.their_input * factor.reshape(*factor.shape, *[1] * (case.their_input.ndim - 2))
    with torch.no_grad():
        case.theirs.train()(torch.tensor(other, dtype=torch.float32))
    for norm in norms:
        norm.momentum = 0.1
    copied = 0
    for mine, layer in case.pairs(case.ours, case.theirs):
        for name, value in {**their_arrays(layer, "data"), **their_arrays(layer, "statistics")}.items():
            variable = getattr(mine, name)
            assert variable[...].shape == value.shape
            variable.set_value(jnp.asarray(value, widest()))
            copied += 1
    assert copied == len(jax.tree.leaves(nnx.state(case.ours, (nnx.Param, nnx.BatchStat))))  # none is left out
    assert copied == sum(1 for name in case.theirs.state_dict() if not name.endswith("num_batches_tracked"))
    return case


class Step(NamedTuple):
    """What came out, and by layer and name the gradients and the statistics afterwards."""

    output: np.ndarray
    gradients: list[dict[str, np.ndarray]]
    statistics: list[dict[str, np.ndarray]]


def our_step(case: Case, target: np.ndarray, *, train: bool) -> Step:
    graph, params, rest = nnx.split(case.ours, nnx.Param, ...)

    @jax.jit
    def step(params: nnx.State, rest: nnx.State, x: jax.Array, target: jax.Array) -> Any:
        def loss(params: nnx.State) -> Any:
            model = nnx.merge(graph, params, rest, copy=True)
            found = model(x, train=train)
            output = getattr(found, "pooled", found)
            return jnp.square(output - target).mean(), (output, nnx.state(model, nnx.Not(nnx.Param)))

        return jax.grad(loss, has_aux=True)(params)

    gradients, (output, after) = step(params, rest, *(jnp.asarray(a, widest()) for a in (case.input, target)))
    of_gradients = case.pairs(nnx.merge(graph, gradients, rest), case.theirs)
    of_statistics = case.pairs(nnx.merge(graph, params, after), case.theirs)
    return Step(
        np.asarray(output),
        [{k: np.asarray(getattr(mine, k)[...]) for k in their_arrays(layer, "data")} for mine, layer in of_gradients],
        [
            {k: np.asarray(getattr(mine, k)[...]) for k in their_arrays(layer, "statistics")}
            for mine, layer in of_statistics
        ],
    )


def their_step(case: Case, target: np.ndarray, *, train: bool) -> Step:
    case.theirs.double().train(train)
    output = case.theirs(torch.tensor(case.their_input))
    (output - torch.tensor(target)).square().mean().backward()
    layers = [layer for _, layer in case.pairs(case.ours, case.theirs)]
    return Step(
        output.detach().numpy(),
        [their_arrays(layer, "grad") for layer in layers],
        [their_arrays(layer, "statistics") for layer in layers],
    )


def error(found: np.ndarray, true: np.ndarray) -> float:
    """The norm of the difference, relative to the norm of what is true."""
    return float(np.linalg.norm(found - true) / np.linalg.norm(true))


def compare_gradients(found: Step, true: Step, tolerance: float) -> int:
    """Compares every gradient; returns how many are zero by mathematics, of which ours must be zero to rounding."""
    norms = [{name: np.linalg.norm(value) for name, value in layer.items()} for layer in true.gradients]
    whole = np.sqrt(sum(norm**2 for layer in norms for norm in layer.values()))
    zeros = 0
    for place, (mine, theirs) in enumerate(zip(found.gradients, true.gradients, strict=True)):
        for name, value in theirs.items():
            if norms[place][name] < 1e-13 * whole:
                zeros += 1
                assert np.linalg.norm(mine[name]) < tolerance / 1000 * whole, (place, name)
            else:
                assert error(mine[name], value) < tolerance, (place, name)
    return zeros


class Float64Numpy:
    """jax.numpy for a module that says float32, with float64 under that name."""

    float32 = jnp.float64

    def __getattr__(self, name: str) -> Any:
        return getattr(jnp, name)


@pytest.fixture(params=["float32", "float64"])
def precision(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The arithmetic of our modules."""
    if request.param == "float32":
        yield "float32"
        return
    monkeypatch.setattr(layers, "jnp", Float64Numpy())  # batch normalisation computes in float32 by name
    with jax.enable_x64(True):
        yield "float64"


@pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("make", [resnet18, resnet50, table_mlp, resnet1d_cbam, mlp, linear, mlp_norm])
def test_the_same_as_pytorch(make: Callable[[np.random.Generator], Case], train: bool, precision: str) -> None:
    case, tolerance = prepared(make), TOLERANCE[precision]
    # Numbers that float32 holds, so that both precisions get the same.
    case = case._replace(**{key: getattr(case, key).astype(np.float32) for key in ("input", "their_input")})
    case = case._replace(their_input=case.their_input.astype(np.float64))
    target = np.random.default_rng(1).normal(size=(BATCH, case.ours.out_features)).astype(np.float32).astype(np.float64)
    before = [their_arrays(layer, "statistics") for _, layer in case.pairs(case.ours, case.theirs)]
    before = [{name: value.copy() for name, value in layer.items()} for layer in before]
    found, true = our_step(case, target, train=train), their_step(case, target, train=train)
    assert found.output.dtype == precision
    assert error(found.output, true.output) < tolerance
    if not (make in (resnet18, resnet50) and precision == "float32"):
        # The bias before a normalisation cannot matter; MMCL's table encoder has one all the same.
        assert compare_gradients(found, true, tolerance) == int(make is table_mlp and train)
    for place, (mine, theirs) in enumerate(zip(found.statistics, true.statistics, strict=True)):
        for name, value in theirs.items():
            assert error(mine[name], value) < tolerance, (place, name)
            assert (error(mine[name], before[place][name]) > 1e-3) == train, (place, name)  # moved if, and only if


@pytest.mark.parametrize("make", [resnet18, resnet50])
def test_strides_are_pytorchs(make: Callable[[np.random.Generator], Case]) -> None:
    case = make(np.random.default_rng(0))
    convolutions = [(mine, layer) for mine, layer in case.pairs(case.ours, case.theirs) if isinstance(layer, nn.Conv2d)]
    assert len(convolutions) == {resnet18: 20, resnet50: 53}[make]
    for mine, layer in convolutions:
        assert (mine.strides,) * 2 == layer.stride
