"""The values and parts of the taxonomy's experiments (Fedorov et al.): unions of edges between two modalities."""

import dataclasses
import functools
import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from ml_collections import ConfigDict

from mmcl_jax.config.experiment import (
    decoder,
    encoder,
    experiment,
    input,
    optimizer,
    projector,
    sampler,
    schedule,
    term,
    view,
)
from mmcl_jax.encoders import parse_key
from mmcl_jax.errors import UserError, check_name
from mmcl_jax.text import nearest

# The published values, and `_small` ones, with which two cores train in minutes.
TaxonomyData = Literal[
    "two_view_mnist", "mnist_svhn", "oasis", "two_view_mnist_small", "mnist_svhn_small", "oasis_small"
]
EDGES = ("CR", "XX", "CC", "RR")
FEATURES = 64  # of every encoder


@dataclasses.dataclass(frozen=True, kw_only=True)
class Taxonomy:
    """The values of a data set, and methods that return new parts of a config made of them.

    The defaults are the published values of the images. Use `dataclasses.replace` to change some.

    Attributes:
      modalities: names of the modalities.
      of: entry of the store that a modality reads, where it has another name.
      views: functions that return the view of a modality, which is their keyword.
      label: name of the class label.
      width: channels of the encoders' first layer.
      local_side: side of the map whose positions are the local features.
      batch_size: samples per step, which are normalised together.
      epochs: passes over the training split.
      balanced: the class label of which batches have equally many samples of every class; "" for none. Samples without
        it are not drawn.
      samples: of each posterior, in MMVAE; the number is not published.
    """

    modalities: tuple[str, ...]
    views_of: Mapping[str, Callable[..., ConfigDict]]
    of: Mapping[str, str] = dataclasses.field(default_factory=dict)
    label: str = "digit"
    width: int = 32
    local_side: int = 8
    batch_size: int = 64
    epochs: int = 50
    balanced: str = ""
    samples: int = 10

    def experiment(self) -> ConfigDict:
        """Return a config with seed, batch, length, optimizer and schedule; inputs, views, models, terms are empty.

        RAdam at 4e-4 without decay, in one cycle with the peak 0.01 at 30 % of the steps, in which Adam's b1 falls from
        0.95 to 0.85 and rises again; a validation pass after every epoch keeps the best checkpoint.
        """
        config = experiment()
        config.seed = 343
        config.batch_size = self.batch_size
        config.batch_norm.group_size = self.batch_size
        config.epochs = self.epochs
        config.validation.epochs = 1
        config.optimizer = optimizer("radam", weight_decay=0.0)
        config.schedule = schedule("one_cycle", learning_rate=0.01)
        if self.balanced:
            config.sampler = sampler("balanced", label=self.balanced)
        return config

    def inputs(self, *names: str) -> dict[str, ConfigDict]:
        """Return the inputs of these modalities, all by default."""
        return {name: input(of=self.of.get(name, "")) for name in names or self.modalities}

    def views(self, *names: str) -> dict[str, ConfigDict]:
        """Return a view of each of these modalities, all by default, under the modality's name."""
        return {name: self.views_of[name](modality=name) for name in names or self.modalities}

    def encoder(self) -> ConfigDict:
        """Return the encoder that all modalities have, each one of its own."""
        return encoder("dcgan", width=self.width, features=FEATURES, local_side=self.local_side)

    def encoders(self, *names: str) -> dict[str, ConfigDict]:
        """Return the encoders of these modalities, all by default."""
        return {name: self.encoder() for name in names or self.modalities}

    def reconstructions(self) -> tuple[ConfigDict, ...]:
        """Return an autoencoder's term for each modality, whose decoder mirrors the encoder."""
        decoding = decoder("dcgan", width=self.width)
        return tuple(term("reconstruction", between=(name,), decoder=decoding) for name in self.modalities)

    def correlations(self) -> tuple[ConfigDict, ...]:
        """Return a term `cca` on the encoders' features for every two modalities, which counts both orders."""
        pairs = itertools.combinations(self.modalities, 2)
        return tuple(term("cca", between=tuple(f"{name}:none" for name in pair)) for pair in pairs)

    def for_correlations(self) -> "Taxonomy":
        """Return the preset with at least as many rows in a batch as features, which `cca` needs."""
        return dataclasses.replace(self, batch_size=max(self.batch_size, FEATURES))

    def edges(self, union: str, **options: Any) -> tuple[ConfigDict, ...]:
        """Return the terms of a union, such as "CR-XX"; see `edges`."""
        return edges(union, self.modalities, **options)

    def projectors(self, terms: Iterable[ConfigDict]) -> dict[str, ConfigDict]:
        """Return a projector for every feature that the terms read through one, which all terms share.

        Local features have the convolutional head. Pooled features have the paper's head, the identity; that of the
        code of 2024 is `--config.projectors.MODALITY.name=latent_mlp`.
        """
        texts = dict.fromkeys(text for one in terms for text in one.get("between", ()))
        read = [parse_key(text) for text in texts]
        return {
            text: projector("local_shortcut", hidden=64, out=64) if key.local else projector("identity")
            for text, key in zip(texts, read, strict=True)
            if key.head != "none"
        }


def edges(union: str, modalities: Sequence[str], **options: Any) -> tuple[ConfigDict, ...]:
    """Return a term `infomax` for every edge of a union, in both directions, between any number of modalities.

    CR compares a pooled feature with the local features of the same modality. The other edges take all ordered pairs of
    two modalities: XX a pooled with the local features, CC a local feature with the local features, and RR two pooled
    features. `options` are options of the term.

    Raises:
      UserError: the union names an edge that does not exist, or an edge twice, or needs a second modality.

    Example:
      >>> [spec.between for spec in edges("CR-RR", ("t1", "falff"))]
      [('t1', 't1.local'), ('falff', 'falff.local'), ('t1', 'falff'), ('falff', 't1')]
    """
    specs = []
    for edge in union_of(union).split("-"):
        pairs = [(name, name) for name in modalities] if edge == "CR" else list(itertools.permutations(modalities, 2))
        if not pairs:
            raise UserError(f"The edge {edge} joins two modalities, and there is one, {modalities[0]!r}; use CR.")
        source, target = (".local" if edge == "CC" else "", "" if edge == "RR" else ".local")
        specs += [term("infomax", between=(f"{a}{source}", f"{b}{target}"), **options) for a, b in pairs]
    return tuple(specs)


def union_of(name: str) -> str:
    """Return the name of a union with its edges in capitals and in the order CR, XX, CC, RR.

    Raises:
      UserError: an edge does not exist, or is named twice.

    Example:
      >>> union_of("rr-XX")
      'XX-RR'
    """
    named = name.upper().split("-")
    for edge in named:
        if edge not in EDGES:
            raise UserError(
                f"The union {name!r} has no edge {edge!r}{nearest(edge, EDGES)}: a union joins edges by -, some of "
                f"{', '.join(EDGES)}, as in CR-XX."
            )
        if named.count(edge) > 1:
            raise UserError(f"The union {name!r} names the edge {edge} twice; name it once.")
    return "-".join(edge for edge in EDGES if edge in named)


def is_union(name: str) -> bool:
    """Return whether a name is meant as a union: words of two letters, joined by -."""
    return re.fullmatch(r"[A-Za-z]{2}(-[A-Za-z]{2})*", name) is not None


def unions() -> tuple[str, ...]:
    """Return the names of all 15 unions, those of few edges first."""
    sizes = range(1, len(EDGES) + 1)
    return tuple("-".join(chosen) for size in sizes for chosen in itertools.combinations(EDGES, size))


_TWO_VIEW_MNIST = Taxonomy(
    modalities=("rotated", "noisy"),
    of={"rotated": "image", "noisy": "image"},
    views_of={name: functools.partial(view, name) for name in ("rotated", "noisy")},
)
_MNIST_SVHN = Taxonomy(
    modalities=("mnist", "svhn"),
    views_of={name: functools.partial(view, "resized") for name in ("mnist", "svhn")},
)
_OASIS = Taxonomy(
    modalities=("t1", "falff"),
    views_of={name: functools.partial(view, "scan") for name in ("t1", "falff")},
    label="diagnosis",
    epochs=200,
    balanced="diagnosis_of_all",  # of all pairs; `diagnosis` is of the first pairs of two groups alone
)
# The values for two cores were fixed before any result was known, from the time of a step alone: 8,000 digits take
# 125 steps per epoch, and 30 pairings of 1,600 digits 750. Volumes have 32 voxels a side, where the map of side 8 is
# that of the second layer.
_PRESETS: Mapping[str, Taxonomy] = {
    "two_view_mnist": _TWO_VIEW_MNIST,
    "mnist_svhn": _MNIST_SVHN,
    "oasis": _OASIS,
    "two_view_mnist_small": dataclasses.replace(_TWO_VIEW_MNIST, epochs=8, samples=4),
    "mnist_svhn_small": dataclasses.replace(_MNIST_SVHN, epochs=2, samples=4),
    "oasis_small": dataclasses.replace(
        _OASIS,
        views_of={name: functools.partial(view, "scan", pad=4) for name in _OASIS.modalities},
        width=16,
        batch_size=32,
        epochs=20,
        samples=2,
    ),
}


def taxonomy(data: TaxonomyData) -> Taxonomy:
    """Return the preset of a data set.

    Raises:
      UserError: there is no preset for the data set.
    """
    check_name(data, _PRESETS.keys(), "There is no preset for the data")
    return _PRESETS[data]
