"""Make the golden arrays that `test_vit.py` compares Vision Transformers with. Run by hand, on Python 3.11:

    pip install torch==2.14.1 torchvision==0.29.1 timm==1.0.31
    python tests/encoders/transformers/golden/make.py

`vit.npz` has, by case, the state dict of a small model with random weights (`CASE/state/NAME`), two images
(`CASE/pixels` `[2, H, W, 3]`), and all tokens after the last norm (`CASE/tokens` `[2, 1 + L, D]`, the class token
first). The blocks of "torchvision 4" are those of "torchvision 8". `timm 4 to 6` has position embeddings of a grid of
4 x 4, and what timm makes of them for a grid of 6 x 3.
"""

from pathlib import Path

import numpy as np
import timm
import torch
from timm.layers import resample_abs_pos_embed
from torchvision.models import VisionTransformer

FILE = Path(__file__).parent / "vit.npz"
CASES = {"torchvision 8": (16, 8), "torchvision 4": (32, 4)}  # the side of an image, and of a patch


def drawn(model: torch.nn.Module, generator: torch.Generator) -> torch.nn.Module:
    """The model in evaluation mode, with every parameter drawn: scales around 1, all else around 0."""
    with torch.no_grad():
        for name, values in model.named_parameters():
            values.normal_(generator=generator).mul_(values.shape[-1] ** -0.5 if values.ndim == 2 else 0.2)
            if values.ndim == 1 and name.endswith("weight"):
                values.add_(1)
    return model.eval()


def numbers(state: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    return {name: values.detach().numpy() for name, values in state.items()}


def made() -> dict[str, np.ndarray]:
    generator, result = torch.Generator().manual_seed(0), {}

    def add(case: str, state: dict[str, np.ndarray], pixels: torch.Tensor, tokens: torch.Tensor) -> None:
        result.update({f"{case}/state/{name}": values for name, values in state.items()})
        result[f"{case}/pixels"] = pixels.permute(0, 2, 3, 1).numpy()
        result[f"{case}/tokens"] = tokens.detach().numpy()

    first: dict[str, torch.Tensor] = {}
    for case, (side, patch) in CASES.items():
        model = drawn(VisionTransformer(side, patch, 2, 4, 32, 128, num_classes=3), generator)
        shared = {name: values for name, values in first.items() if "layers" in name}
        model.load_state_dict({**model.state_dict(), **shared})
        first = first or model.state_dict()
        pixels, tokens = torch.rand((2, 3, side, side), generator=generator), []
        model.encoder.ln.register_forward_hook(lambda module, given, found, tokens=tokens: tokens.append(found))
        model(pixels)
        own = {name: values for name, values in numbers(model.state_dict()).items() if name not in shared}
        add(case, own, pixels, tokens[0])
    model = drawn(
        timm.models.VisionTransformer(
            img_size=(16, 24), patch_size=8, embed_dim=16, depth=1, num_heads=2, num_classes=3
        ),
        generator,
    )
    pixels = torch.rand((2, 3, 16, 24), generator=generator)
    add("timm 8", numbers(model.state_dict()), pixels, model.forward_features(pixels))
    positions = torch.randn((1, 17, 4), generator=generator)
    result["timm 4 to 6/before"] = positions.numpy()
    result["timm 4 to 6/after"] = resample_abs_pos_embed(positions, [6, 3]).numpy()
    return result


if __name__ == "__main__":
    np.savez_compressed(FILE, **made())
