"""YOLO: its structure and loss against a detector written in PyTorch, and where the view of an encoder lies."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from ml_collections import ConfigDict

from mmcl_jax.encoders.features import Features
from mmcl_jax.encoders.layers import BatchNorm
from mmcl_jax.encoders.resnet import resnet18
from mmcl_jax.errors import UserError
from mmcl_jax.evaluation.heads.encoded import ViewSpec, simple_spec
from mmcl_jax.evaluation.heads.yolo import Yolo, YoloEncoders, YoloHead, frame_of, stages_of
from mmcl_jax.tasks import Detection
from mmcl_jax.tasks.detection.anchors import scales_of

SHAPES = [(2, 2, 40), (4, 4, 24), (8, 7, 16)]  # the coarsest first; an odd grid is cut


def test_widths_are_those_of_the_paper_on_a_resnet50() -> None:
    neck = nnx.eval_shape(lambda: Yolo([(7, 7, 2048), (14, 14, 1024), (28, 28, 512)], rngs=nnx.Rngs(0)))
    assert neck.widths == (1024, 512, 256)
    kernels = [[layer.conv.kernel.shape for layer in branch.layers] for branch in neck.branches]
    assert [one[0] for one in kernels] == [(1, 1, 2048, 512), (1, 1, 1024 + 256, 256), (1, 1, 512 + 128, 128)]
    assert kernels[0][1:3] == [(3, 3, 512, 1024), (1, 1, 1024, 512)]
    assert all(len(one) == 6 for one in kernels)
    assert [up.conv.kernel.shape for up in neck.ups] == [(1, 1, 512, 256), (1, 1, 256, 128)]


@pytest.mark.parametrize(("stem", "grids"), [("imagenet", [2, 4, 7]), ("cifar", [7, 14, 28])])
def test_the_last_three_stages_are_read(stem: Any, grids: list[int]) -> None:
    """At 56 pixels behind a stem for small images there are 7, 14 and 28 cells, as at 224 behind the usual stem."""
    encoder = nnx.eval_shape(lambda: resnet18(shape=(56, 56, 1), width=0.125, stem=stem, rngs=nnx.Rngs(0)))
    view = jax.ShapeDtypeStruct((1, 56, 56, 1), jnp.float32)
    neck = nnx.eval_shape(lambda: YoloEncoders.decoder_of(encoder, view, rngs=nnx.Rngs(0), dtype=jnp.float32))
    assert [grid[0] for grid in neck.grids] == grids
    assert neck.widths == (32, 16, 16)


@pytest.mark.parametrize(
    ("shapes", "sentence"),
    [([(2, 2, 8), (2, 2, 8), (4, 4, 8)], "A YOLO reads maps whose grids double .* grids 2 x 2, 2 x 2, 4 x 4")],
)
def test_grids_that_do_not_double_are_refused(shapes: list[tuple[int, int, int]], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        Yolo(shapes, rngs=nnx.Rngs(0))


def spec_of(name: str, **options: Any) -> ViewSpec:
    return tuple(sorted({"name": name, "modality": "image", **options}.items()))


def test_the_frame_is_what_the_plain_view_shows() -> None:
    assert frame_of(spec_of("resized", size=(16, 8), picture=None), (40, 20, 1), "image") == (0, 0, 20, 40)
    views = {"view": {"name": "augment", "modality": "image", "size": (8, 8)}}
    plain = simple_spec(ConfigDict({"views": views}), "image", "none")
    assert frame_of(plain, (24, 32, 1), "image") == (0, 0, 32, 24)
    with pytest.raises(UserError, match="--input image: its view 'rotated' draws how an image is turned"):
        frame_of(spec_of("rotated"), (8, 8, 1), "image")


@pytest.mark.foreign
@pytest.mark.parametrize("train", [True, False])
def test_outputs_statistics_and_loss_are_those_of_a_network_in_pytorch(train: bool) -> None:
    torch = pytest.importorskip("torch")
    neck, rng = Yolo(SHAPES, rngs=nnx.Rngs(0)), np.random.default_rng(0)
    for _, module in nnx.iter_graph(neck):  # other statistics and biases than the initial ones
        if isinstance(module, BatchNorm):
            module.mean[...], module.var[...] = module.mean[...] + 0.3, module.var[...] * 1.7
            module.scale[...], module.bias[...] = module.scale[...] * 1.2, module.bias[...] - 0.1
    head = YoloHead(grids=neck.grids, widths=neck.widths)
    weights = {name: arrays[0] for name, arrays in head.new(sum(neck.widths), 21, seeds=[0]).items()}
    given = [rng.normal(size=(3, *shape)).astype(np.float32) for shape in SHAPES]

    def layer(ours: Any) -> Any:
        kernel = np.transpose(np.asarray(ours.conv.kernel[...]), (3, 2, 0, 1))
        conv = torch.nn.Conv2d(kernel.shape[1], kernel.shape[0], kernel.shape[-1], padding="same", bias=False)
        conv.weight.data, norm = torch.tensor(kernel), torch.nn.BatchNorm2d(kernel.shape[0])
        for name, values in (("weight", ours.norm.scale), ("bias", ours.norm.bias)):
            getattr(norm, name).data = torch.tensor(np.asarray(values[...]))
        norm.running_mean, norm.running_var = (
            torch.tensor(np.asarray(v[...])) for v in (ours.norm.mean, ours.norm.var)
        )
        return torch.nn.Sequential(conv, norm, torch.nn.LeakyReLU(0.1)).train(train)

    branches, ups = [[layer(one) for one in b.layers] for b in neck.branches], [layer(up) for up in neck.ups]
    results, fifth, row = [], None, 0
    with torch.no_grad():
        for index, array in enumerate(given):
            x = torch.tensor(np.transpose(array, (0, 3, 1, 2)))
            if fifth is not None:
                coarse = torch.nn.functional.interpolate(ups[index - 1](fifth), scale_factor=2, mode="nearest")
                x = torch.cat([coarse[:, :, : x.shape[2], : x.shape[3]], x], dim=1)
            for number, one in enumerate(branches[index]):
                x = one(x)
                fifth = x if number == 4 else fifth
            kernel = torch.tensor(np.asarray(weights["kernel"][row : row + x.shape[1]]).T[..., None, None])
            row += x.shape[1]
            results.append(torch.nn.functional.conv2d(x, kernel, torch.tensor(np.asarray(weights["bias"][index]))))
    outputs = head(weights, neck([jnp.asarray(one) for one in given], train=train))
    flat = torch.cat([one.flatten(2).transpose(1, 2) for one in results], dim=1)
    np.testing.assert_allclose(outputs, flat.numpy(), atol=2e-4)
    last = branches[-1][-1][1]
    np.testing.assert_allclose(neck.branches[-1].layers[-1].norm.var[...], last.running_var.numpy(), rtol=1e-4)

    size = (28.0, 32.0)  # of the image
    task = Detection(label="x", names=("a", "b"), scales=scales_of((0.0, 0.0, *size), neck.grids))
    boxes = np.full((3, 3, 5), np.nan, np.float32)
    boxes[0, :2] = [[1, 2, 14, 20, 0], [6, 7, 10, 9, 1]]
    boxes[1] = [[0, 0, 28, 32, 1], [20, 20, 27, 31, 0], [20, 20, 27, 30.5, 1]]
    expected = sum(torch_loss(torch, one, boxes, grid, anchors, size) for one, grid, anchors in zip(
        results, task.scales.grids, task.scales.anchors, strict=True,
    ))  # fmt: skip
    assert float(task.mean_loss(outputs, jnp.asarray(boxes))) == pytest.approx(float(expected), rel=1e-4)


def torch_loss(
    torch: Any,
    out: Any,
    boxes: np.ndarray,
    grid: tuple[int, int],
    anchors: tuple[tuple[float, float], ...],
    size: tuple[float, float],
) -> Any:
    """The loss of one grid from torch's own losses of masked maps."""
    (rows, columns), (width, height), batch = grid, size, len(boxes)
    out = out.view(batch, 3, 7, rows, columns).permute(0, 1, 3, 4, 2)
    mask, absent = torch.zeros(out.shape[:-1]), torch.ones(out.shape[:-1])
    wanted, classes = torch.zeros(*out.shape[:-1], 4), torch.zeros(*out.shape[:-1], 2)
    own = torch.tensor(anchors) * torch.tensor([columns / width, rows / height])
    for image, of_image in enumerate(boxes):
        for box in of_image[~np.isnan(of_image[:, 0])].tolist():
            w, h = (box[2] - box[0]) * columns / width, (box[3] - box[1]) * rows / height
            x, y = (box[0] + box[2]) / 2 * columns / width, (box[1] + box[3]) / 2 * rows / height
            i, j = min(int(x), columns - 1), min(int(y), rows - 1)
            both = (own[:, 0].clamp(max=w) + 1) * (own[:, 1].clamp(max=h) + 1)
            iou = both / ((own + 1).prod(dim=1) + (w + 1) * (h + 1) - both)
            best = int(iou.argmax())
            absent[image, iou > 0.5, j, i] = 0
            mask[image, best, j, i] = 1
            wanted[image, best, j, i] = torch.tensor(
                [x - i, y - j, np.log(w / float(own[best, 0])), np.log(h / float(own[best, 1]))]
            )
            classes[image, best, j, i, int(box[4])] = 1
    bce, mse = torch.nn.functional.binary_cross_entropy, torch.nn.functional.mse_loss
    said = torch.sigmoid(out)
    total = sum(2.5 * bce(said[..., n] * mask, wanted[..., n] * mask) for n in (0, 1))
    total += sum(2.5 * mse(out[..., n] * mask, wanted[..., n] * mask) for n in (2, 3))
    total += bce(said[..., 4] * mask, mask) + 0.5 * bce(said[..., 4] * absent, torch.zeros_like(mask))
    return total + bce(said[..., 5:] * mask[..., None], classes * mask[..., None])


def test_an_encoder_without_three_stages_is_refused() -> None:
    stages = tuple(jnp.ones((1, side, side, 2)) for side in (8, 4, 2, 1))
    features = Features(pooled=jnp.ones((1, 2)), stages=stages)
    assert [one.shape[1] for one in stages_of(features)] == [1, 2, 4]
    with pytest.raises(UserError, match="the last 3 stages of an image encoder, and this encoder has 2"):
        stages_of(dataclasses.replace(features, stages=stages[:2]))
