"""Drawn genotypes in blocks of linkage, rare variants in genes, and genetic components."""

import dataclasses

import numpy as np
from scipy.stats import norm

from mmcl_jax.synthetic.eyes.population import Population

BLOCK = 10  # variants
CLINE_FST, OTHER_FST = 0.03, 0.14
COMPONENTS = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class Genome:
    """The genotypes of `N` people at `V` variants.

    Attributes:
      chromosome: `[V]` int, from 1.
      position: `[V]`, in base pairs.
      name: `[V]`, identifiers such as rs1000001.
      counted: `[V]`, the allele whose copies are counted, which is the rarer one.
      other: `[V]`, the other allele.
      block: `[V]`, number of the block of linkage.
      calls: `[N, V]` int8 copies of the counted allele, without missing ones.
      limits: `[3, V]`, the quantiles of the normal distribution below which an allele is drawn: at both ends of the
        cline, and in the other ancestry.
      alike: `[V]`, the correlation of a variant with the one before it in its block.
      swapped: `[V]` bool, whether the drawn alleles were exchanged, so that the counted one is the rarer.
    """

    chromosome: np.ndarray
    position: np.ndarray
    name: np.ndarray
    counted: np.ndarray
    other: np.ndarray
    block: np.ndarray
    calls: np.ndarray
    limits: np.ndarray
    alike: np.ndarray
    swapped: np.ndarray

    @property
    def frequency(self) -> np.ndarray:
        """The frequency `[V]` of the counted alleles."""
        return self.calls.mean(axis=0) / 2

    def standardised(self, variants: np.ndarray) -> np.ndarray:
        """Return the calls `[N, v]` of some variants with zero mean and unit variance."""
        calls = self.calls[:, variants].astype(np.float64)
        return (calls - calls.mean(axis=0)) / np.maximum(calls.std(axis=0), 1e-9)

    def linkage(self, variant: int) -> np.ndarray:
        """Return r2 `[V]` with a variant: 0 outside of its block."""
        r2 = np.zeros(len(self.name))
        near = np.flatnonzero(self.block == self.block[variant])
        r2[near] = (self.standardised(near).T @ self.standardised(np.array([variant]))[:, 0] / len(self.calls)) ** 2
        return r2


def draw_genome(population: Population, variants: int, chromosomes: int, random: np.random.Generator) -> Genome:
    """Return random genotypes.

    Variants lie in blocks of `BLOCK` on the chromosomes. In a block, alleles of one chromosome are drawn from a
    sequence of correlated normal numbers, so that neighbours are in linkage; blocks are independent. Frequencies differ
    along the cline of Europeans, and more so between ancestries (Balding and Nichols's model).
    """
    block = np.arange(variants) // BLOCK
    blocks = int(block[-1]) + 1
    chromosome = 1 + block * chromosomes // blocks
    first = np.searchsorted(chromosome, np.arange(1, chromosomes + 2))
    number = block - block[first[chromosome - 1]]
    gaps = random.integers(800, 9000, variants)
    position = 1_000_000 + 1_000_000 * number
    for of_block in range(blocks):
        inside = block == of_block
        position[inside] += np.cumsum(gaps[inside])
    ancestral = random.uniform(0.06, 0.5, variants)
    ends = [_drifted(ancestral, CLINE_FST, random) for _ in range(2)]
    elsewhere = _drifted(ancestral, OTHER_FST, random)
    alike = np.repeat(random.uniform(0.75, 0.985, blocks), BLOCK)[:variants]
    limits = np.stack([norm.ppf(frequencies) for frequencies in (*ends, elsewhere)])
    calls = _calls(population, limits, alike, block, chromosome, random)
    swapped = calls.mean(axis=0) > 1
    calls = np.where(swapped, 2 - calls, calls).astype(np.int8)
    pairs = np.array([pair for pair in ("AG", "AC", "GA", "CT", "TC", "GT") for _ in (0, 1)])
    alleles = pairs[random.integers(0, len(pairs), variants)]
    return Genome(
        chromosome=chromosome,
        position=position,
        name=np.array([f"rs{1_000_000 + 13 * index}" for index in range(variants)]),
        counted=np.array([pair[0] for pair in alleles]),
        other=np.array([pair[1] for pair in alleles]),
        block=block,
        calls=calls,
        limits=limits,
        alike=alike,
        swapped=swapped,
    )


def draw_genome_like(genome: Genome, population: Population, random: np.random.Generator) -> Genome:
    """Return random genotypes of other people at the variants of a genome, with its frequencies and linkage."""
    calls = _calls(population, genome.limits, genome.alike, genome.block, genome.chromosome, random)
    return dataclasses.replace(genome, calls=np.where(genome.swapped, 2 - calls, calls).astype(np.int8))


def draw_carriers(genes: int, random: np.random.Generator) -> np.ndarray:
    """Return the share `[G]` of chromosomes with a damaging rare variant in each gene."""
    return np.exp(random.uniform(np.log(0.002), np.log(0.05), genes))


def draw_burdens(population: Population, carriers: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return how many damaging rare variants a person has in each gene, `[N, G]` int8; few have any.

    Args:
      population: the people.
      carriers: see `draw_carriers`.
      random: the source of randomness.
    """
    genes = len(carriers)
    haplotypes = (random.random((len(population.cline), 2, genes)) < carriers).astype(np.int8)
    of_person = np.zeros((len(population.iids), genes), np.int8)
    for gene in range(genes):
        of_person[:, gene] = _passed_on(population, haplotypes[:, :, gene, None], random)[:, 0]
    return population.with_twins(of_person)


def components(genome: Genome) -> np.ndarray:
    """Return the first principal components `[N, COMPONENTS]` of one variant per block, each of unit variance."""
    one = np.flatnonzero(np.arange(len(genome.name)) % BLOCK == BLOCK // 2)
    scaled = genome.standardised(one if len(one) >= COMPONENTS else np.arange(len(genome.name)))
    values, vectors = np.linalg.eigh(scaled.T @ scaled / len(scaled))
    kept = np.argsort(-values)[:COMPONENTS]
    scores = scaled @ vectors[:, kept]
    scores *= np.sign(scores[np.abs(scores).argmax(axis=0), np.arange(scores.shape[1])])
    return scores / np.maximum(scores.std(axis=0), 1e-9)


def kinship(one: np.ndarray, other: np.ndarray) -> tuple[float, float, float]:
    """Return HetHet, IBS0 and KING's robust kinship coefficient of two people's calls `[V]`."""
    het_het = int(((one == 1) & (other == 1)).sum())
    ibs0 = int((np.abs(one.astype(int) - other) == 2).sum())
    hets = [max(int((calls == 1).sum()), 1) for calls in (one, other)]
    coefficient = (het_het - 2 * ibs0) / (2 * min(hets)) + 0.5 - 0.25 * sum(hets) / min(hets)
    return het_het / len(one), ibs0 / len(one), coefficient


def _drifted(frequencies: np.ndarray, fst: float, random: np.random.Generator) -> np.ndarray:
    """Return frequencies after drift."""
    scale = (1 - fst) / fst
    return np.clip(random.beta(frequencies * scale, (1 - frequencies) * scale), 0.01, 0.99)


def _calls(
    population: Population,
    limits: np.ndarray,
    alike: np.ndarray,
    block: np.ndarray,
    chromosome: np.ndarray,
    random: np.random.Generator,
) -> np.ndarray:
    """Return the calls `[N, V]` of people whose founders' alleles lie below the limits (see `Genome`)."""
    cline = population.cline[:, None]
    limit = cline * limits[0] + (1 - cline) * limits[1]
    limit = np.where(population.european[:, None], limit, limits[2]).astype(np.float32)
    haplotypes = np.stack([_haplotype(limit, block, alike, random) for _ in range(2)], axis=1)
    calls = np.zeros((len(population.iids), limits.shape[1]), np.int8)
    for number in np.unique(chromosome).tolist():
        part = slice(*np.searchsorted(chromosome, (number, number + 1)).tolist())
        calls[:, part] = _passed_on(population, haplotypes[:, :, part], random)
    return population.with_twins(calls)


def _haplotype(limit: np.ndarray, block: np.ndarray, alike: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return one copy `[M, V]` of the founders' chromosomes, 1 where the allele is the counted one."""
    alleles = np.empty(limit.shape, np.int8)
    latent = np.zeros(len(limit), np.float32)
    for variant in range(limit.shape[1]):
        noise = random.standard_normal(len(limit), np.float32)
        begins = variant == 0 or block[variant] != block[variant - 1]
        correlation = np.float32(0 if begins else alike[variant])
        latent = correlation * latent + np.sqrt(1 - correlation**2) * noise
        alleles[:, variant] = latent < limit[:, variant]
    return alleles


def _passed_on(population: Population, haplotypes: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return the calls `[N, v]` of people from their founders' haplotypes `[M, 2, v]`, which cross over once."""
    variants = haplotypes.shape[2]
    people = len(population.iids)
    calls = haplotypes.sum(axis=1, dtype=np.int8)[population.parents[:, 0]]
    children = np.flatnonzero(~population.is_founder)
    crossing = random.integers(0, variants + 1, (people, 2))
    begins = random.integers(0, 2, (people, 2))
    for child in children.tolist():
        gametes = []
        for side, parent in enumerate(population.parents[child].tolist()):
            copy = begins[child, side] ^ (np.arange(variants) >= crossing[child, side])
            gametes.append(haplotypes[parent, copy.astype(int), np.arange(variants)])
        calls[child] = gametes[0] + gametes[1]
    return calls
