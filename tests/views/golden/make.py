"""Make the golden arrays that `test_golden.py` compares the image views with. Run by hand, on Python 3.11:

    pip install torch==2.14.1 torchvision==0.29.1
    python tests/views/golden/make.py

`operations.npz` has the result of each of torchvision's operations, with given parameters. `draws.npz` has parameters
that torchvision's transforms drew. `views.npz` has the mean and the standard deviation of measures of whole views by
torchvision's pipelines, which are those of MMCL's released code at a small size.
"""

import itertools
import zlib
from pathlib import Path

import numpy as np
import torch
from torchvision import transforms
from torchvision.transforms import functional

FOLDER = Path(__file__).parent
WINDOWS = [  # first row, first column, height, width, of a picture of 9 x 11
    (0, 0, 9, 11),
    (0, 0, 4, 5),
    (5, 6, 4, 5),
    (2, 3, 5, 2),
    (8, 10, 1, 1),
    (3, 0, 3, 11),
]
SIZES = [(4, 5), (9, 11), (14, 13)]
PIPELINES = {
    "dvm": {"jitter": (0.8, 0.8), "grey": 0.2, "blur": 0.5, "scale": (0.08, 1.0)},
    "cardiac": {"rotation": 45.0, "jitter": (1.0, 0.5), "scale": (0.2, 1.0)},
}
DRAWS, VIEWS = 4000, 6000


def operations() -> dict[str, np.ndarray]:
    """The results by "OPERATION/PARAMETERS", the parameters separated by commas."""
    generator = torch.Generator().manual_seed(0)
    colour = torch.rand((3, 9, 11), generator=generator)
    grey, large = torch.rand((1, 9, 11), generator=generator), torch.rand((1, 31, 30), generator=generator)
    made = {"colour": colour, "grey": grey, "large": large}
    for window, size in itertools.product(WINDOWS, SIZES):
        made[f"crop/{','.join(map(str, (*window, *size)))}"] = functional.resized_crop(
            colour, *window, size, antialias=False
        )
    for size in SIZES:
        made[f"resize/{size[0]},{size[1]}"] = functional.resize(colour, size, antialias=False)
    made["flip/"] = functional.hflip(colour)
    for degrees in (-45.0, -10.0, 7.3, 33.0):
        made[f"rotate/{degrees}"] = functional.rotate(colour, degrees)
    for factor in (0.0, 0.2, 1.0, 1.8):
        made[f"adjust/brightness:{factor}"] = functional.adjust_brightness(colour, factor)
        made[f"adjust/contrast:{factor}"] = functional.adjust_contrast(colour, factor)
        made[f"adjust/saturation:{factor}"] = functional.adjust_saturation(colour, factor)
        made[f"adjust_grey/brightness:{factor}"] = functional.adjust_brightness(grey, factor)
        made[f"adjust_grey/contrast:{factor}"] = functional.adjust_contrast(grey, factor)
    for turn in (-0.5, -0.1, 0.0, 0.2):
        made[f"adjust/hue:{turn}"] = functional.adjust_hue(colour, turn)
    for names in itertools.permutations(("brightness", "contrast", "saturation", "hue")):
        changed = colour
        amounts = {"brightness": 1.4, "contrast": 0.5, "saturation": 1.7, "hue": 0.1}
        for name in names:
            changed = getattr(functional, f"adjust_{name}")(changed, amounts[name])
        made["adjust/" + ",".join(f"{name}:{amounts[name]}" for name in names)] = changed
    made["greyscale/"] = functional.rgb_to_grayscale(colour, 3)
    for kernel, sigma in itertools.product((7, 29), (0.1, 0.7, 2.0)):
        made[f"blur/{kernel},{sigma}"] = functional.gaussian_blur(large, [kernel, kernel], [sigma, sigma])
    return {name: image.permute(1, 2, 0).numpy() for name, image in made.items()}


def draws() -> dict[str, np.ndarray]:
    """What the transforms drew: `crop/HEIGHT,WIDTH` [N, 4], `order` and `factors` [N, 4] of the jitter, `sigma` [N]."""
    made: dict[str, np.ndarray] = {}
    for height, width in ((32, 32), (30, 50), (64, 20)):
        image = torch.zeros((3, height, width))
        windows = [transforms.RandomResizedCrop.get_params(image, (0.08, 1.0), (3 / 4, 4 / 3)) for _ in range(DRAWS)]
        made[f"crop/{height},{width}"] = np.array(windows, np.uint8)
    jitter = transforms.ColorJitter(0.8, 0.4, 1.5, 0.2)
    drawn = [jitter.get_params(jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue) for _ in range(DRAWS)]
    made["order"] = np.array([order.tolist() for order, *_ in drawn], np.uint8)
    made["factors"] = np.array([factors for _, *factors in drawn], np.float32)
    made["sigma"] = np.array([transforms.GaussianBlur.get_params(0.1, 2.0) for _ in range(DRAWS)], np.float32)
    return made


def picture() -> torch.Tensor:
    """A picture [3, 32, 32] with colours, slopes and edges, different in every part; a whole number of 255ths."""
    y, x = torch.meshgrid(torch.linspace(0, 1, 32), torch.linspace(0, 1, 32), indexing="ij")
    edges = ((8 * x).floor() + (5 * y).floor()) % 2
    image = torch.stack([0.2 + 0.7 * x * y + 0.1 * edges, 0.8 - 0.6 * y + 0.2 * edges, 0.3 + 0.3 * x - 0.2 * edges])
    return (image.clip(0, 1) * 255).round() / 255


def pipeline(*, jitter: tuple[float, float], scale: tuple[float, float], grey: float = 0, blur: float = 0,
             rotation: float = 0) -> transforms.Compose:  # fmt: skip
    """torchvision's pipeline from 32 x 32 to 16 x 16 pixels."""
    share, strength = jitter
    steps = [
        transforms.RandomRotation(rotation),
        transforms.RandomApply([transforms.ColorJitter(strength, strength, strength)], share),
        transforms.RandomGrayscale(grey),
        transforms.RandomApply([transforms.GaussianBlur(29, (0.1, 2.0))], blur),
        transforms.RandomResizedCrop(16, scale, antialias=False),
        transforms.RandomHorizontalFlip(),
    ]
    return transforms.Compose(steps)


def measures(views: np.ndarray) -> np.ndarray:
    """Measures of views [N, H, W, 3]: [N, 11]. The same stand in `test_golden.py`."""
    mean, deviation = views.mean((1, 2)), views.std((1, 2))
    across = np.abs(np.diff(views, axis=2)).mean((1, 2, 3))
    down = np.abs(np.diff(views, axis=1)).mean((1, 2, 3))
    grey = (np.ptp(views, axis=3) < 1e-4).all((1, 2)).astype(np.float64)
    tilt = views[:, :, :8].mean((1, 2, 3)) - views[:, :, 8:].mean((1, 2, 3))
    black = (views == 0).mean((1, 2, 3))
    return np.column_stack([mean, deviation, across, down, grey, tilt, black])


def main() -> None:
    """Write the three files."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    np.savez_compressed(FOLDER / "operations.npz", **operations())
    np.savez_compressed(FOLDER / "draws.npz", **draws())
    image = picture()
    made = {"picture": (image.permute(1, 2, 0) * 255).round().numpy().astype(np.uint8), "count": np.array(VIEWS)}
    for name, options in PIPELINES.items():
        torch.manual_seed(zlib.crc32(name.encode()))
        augment = pipeline(**options)
        views = torch.stack([augment(image) for _ in range(VIEWS)]).permute(0, 2, 3, 1).numpy().astype(np.float64)
        found = measures(views)
        made[f"{name}/mean"], made[f"{name}/deviation"] = found.mean(0), found.std(0)
    np.savez_compressed(FOLDER / "views.npz", **made)


if __name__ == "__main__":
    main()
