"""Speed and memory of the accelerators that people train on, as their makers publish them."""

import dataclasses
from collections.abc import Mapping

import jax

GB, GIB = 10**9, 2**30


@dataclasses.dataclass(frozen=True)
class Chip:
    """The published limits of one JAX device.

    Attributes:
      name: what people call the chip; topologies begin with this name in small letters.
      flops: dense peak of matrix products in FLOP/s, by the dtype of their arrays. A product of float32 arrays at JAX's
        default precision is one pass in bfloat16 on a TPU, and in TF32 on a GPU that has it.
      bandwidth: bytes per second between the chip and its memory.
      memory: bytes of its memory, of which the runtime keeps a few percent for itself.
    """

    name: str
    flops: Mapping[str, float]
    bandwidth: float
    memory: int


def _tpu(name: str, tera: float, bandwidth: float, memory: int) -> Chip:
    return Chip(name, {"bfloat16": tera * 1e12, "float32": tera * 1e12}, bandwidth * GB, memory * GIB)


def _gpu(name: str, bfloat16: float | None, float32: float, bandwidth: float, memory: int) -> Chip:
    flops = {"bfloat16": bfloat16 * 1e12} if bfloat16 else {}
    return Chip(name, {**flops, "float32": float32 * 1e12}, bandwidth * GB, memory * GB)


# By `jax.Device.device_kind`. TPUs: the pages "TPU versions" of Google Cloud's documentation; v2, v3 and TPU7x give
# every core of a chip as a device, which has half of the chip's figures. GPUs: NVIDIA's data sheets and white papers of
# each architecture, dense (without sparsity), with sums in float32; bfloat16 is absent where the hardware has none.
CHIPS: dict[str, Chip] = {
    "TPU v2": _tpu("v2", 22.5, 350, 8),
    "TPU v3": _tpu("v3", 61.5, 450, 16),
    "TPU v4": _tpu("v4", 275, 1228, 32),
    "TPU v5 lite": _tpu("v5e", 197, 819, 16),
    "TPU v5": _tpu("v5p", 459, 2765, 95),
    "TPU v6 lite": _tpu("v6e", 918, 1640, 32),
    "TPU7x": _tpu("tpu7x", 1153.5, 3690, 96),
    "Tesla V100-SXM2-16GB": _gpu("V100-16GB", None, 15.7, 900, 16),
    "Tesla V100-SXM2-32GB": _gpu("V100", None, 15.7, 900, 32),
    "Tesla T4": _gpu("T4", None, 8.1, 320, 16),
    "NVIDIA A100-SXM4-40GB": _gpu("A100-40GB", 312, 156, 1555, 40),
    "NVIDIA A100-PCIE-40GB": _gpu("A100-PCIe-40GB", 312, 156, 1555, 40),
    "NVIDIA A100-SXM4-80GB": _gpu("A100", 312, 156, 2039, 80),
    "NVIDIA A100 80GB PCIe": _gpu("A100-PCIe", 312, 156, 1935, 80),
    "NVIDIA A10G": _gpu("A10G", 70, 35, 600, 24),
    "NVIDIA A10": _gpu("A10", 125, 62.5, 600, 24),
    "NVIDIA A40": _gpu("A40", 149.7, 74.8, 696, 48),
    "NVIDIA RTX A6000": _gpu("RTX A6000", 154.8, 77.4, 768, 48),
    "NVIDIA GeForce RTX 3090": _gpu("RTX 3090", 71, 35.6, 936, 24),
    "NVIDIA GeForce RTX 4090": _gpu("RTX 4090", 165.2, 82.6, 1008, 24),
    "NVIDIA GeForce RTX 5090": _gpu("RTX 5090", 209.5, 104.8, 1792, 32),
    "NVIDIA L4": _gpu("L4", 121, 60, 300, 24),
    "NVIDIA L40S": _gpu("L40S", 362, 183, 864, 48),
    "NVIDIA H100 80GB HBM3": _gpu("H100", 989.4, 494.7, 3350, 80),
    "NVIDIA H100 PCIe": _gpu("H100-PCIe", 756, 378, 2000, 80),
    "NVIDIA H100 NVL": _gpu("H100-NVL", 835, 417.5, 3900, 94),
    "NVIDIA H200": _gpu("H200", 989.4, 494.7, 4800, 141),
    "NVIDIA GH200 480GB": _gpu("GH200", 989.4, 494.7, 4000, 96),
    "NVIDIA B200": _gpu("B200", 2250, 1125, 7700, 180),
}


def chip_of(device: jax.Device) -> Chip | None:
    """Return the published limits of a device, also of one that a topology describes; None for CPUs and unknown kinds.

    >>> chip_of(jax.devices("cpu")[0]) is None
    True
    """
    return CHIPS.get(device.device_kind)
