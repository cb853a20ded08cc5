"""The page of a study: regions, Manhattan and quantile plots, inflation, people, and commands of other programs."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmcl_jax.gwas.results.plots import PLOT_STYLE, manhattan, quantile_plot, quantiles
from mmcl_jax.gwas.statistics.clump import Region
from mmcl_jax.gwas.statistics.scan import Associations
from mmcl_jax.page.html import Child, Html, document, element, fragment, section, table
from mmcl_jax.page.html import name as named
from mmcl_jax.page.lines import LINE_STYLE
from mmcl_jax.page.style import STYLE
from mmcl_jax.page.wording import clipped, count, counted, number, share

_REGIONS, _TRAITS, _LINES = 100, 4, 12


@dataclasses.dataclass(frozen=True)
class Study:
    """What the page shows.

    Attributes:
      title: of the page.
      command: that made it.
      about: as in `gwas.json`.
      commands: of other programs, by their names.
      warnings: sentences.
      found: the associations; None if nothing was tested.
      combined: -log10 of the Bonferroni-corrected p-values, `[V]`.
      best: the phenotype of each of them, `[V]`.
      regions: the independent regions.
      traits: of each region, the traits in the user's catalog; None without a catalog.
    """

    title: str
    command: str
    about: Mapping[str, Any]
    commands: Mapping[str, str]
    warnings: list[str]
    found: Associations | None = None
    combined: np.ndarray | None = None
    best: np.ndarray | None = None
    regions: Sequence[Region] = ()
    traits: Sequence[Sequence[tuple[str, int]]] | None = None


def render_page(study: Study, *, p1: float) -> str:
    """Return the page, which needs no network and no script; write it as UTF-8.

    Args:
      study: what is shown.
      p1: the p-value of the line in the Manhattan plot.
    """
    made = [("people", "People and phenotypes", _people(study))]
    if study.found is not None:
        made = [
            ("manhattan", "Over the genome", _manhattan(study, p1)),
            ("regions", "Independent regions", _regions(study)),
            ("inflation", "Calibration", _calibration(study)),
            *made,
        ]
    made.append(("elsewhere", "The same in PLINK and REGENIE", _elsewhere(study)))
    links = [element("li", element("a", heading, href=f"#{key}")) for key, heading, _ in made]
    body = element(
        "body",
        element(
            "header",
            element("p", "Genome-wide association", class_="eyebrow"),
            element("h1", named(study.title, 120)),
            element("dl", _tiles(study), class_="tiles"),
            _warnings(study.warnings),
            element("nav", element("ul", links), aria_label="Sections"),
        ),
        element("main", [section(key, heading, content) for key, heading, content in made]),
        element("footer", "Made by ", element("code", study.command), "."),
    )
    return document(f"{clipped(study.title)}: associations", STYLE + LINE_STYLE + PLOT_STYLE, body, images=False)


def _tiles(study: Study) -> list[Html]:
    about = study.about
    tiles = [("People", count(about["people"]), counted(len(about["covariates"]), "covariate"))]
    tiles.append(("Phenotypes", count(len(about["phenotypes"])), about["settings"]["transform"].replace("_", " ")))
    if study.found is not None:
        worst = max(about["inflation"].values())
        tiles.append(("Variants tested", count(about["variants"]), counted(sum(about["untested"].values()), "other")))
        tiles.append(("Independent regions", count(about["regions"]), f"p at most {about['settings']['p1']:g}"))
        permuted = about["inflation_of_permuted"]
        tiles.append(("Largest inflation", f"{worst:.3f}", f"{permuted:.3f} of a permuted phenotype"))
    return [
        element("div", element("dt", name), element("dd", element("b", value), element("small", words)))
        for name, value, words in tiles
    ]


def _warnings(sentences: Sequence[str]) -> Html | None:
    if not sentences:
        return None
    items = [element("li", element("span", sentence)) for sentence in sentences]
    return element("ol", items, class_="warnings", style="margin-top:1.75rem")


def _manhattan(study: Study, p1: float) -> Html:
    assert study.found is not None
    assert study.combined is not None
    variants = study.found.variants
    plot = manhattan(
        variants.chromosome,
        variants.position,
        study.combined,
        threshold=float(-np.log10(p1)),
        index=[region.index for region in study.regions],
    )
    lead = (
        f"The smallest p-value of every variant over {counted(len(study.found.names), 'phenotype')}, times their "
        f"number (Bonferroni), as -log10. The line is at p = {p1:g}; rings mark the first variant of a region."
    )
    return fragment(element("p", lead, class_="lead"), plot or element("p", "No variant was tested.", class_="absent"))


def _regions(study: Study) -> Html:
    found, settings = study.found, study.about["settings"]
    assert found is not None
    assert study.combined is not None
    assert study.best is not None
    lead = (
        f"A region is a variant with p at most {settings['p1']:g} and the variants with p at most {settings['p2']:g} "
        f"within {settings['window']:g} kb that have r2 above {settings['r2']:g} with it, as plink1.9 --clump makes "
        "them."
    )
    if not study.regions:
        return fragment(element("p", lead, class_="lead"), element("p", "No region was found.", class_="absent"))
    head = [
        "Variant",
        "Chromosome",
        "Position",
        "Alleles",
        "Frequency",
        "Phenotype",
        "Effect ± SE",
        "-log10 p",
        "Variants",
    ]
    head += [] if study.traits is None else ["Known for"]
    rows: list[list[Child]] = []
    for place, region in enumerate(study.regions[:_REGIONS]):
        one, of = region.index, int(study.best[region.index])
        variants, group = found.variants, int(found.group[of])
        cells: list[Child] = [
            named(variants.id[one], 30),
            str(variants.chromosome[one]),
            count(int(variants.position[one])),
            fragment(named(variants.counted[one], 12), "/", named(variants.other[one], 12)),
            f"{found.frequency[group, one]:.3f}",
            named(found.names[of], 24),
            f"{found.beta[of, one]:.3g} ± {found.error[of, one]:.2g}",
            f"{study.combined[one]:.2f}",
            count(1 + len(region.members)),
        ]
        if study.traits is not None:
            cells.append(_traits(study.traits[place]))
        rows.append(cells)
    more = len(study.regions) - _REGIONS
    return fragment(
        element("p", lead, class_="lead"),
        table("Independent regions", head, rows, numeric=(2, 4, 6, 7, 8)),
        element("p", f"{counted(more, 'more region')} in regions.tsv.", class_="more") if more > 0 else None,
    )


def _traits(traits: Sequence[tuple[str, int]]) -> Child:
    if not traits:
        return "nothing in the catalog"
    words: list[Child] = []
    for trait, rows in traits[:_TRAITS]:
        words += ["; " if words else "", named(trait, 60), f" ({rows})"]
    return [*words, f"; {len(traits) - _TRAITS} more" if len(traits) > _TRAITS else ""]


def _calibration(study: Study) -> Html:
    found, about = study.found, study.about
    assert found is not None
    lead = (
        "Inflation is the median chi-squared statistic over its expectation; 1 is calibrated. The permuted phenotype "
        f"is {found.names[0]} with its people in random order, which nothing can be associated with."
    )
    lines = [
        quantiles(
            f"{clipped(name, 24)}, inflation {about['inflation'][name]:.3f},", found.neg_log10_p[index], colour=index
        )
        for index, name in enumerate(found.names[:_LINES])
    ]
    lines.append(
        quantiles(f"permuted, inflation {about['inflation_of_permuted']:.3f},", found.permuted, colour=7, dash=2)
    )
    variance = about["variance"]
    rows = [
        [
            named(name, 40),
            f"{about['inflation'][name]:.3f}",
            f"{float(np.nanmax(found.neg_log10_p[index])):.2f}" if np.isfinite(found.neg_log10_p[index]).any() else "–",
            count(int((found.neg_log10_p[index] >= -np.log10(about["settings"]["p1"])).sum())),
            share(variance[index], 1) if index < len(variance) else "–",
        ]
        for index, name in enumerate(found.names)
    ]
    rows.append(["permuted", f"{about['inflation_of_permuted']:.3f}", number(float(np.nanmax(found.permuted))), "", ""])
    head = ["Phenotype", "Inflation", "Largest -log10 p", "Significant variants", "Variance explained"]
    return fragment(
        element("p", lead, class_="lead"),
        quantile_plot("Quantiles of -log10 p", lines),
        table("Inflation by phenotype", head, rows, numeric=(1, 2, 3, 4)),
    )


def _people(study: Study) -> Html:
    about = study.about
    rows: list[list[Child]] = [[named(reason, 120), count(people)] for reason, people in about["left_out"].items()]
    rows.append(["people who are analysed", count(about["people"])])
    covariates: list[Child] = []
    for name in about["covariates"]:
        covariates += [", " if covariates else "", named(name, 40)]
    made = f" Genetic components are of {counted(about['pruned_variants'], 'variant')} that were pruned for linkage."
    words: list[Child] = ["Covariates: ", *(covariates or ["none"]), "."]
    words.append(made if about["pruned_variants"] else "")
    parts: list[Child] = [element("p", words, class_="lead"), table("People", ["", "People"], rows, numeric=(1,))]
    if about.get("untested"):
        untested: list[list[Child]] = [[reason, count(variants)] for reason, variants in about["untested"].items()]
        parts.append(table("Variants that were not tested", ["Not tested", "Variants"], untested, numeric=(1,)))
    return fragment(parts)


def _elsewhere(study: Study) -> Html:
    lead = (
        "Each folder holds the phenotypes, the covariates and this command as run.sh. REGENIE also serves samples with "
        "relatives; its files follow its documentation."
    )
    parts: list[Child] = [element("p", lead, class_="lead")]
    for program, text in study.commands.items():
        parts += [element("h3", f"{program}/"), element("pre", element("code", _lines(text)))]
    return fragment(parts)


def _lines(text: str) -> Html:
    return Html("\n".join(fragment(line) for line in text.split("\n")))
