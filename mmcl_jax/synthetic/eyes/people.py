"""Drawn people: what each trait of the eye depends on, covariates, and which modalities they lack."""

import dataclasses

import numpy as np

from mmcl_jax.synthetic.eyes.anatomy import TRAITS
from mmcl_jax.synthetic.eyes.genome import (
    Genome,
    components,
    draw_burdens,
    draw_carriers,
    draw_genome,
    draw_genome_like,
)
from mmcl_jax.synthetic.eyes.population import FIRST_IID, Population

PER_TRAIT = {"snp": 2, "pgs": 1, "burden": 2}  # causal features of each trait, by modality
SHARES = {"snp": 0.3, "pgs": 0.45, "burden": 0.25}  # of the inherited variance of a trait
COHORT_IIDS = 10_000_000  # identifiers of a cohort begin so far above those of the one before it
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
      carriers: `[G]`, the share of chromosomes with a damaging variant in each gene.
      shift: `[S]`, how far each score differs between the ends of the cline.
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
    carriers: np.ndarray
    shift: np.ndarray


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
    """Return random people, the first cohort of a seed; see `generate_fundus` for the arguments."""
    random = np.random.default_rng((seed, 0))
    population = Population.random(people, random)
    genome = draw_genome(population, variants, chromosomes, random)
    carriers = draw_carriers(genes, random)
    burdens = draw_burdens(population, carriers, random)
    return _people(population, genome, carriers, burdens, scores, heritability, missing, random)


def draw_cohort(first: People, *, people: int, missing: float, cohort: int, random: np.random.Generator) -> People:
    """Return other people with the causes, the variants, their frequencies and their linkage of the first cohort.

    Args:
      first: the first cohort.
      people: number of people.
      missing: share of people without each modality.
      cohort: its number, from 1, which is in the identifiers of its people.
      random: the source of randomness.
    """
    population = Population.random(people, random, first_iid=FIRST_IID + cohort * COHORT_IIDS)
    genome = draw_genome_like(first.genome, population, random)
    burdens = draw_burdens(population, first.carriers, random)
    return _people(population, genome, first.carriers, burdens, len(first.shift), 0.0, missing, random, like=first)


def _people(
    population: Population,
    genome: Genome,
    carriers: np.ndarray,
    burdens: np.ndarray,
    scores: int,
    heritability: float,
    missing: float,
    random: np.random.Generator,
    *,
    like: People | None = None,
) -> People:
    """Return people with these genotypes and burdens; causes, and where scores differ, are drawn or those of others."""
    people, variants = len(population.iids), len(genome.name)
    place = np.where(population.european, population.cline - 0.5, -1.5)[:, None]
    # Scores differ between places, as real ones do.
    shift = random.normal(0, 0.35, scores) if like is None else like.shift
    of_founder = random.standard_normal((len(place), scores))
    values = population.inherited(of_founder, random) + population.of_person(place) * shift
    principal = components(genome)
    covariates = {
        name: population.with_twins(column) if name in ("sex", "age") else column
        for name, column in _covariates(people, random).items()
    }
    features = {"snp": genome.standardised(np.arange(variants)), "pgs": _scaled(values), "burden": _scaled(burdens)}
    causes = _causes(genome, burdens, scores, heritability, random) if like is None else like.causes
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
        carriers=carriers,
        shift=shift,
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
