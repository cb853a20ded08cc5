"""Drawn people: what each trait of the eye depends on, covariates, and which modalities they lack."""

import dataclasses

import numpy as np

from mmcl_jax.synthetic.eyes.anatomy import TRAITS
from mmcl_jax.synthetic.eyes.genome import Genome, components, draw_burdens, draw_genome
from mmcl_jax.synthetic.eyes.population import Population

PER_TRAIT = {"snp": 2, "pgs": 1, "burden": 2}  # causal features of each trait, by modality
SHARES = {"snp": 0.3, "pgs": 0.45, "burden": 0.25}  # of the inherited variance of a trait
LINKED = 0.05  # r2 from which a variant is a partner of a causal one
# Of each trait: the effects of standardised age, sex (man), systolic blood pressure, smoking, body mass index and the
# first genetic component. The last is stratification: it comes from the place, not from any variant.
EFFECTS = {
    "cup": (0.15, 0.1, 0.0, 0.0, 0.0, 0.0),
    "calibre": (-0.1, 0.0, -0.15, 0.1, 0.05, 0.0),
    "tortuosity": (0.15, 0.0, 0.15, 0.0, 0.0, 0.0),
    "pigment": (0.0, 0.0, 0.0, 0.0, 0.0, 0.45),
    "drusen": (0.3, 0.0, 0.0, 0.15, 0.0, 0.0),
    "leakage": (0.1, 0.05, 0.2, 0.1, 0.2, 0.0),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cause:
    """A planted effect: one more standard deviation of a feature adds `effect` standard deviations to a trait."""

    modality: str
    feature: int
    trait: str
    effect: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class People:
    """`N` people with their genetics, covariates and traits.

    Attributes:
      population: their ancestry and relatives.
      genome: their genotypes.
      scores: `[N, S]` polygenic scores.
      burdens: `[N, G]` int8 damaging variants in each gene.
      components: `[N, 10]` genetic components.
      covariates: by name `[N]`: sex (1 for men), age, dbp, sbp, smoking (0 or 1) and bmi.
      traits: `[N, T]` in the order of `TRAITS`, of zero mean and unit variance.
      causes: the planted effects.
      present: by modality `[N]` bool, whether the person was measured.
    """

    population: Population
    genome: Genome
    scores: np.ndarray
    burdens: np.ndarray
    components: np.ndarray
    covariates: dict[str, np.ndarray]
    traits: np.ndarray
    causes: tuple[Cause, ...]
    present: dict[str, np.ndarray]


def draw_people(
    *,
    people: int,
    variants: int,
    chromosomes: int,
    scores: int,
    genes: int,
    heritability: float,
    missing: float,
    seed: int,
) -> People:
    """Return random people; see `generate_fundus` for the arguments."""
    random = np.random.default_rng((seed, 0))
    population = Population.random(people, random)
    genome = draw_genome(population, variants, chromosomes, random)
    burdens = draw_burdens(population, genes, random)
    place = np.where(population.european, population.cline - 0.5, -1.5)[:, None]
    shift = random.normal(0, 0.35, scores)  # scores differ between places, as real ones do
    of_founder = random.standard_normal((len(place), scores))
    values = population.inherited(of_founder, random) + population.of_person(place) * shift
    principal = components(genome)
    covariates = {
        name: population.with_twins(column) if name in ("sex", "age") else column
        for name, column in _covariates(people, random).items()
    }
    features = {"snp": genome.standardised(np.arange(variants)), "pgs": _scaled(values), "burden": _scaled(burdens)}
    causes = _causes(genome, burdens, scores, heritability, random)
    traits = _traits(features, causes, covariates, population.of_person(place)[:, 0], random)
    present = {name: random.random(people) >= missing for name in PER_TRAIT}
    return People(
        population=population,
        genome=genome,
        scores=values,
        burdens=burdens,
        components=principal,
        covariates=covariates,
        traits=traits,
        causes=causes,
        present=present,
    )


def _causes(
    genome: Genome, burdens: np.ndarray, scores: int, heritability: float, random: np.random.Generator
) -> tuple[Cause, ...]:
    """Return the effects: every causal variant lies in a block of its own, and every causal gene has carriers."""
    common = np.flatnonzero((genome.frequency > 0.15) & (genome.frequency < 0.5))
    one_per_block = {int(genome.block[variant]): int(variant) for variant in random.permutation(common)}
    carried = (burdens > 0).mean(axis=0)
    often = np.flatnonzero(carried >= np.sort(carried)[-max(2 * len(TRAITS), len(carried) // 3)])
    pool = {
        "snp": random.permutation(list(one_per_block.values())),
        "pgs": random.permutation(scores),
        "burden": random.permutation(often),
    }
    causes = []
    for index, trait in enumerate(TRAITS):
        for modality, count in PER_TRAIT.items():
            size = np.sqrt(heritability * SHARES[modality] / count)
            for feature in pool[modality][index * count : (index + 1) * count]:
                sign = 1.0 if modality == "pgs" else float(random.choice((-1.0, 1.0)))
                causes.append(Cause(modality=modality, feature=int(feature), trait=trait, effect=sign * float(size)))
    return tuple(causes)


def _traits(
    features: dict[str, np.ndarray],
    causes: tuple[Cause, ...],
    covariates: dict[str, np.ndarray],
    place: np.ndarray,
    random: np.random.Generator,
) -> np.ndarray:
    """Return the traits `[N, T]`: planted effects, covariates, place, and chance for the rest of the variance."""
    names = ("age", "sex", "sbp", "smoking", "bmi")
    known = np.stack([*(_scaled(covariates[name]) for name in names), -_scaled(place)], axis=1)
    traits = []
    for trait in TRAITS:
        value = known @ np.array(EFFECTS[trait])
        for cause in causes:
            if cause.trait == trait:
                value = value + cause.effect * features[cause.modality][:, cause.feature]
        rest = max(0.05, 1 - float(value.var()))
        traits.append(value + np.sqrt(rest) * random.standard_normal(len(value)))
    return _scaled(np.stack(traits, axis=1))


def _covariates(people: int, random: np.random.Generator) -> dict[str, np.ndarray]:
    """Return the covariates by name, as in UK Biobank's assessment centres."""
    sex = (random.random(people) < 0.46).astype(float)
    age = np.clip(random.normal(57, 8, people), 40, 70).round()
    bmi = 27.2 + 0.5 * sex + 4.5 * random.gamma(4, 0.5, people) - 9
    sbp = 138 + 0.55 * (age - 57) + 4 * sex + 0.8 * (bmi - 27) + random.normal(0, 15, people)
    dbp = 82 + 0.35 * (sbp - 138) + 1.5 * sex + random.normal(0, 7, people)
    smoking = (random.random(people) < 0.1 + 0.04 * sex).astype(float)
    return {"sex": sex, "age": age, "dbp": dbp.round(1), "sbp": sbp.round(1), "smoking": smoking, "bmi": bmi.round(2)}


def _scaled(values: np.ndarray) -> np.ndarray:
    """Return values of zero mean and unit variance along the first axis; constants become 0."""
    centred = values - values.mean(axis=0)
    return centred / np.maximum(centred.std(axis=0), 1e-9)
