"""The kernel and the train step in PyTorch, in its usual form. Needs the extra `torch`."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks.synthetic import CATEGORIES, CONTINUOUS

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def wait() -> None:
    """Wait until the GPU is done."""
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def openclip_loss(embeddings: np.ndarray, scale: float, dtype: str) -> tuple[Callable[[], object], int | None]:
    """Return a function that computes OpenCLIP's `local_loss` with its gradients, and the function's peak memory.

    OpenCLIP forms a matrix of logits for each direction and takes two cross-entropies. The memory in bytes is None on
    CPUs, where PyTorch does not report it.
    """
    x, y = (torch.tensor(a, dtype=getattr(torch, dtype), device=DEVICE, requires_grad=True) for a in embeddings)
    targets = torch.arange(len(x), device=DEVICE)

    def run() -> None:
        x.grad = y.grad = None
        a, b = functional.normalize(x, dim=1), functional.normalize(y, dim=1)
        forward, backward = scale * a @ b.T, scale * b @ a.T
        loss = functional.cross_entropy(forward.float(), targets) + functional.cross_entropy(backward.float(), targets)
        (loss / 2).backward()
        wait()

    if DEVICE == "cpu":
        return run, None
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    run()
    return run, torch.cuda.max_memory_allocated() - before


class Rows(torch.utils.data.Dataset[dict[str, Any]]):
    """The rows of arrays, one at a time."""

    def __init__(self, arrays: dict[str, Any]) -> None:
        self.arrays = arrays

    def __len__(self) -> int:
        return len(self.arrays["id"])

    def __getitem__(self, row: int) -> dict[str, Any]:
        """Return a row, of which the image is a tensor [H, W, C] of bytes of its own."""
        rest = {name: array[row] for name, array in self.arrays.items() if name != "image"}
        return {"image": torch.from_numpy(np.array(self.arrays["image"][row])), **rest}


def loader(arrays: dict[str, Any], *, batch_size: int, workers: int) -> Iterator[dict[str, torch.Tensor]]:
    """Yield batches of rows in random order without end, which PyTorch's DataLoader draws in worker processes."""
    order = torch.utils.data.RandomSampler(range(len(arrays["id"])), replacement=True, num_samples=10**9)
    return iter(
        torch.utils.data.DataLoader(
            Rows(arrays),
            batch_size=batch_size,
            sampler=order,
            num_workers=workers,
            persistent_workers=workers > 0,
            multiprocessing_context="spawn" if workers else None,
        )
    )


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 with a projected shortcut where the shape changes."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * width
        self.body = nn.Sequential(
            nn.Conv2d(inputs, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if inputs != outputs or stride != 1:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map a feature map to a feature map."""
        return functional.relu(self.body(x) + self.shortcut(x))


def resnet50() -> nn.Sequential:
    """Return a ResNet-50 without its classifier."""
    layers: list[nn.Module] = [
        nn.Conv2d(3, 64, 7, 2, 3, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1),
    ]
    inputs = 64
    for stage, depth in enumerate((3, 4, 6, 3)):
        for index in range(depth):
            layers.append(Bottleneck(inputs, 64 << stage, 2 if stage and not index else 1))
            inputs = 256 << stage
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


class MMCL(nn.Module):
    """The two towers and projectors of MMCL, and its loss."""

    def __init__(self) -> None:
        super().__init__()
        columns = CONTINUOUS + sum(CATEGORIES)
        table = nn.Sequential(nn.Linear(columns, 2048), nn.BatchNorm1d(2048), nn.ReLU(), nn.Linear(2048, 2048))
        self.towers = nn.ModuleList([resnet50().to(memory_format=torch.channels_last), table])
        self.projectors = nn.ModuleList(
            [nn.Sequential(nn.Linear(2048, 2048), nn.ReLU(), nn.Linear(2048, 128)) for _ in range(2)]
        )

    def forward(self, image: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        """Return the loss of a batch of images [B, 3, H, W] in [0, 1] and one-hot rows [B, 63]."""
        views = zip(self.projectors, self.towers, (image, table), strict=True)
        a, b = (functional.normalize(project(tower(view)).float(), dim=1) for project, tower, view in views)
        logits, targets = 10 * a @ b.T, torch.arange(len(a), device=a.device)
        return (functional.cross_entropy(logits, targets) + functional.cross_entropy(logits.T, targets)) / 2


def mmcl_step(batch: dict[str, np.ndarray], dtype: str, *, compiled: bool) -> Callable[[], Any]:
    """Return a train step without augmentation, on a batch that is on the device, with channels-last and autocast.

    With `compiled`, the model goes through `torch.compile`.
    """
    pixels = torch.tensor(batch["image"]).permute(0, 3, 1, 2).to(DEVICE, memory_format=torch.channels_last)
    table = torch.tensor(batch["table"])
    codes = [functional.one_hot(table[:, CONTINUOUS + i].long(), n) for i, n in enumerate(CATEGORIES)]
    rows = torch.cat([table[:, :CONTINUOUS], *codes], dim=1).to(DEVICE)
    torch.backends.cudnn.benchmark = True
    model = MMCL().to(DEVICE)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-4, weight_decay=1.5e-6, fused=True)
    forward = torch.compile(model) if compiled else model

    def run() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(DEVICE, dtype=torch.bfloat16, enabled=dtype == "bfloat16"):
            loss = forward(pixels.float() / 255, rows)
        loss.backward()
        optimizer.step()
        wait()

    return run
