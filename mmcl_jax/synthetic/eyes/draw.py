"""Painting the photograph of a drawn eye."""

import dataclasses

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from mmcl_jax.synthetic.eyes.anatomy import Camera, Eye, Marks
from mmcl_jax.synthetic.eyes.vessels import Vessel, grow

FINE = 3  # times the size of the photograph, in which lines are drawn to have smooth edges


@dataclasses.dataclass(frozen=True, kw_only=True)
class Photograph:
    """A photograph, `pixels` `[H, W, 3]` uint8, and the masks bool `[H, W]` of its disc and of atrophy around it."""

    pixels: np.ndarray
    disc: np.ndarray
    atrophy: np.ndarray


class _Plane:
    """The grid of a photograph: coordinates of pixels in radii of the field of view around its centre.

    The x axis is flipped for left eyes, so that the disc is always drawn on the right.
    """

    def __init__(self, height: int, camera: Camera, random: np.random.Generator, *, left: bool) -> None:
        self.height, self.width = height, round(height * camera.width)
        self.radius = camera.radius * height
        self.middle = np.array([self.width / 2, self.height / 2]) + random.uniform(-0.012, 0.012, 2) * height
        self.sign = -1 if left else 1
        rows, columns = np.mgrid[: self.height, : self.width].astype(np.float32)
        self.x = self.sign * (columns + 0.5 - self.middle[0]) / self.radius
        self.y = (rows + 0.5 - self.middle[1]) / self.radius
        self.away = np.hypot(self.x, self.y)

    def pixel(self, points: np.ndarray) -> np.ndarray:
        """Return the positions `[n, 2]` in the fine picture of points in radii."""
        return FINE * (points * np.array([self.sign, 1]) * self.radius + self.middle)

    def near(self, x: float, y: float, radius: float, softness: float, *, tall: float = 1.0) -> np.ndarray:
        """Return `[H, W]`, 1 inside an ellipse and 0 outside."""
        distance = np.hypot(self.x - x, (self.y - y) / tall)
        return 1 / (1 + np.exp(np.clip((distance - radius) / max(softness, 0.4 / self.radius), -30, 30)))


def photograph(eye: Eye, camera: Camera, height: int, random: np.random.Generator) -> Photograph:
    """Return the photograph of an eye.

    Args:
      eye: its anatomy.
      camera: how the photograph looks.
      height: of the photograph in pixels.
      random: the source of everything that the anatomy leaves open: the course of the vessels, the position of disc,
        fovea and lesions, the texture, the illumination and the noise.
    """
    # Streams of their own, so that eyes that differ in one respect are alike in all others.
    random, of_ground, of_vessels, of_light, *of_marks = random.spawn(4 + len(eye.marks))
    plane = _Plane(height, camera, random, left=eye.left)
    disc = np.array([0.47, -0.02]) + random.normal(0, 0.025, 2)
    fovea = np.array([disc[0] - 0.62, disc[1] + 0.09]) + random.normal(0, 0.02, 2)
    retina = _retina(eye, plane, fovea, of_ground)
    atrophy = np.zeros((plane.height, plane.width), np.float32)
    if eye.atrophy:
        reach = eye.disc * eye.atrophy
        side = disc - np.array([0.55 * (reach - eye.disc), 0])  # towards the fovea
        wobble = 1 + 0.12 * np.sin(3 * np.arctan2(plane.y - side[1], plane.x - side[0]) + random.uniform(0, 6))
        atrophy = plane.near(side[0], side[1], reach, 0.012, tall=1.1) * np.clip(wobble, 0, 1)
        retina = _over(retina, atrophy * 0.9, np.array([0.97, 0.83, 0.6]))
    retina = _disc(retina, eye, plane, disc)
    vessels = grow(of_vessels, disc=disc, fovea=fovea, artery=eye.artery, vein=eye.vein, tortuosity=eye.tortuosity)
    thin = 1 - 0.45 * plane.near(disc[0], disc[1], 0.8 * eye.disc, 0.03)  # vessels are translucent over the disc
    for artery, dark in ((False, np.array([0.6, 0.34, 0.32])), (True, np.array([0.8, 0.5, 0.44]))):
        mask = thin * _lines([vessel for vessel in vessels if vessel.artery == artery], plane)
        retina = retina * (1 - mask[..., None] * (1 - dark))
    for marks, own in zip(eye.marks, of_marks, strict=True):
        retina = _marks(retina, marks, plane, fovea, own)
    pixels = _taken(retina, eye, plane, camera, of_light)
    outline = plane.near(disc[0], disc[1], eye.disc, 0.0, tall=1.12) > 0.5
    seen = plane.away < 1
    return Photograph(pixels=pixels, disc=outline & seen, atrophy=(atrophy > 0.5) & seen & ~outline)


def _retina(eye: Eye, plane: _Plane, fovea: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return the retina `[H, W, 3]` without disc and vessels."""
    shape = (plane.height, plane.width)
    darker = np.array([0.78, 0.36, 0.16]) * np.exp(-eye.pigment * np.array([0.08, 0.17, 0.15]))
    retina: np.ndarray = np.broadcast_to(darker, (*shape, 3)).astype(np.float32)
    cloud = _texture(random, shape, 0.3 * plane.radius) + 0.5 * _texture(random, shape, 0.08 * plane.radius)
    retina = retina * (1 + 0.05 * cloud[..., None])
    if eye.tessellation:
        # Vessels of the choroid are wide, blurred bands that run across the photograph.
        bands = _texture(random, shape, (0.05 * plane.radius, 0.11 * plane.radius))
        gaps = np.clip(np.abs(bands) - 0.25, 0, 1.5) * np.clip(plane.away * 1.4, 0.25, 1)
        retina = retina * (1 + eye.tessellation * gaps[..., None] * np.array([0.08, 0.24, 0.2]))
    macula = np.exp(-((plane.x - fovea[0]) ** 2 + (plane.y - fovea[1]) ** 2) / (2 * 0.17**2))
    pit = np.exp(-((plane.x - fovea[0]) ** 2 + (plane.y - fovea[1]) ** 2) / (2 * 0.05**2))
    return retina * (1 - macula[..., None] * np.array([0.14, 0.32, 0.36]) - pit[..., None] * np.array([0.1, 0.14, 0.1]))


def _disc(retina: np.ndarray, eye: Eye, plane: _Plane, disc: np.ndarray) -> np.ndarray:
    """Return the retina with the optic disc: a pink rim around a pale cup."""
    x, y = disc
    soft = 0.008 + 0.09 * eye.swelling
    glow = np.exp(-np.clip(np.hypot(plane.x - x, plane.y - y) - eye.disc, 0, None) / 0.1)
    retina = retina * (1 + 0.1 * glow[..., None])
    pale = np.array([0.9, 0.8, 0.64])
    rim = (1 - eye.pallor) * np.array([0.96, 0.66, 0.38]) + eye.pallor * pale
    retina = _over(retina, plane.near(x, y, eye.disc * (1 + 0.25 * eye.swelling), soft, tall=1.12), rim)
    if eye.swelling < 0.5:
        cup = plane.near(x - 0.1 * eye.disc, y, eye.cup * eye.disc, 0.01, tall=1.06)
        retina = _over(retina, 0.95 * cup, np.array([0.97, 0.9, 0.72]))
    return retina


def _lines(vessels: list[Vessel], plane: _Plane) -> np.ndarray:
    """Return how much of each pixel the vessels cover, `[H, W]`."""
    fine = Image.new("L", (FINE * plane.width, FINE * plane.height))
    pen = ImageDraw.Draw(fine)
    for vessel in vessels:
        width = FINE * vessel.width * plane.radius
        shade = 255 if width >= 1 else int(255 * width)  # a line has at least one pixel
        points = [(float(x), float(y)) for x, y in plane.pixel(vessel.points)]
        pen.line(points, fill=max(shade, 40), width=max(1, round(width)), joint="curve")
    return np.asarray(fine.reduce(FINE), np.float32) / 255


def _marks(
    retina: np.ndarray, marks: Marks, plane: _Plane, fovea: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """Return the retina with lesions of one kind."""
    if not marks.count:
        return retina
    fine = Image.new("L", (FINE * plane.width, FINE * plane.height))
    pen = ImageDraw.Draw(fine)
    places = fovea + np.array(marks.centre) + random.normal(0, marks.spread, (marks.count, 2))
    sizes = marks.size * np.exp(random.normal(0, 0.4, marks.count))
    shapes = random.uniform(0.7, 1.3, (marks.count, 2))
    for place, size, shape in zip(plane.pixel(places), sizes, shapes, strict=True):
        across, down = np.maximum(FINE * size * plane.radius * shape, 1.2)
        pen.ellipse([place[0] - across, place[1] - down, place[0] + across, place[1] + down], fill=255)
    covered = np.asarray(fine.reduce(FINE), np.float32) / 255
    if not marks.sharp:
        covered = np.clip(1.3 * ndimage.gaussian_filter(covered, 0.4 * marks.size * plane.radius), 0, 1)
    return _over(retina, marks.strength * covered, np.array(marks.colour))


def _taken(retina: np.ndarray, eye: Eye, plane: _Plane, camera: Camera, random: np.random.Generator) -> np.ndarray:
    """Return the photograph of the retina, uint8: lens, light, focus, rim and noise."""
    yellow = 1 - eye.yellowing * np.array([0.02, 0.14, 0.55])
    retina = retina * yellow
    turn, tilt = random.uniform(0, 2 * np.pi), random.uniform(0, 0.13)
    light = (1 + tilt * (np.cos(turn) * plane.x + np.sin(turn) * plane.y)) * (1.06 - 0.3 * plane.away**2)
    retina = retina * (random.normal(1, 0.05) * light)[..., None] * np.array(camera.colour)
    retina = _over(retina, np.full(retina.shape[:2], 0.55 * eye.haze), np.array([0.62, 0.5, 0.36]))
    blur = (camera.sharpness + 0.03 * eye.haze) * plane.radius
    retina = ndimage.gaussian_filter(retina, (blur, blur, 0))
    seen = 1 / (1 + np.exp(np.clip((plane.away - 1) / camera.edge * 3, -30, 30)))
    retina = np.clip(retina, 0, 1) ** camera.gamma * seen[..., None]
    noise = camera.noise * random.standard_normal(retina.shape).astype(np.float32)
    return np.clip(255 * (retina + noise * (0.25 + seen[..., None])), 0, 255).astype(np.uint8)


def _over(under: np.ndarray, cover: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Return a picture `[H, W, 3]` with a colour over the share `cover` `[H, W]` of each pixel."""
    return under + cover[..., None] * (colour - under)


def _texture(random: np.random.Generator, shape: tuple[int, int], size: float | tuple[float, float]) -> np.ndarray:
    """Return smooth noise `[H, W]` of unit variance, with structures of a size in pixels."""
    noise = ndimage.gaussian_filter(random.standard_normal(shape).astype(np.float32), size, mode="wrap")
    return (noise - noise.mean()) / max(float(noise.std()), 1e-6)
