"""`mj.gwas`: the associations of embeddings, or of any phenotypes, with genotypes."""

import dataclasses
from collections.abc import Iterable
from typing import Any, Literal

from mmcl_jax.api.analysed import Analysed
from mmcl_jax.api.given import AnyPath, command_of, path_of, several
from mmcl_jax.bucket.border import addressed
from mmcl_jax.compilation import use_cache
from mmcl_jax.data.store import Store
from mmcl_jax.errors import check, check_name
from mmcl_jax.genotypes import open_genotypes
from mmcl_jax.gwas.find import Settings
from mmcl_jax.gwas.make import PAGE, check_study, write_study
from mmcl_jax.gwas.people.cohort import checked, chosen_variants, cohort_of, with_components
from mmcl_jax.gwas.people.embeddings import PERSON, embedded_people
from mmcl_jax.gwas.people.tables import read_people
from mmcl_jax.gwas.results.catalog import read_catalog
from mmcl_jax.page.wording import counted
from mmcl_jax.text import visible
from mmcl_jax.training.runs.run import Checkpoint, Run

_SPLITS = ("train", "val", "test", "all")
_TRANSFORMS = ("inverse_normal", "none")
_COMPONENTS = 15  # genetic components, as in ContIG


@dataclasses.dataclass(frozen=True, repr=False)
class Gwas(Analysed):
    """A written study; in a notebook, its page.

    Attributes:
      directory: of the study.
      about: its people, phenotypes, inflation and regions, as in `gwas.json`.
    """

    page_name = PAGE

    def describe(self) -> str:
        """Return the result in a few lines."""
        about = self.about
        lines = [
            f"{visible(self.directory)}: {counted(about['people'], 'person', 'people')}, "
            f"{counted(len(about['phenotypes']), 'phenotype')}, {counted(len(about['covariates']), 'covariate')}"
        ]
        if "variants" in about:
            worst = max(about["inflation"], key=about["inflation"].get)
            lines.append(
                f"{counted(about['variants'], 'variant')} tested, {counted(about['regions'], 'independent region')}; "
                f"inflation at most {about['inflation'][worst]:.3f} ({worst}), "
                f"{about['inflation_of_permuted']:.3f} of a permuted phenotype"
            )
        return "\n".join([*lines, *map(visible, about["warnings"]), f"Open {visible(self.page.absolute().as_uri())}"])


@addressed(raw=("pheno", "covariates", "catalog"), reads=("run", "store"), writes=("out",))
def gwas(
    run: Run | AnyPath | None = None,
    genotypes: AnyPath | Iterable[AnyPath] = (),
    *,
    out: AnyPath,
    pheno: AnyPath | None = None,
    covariates: AnyPath | None = None,
    genetic_components: int | AnyPath | None = None,
    components: int = 10,
    transform: Literal["inverse_normal", "none"] = "inverse_normal",
    store: Store | AnyPath | None = None,
    split: str = "test",
    select: str | None = None,
    person: str = PERSON,
    input: str | None = None,
    checkpoint: Checkpoint | None = None,
    allow_overlap: bool = False,
    min_frequency: float = 0.01,
    p1: float = 5e-8,
    p2: float = 1e-7,
    r2: float = 0.1,
    window: float = 150.0,
    catalog: AnyPath | None = None,
    seed: int = 0,
) -> Gwas:
    """Test embeddings, or any phenotypes, for association with genotypes; and hand them over to PLINK 2 and REGENIE.

    The same from the command line: `mmcl gwas --run RUN --genotypes FILES --out OUT`, with the same options.

    As in ContIG (Taleb et al., CVPR 2022, Section 5.3), the embeddings of one sample per person, of people whom the run
    was not trained on, are reduced to their principal components; what covariates and genetic components explain is
    taken out, and ranks become normal scores (Blom). Every variant is then tested by linear regression with the same
    covariates; the p-values of the components are combined by Bonferroni, and significant variants are clumped into
    independent regions. Genotypes are read a block at a time, so memory does not grow with the number of variants but
    for their names and results.

    Args:
      run: whose encoder embeds, opened or its folder.
      genotypes: `.bed`, `.pgen` or `.bgen` files, one or one per chromosome; without any, nothing is tested, and the
        phenotypes are handed over alone.
      out: the folder of the study; an earlier study in it is replaced.
      pheno: a file of phenotypes (FID, IID and numbers), in place of a run.
      covariates: a file of covariates (FID, IID and numbers).
      genetic_components: the number of components to compute of variants that are pruned for linkage, or a file of
        components (FID, IID and numbers). By default 15 are computed, or none without genotypes.
      components: principal components of the phenotypes; 0 tests the columns themselves.
      transform: "inverse_normal" tests rank-based normal scores of the residuals on the covariates; "none" the values.
      store: of the samples to embed, in place of the store of the run.
      split: of the samples: "train", "val", "test" or "all".
      select: a regular expression that the key of the chosen sample of a person has; by default "left" if people have
        several samples.
      person: a regular expression of the IID in the name of a key; its first group, or all that it matches.
      input: the encoder, such as "image"; by default the first of the run.
      checkpoint: "latest", "best" (the lowest validation loss) or a step.
      allow_overlap: also test people whom the run was trained on.
      min_frequency: variants whose rarer allele is rarer are not tested.
      p1: the largest p-value of the first variant of a region.
      p2: the largest p-value of its other variants.
      r2: the linkage above which a variant belongs to the region.
      window: the distance from the first variant below which a variant belongs to it, in kilobases.
      catalog: a file of all associations of the GWAS Catalog, to look up regions in.
      seed: of the permuted phenotype, which shows whether the test is calibrated.

    Returns:
      The study.

    Raises:
      UserError: a file or option cannot be used, the sources have no person in common, a covariate is constant or
        collinear, or there are too few people; nothing is written.

    Example:
      >>> study = mj.gwas("runs/eyes", ["chr1.bed", "chr2.bed"], out="gwas", covariates="people.txt")  # doctest: +SKIP
      >>> study.about["regions"]  # doctest: +SKIP
      12
    """
    use_cache()
    arguments = dict(locals())
    folder = path_of(out, "--out")
    check_study(folder)
    check((run is None) != (pheno is None), "Give either --run or --pheno.")
    check_name(split, _SPLITS, "--split: there is no split")
    check_name(transform, _TRANSFORMS, "--transform: there is no transform")
    check(components >= 0, f"--components: {components} is negative; give 0 to test the columns themselves.")
    check(0 <= min_frequency < 0.5, f"--min-frequency: {min_frequency:g} must be at least 0 and below 0.5.")
    check(0 < p1 <= p2 < 1, f"--p1 {p1:g} and --p2 {p2:g} must be above 0 and below 1, and --p1 not above --p2.")
    check(0 <= r2 < 1, f"--r2: {r2:g} must be at least 0 and below 1.")
    check(window > 0, f"--window: {window:g} must be above 0.")
    for name, value, default in (
        ("store", store, None), ("split", split, "test"), ("select", select, None), ("person", person, PERSON),
        ("input", input, None), ("checkpoint", checkpoint, None), ("allow-overlap", allow_overlap, False),
    ):  # fmt: skip
        check(run is not None or value == default, f"--{name}: it tells what --run embeds; leave it out.")
    files = [path_of(one, "--genotypes") for one in several(genotypes)]
    known = None if catalog is None else read_catalog(path_of(catalog, "--catalog"), "--catalog")
    check(known is None or bool(files), "--catalog: regions are looked up in it; add --genotypes.")
    tables = [] if covariates is None else [read_people(path_of(covariates, "--covariates"), "--covariates")]
    computed = _number(genetic_components, bool(files))
    if computed is None:
        tables.append(read_people(path_of(genetic_components, "--genetic-components"), "--genetic-components"))
    opened = open_genotypes(files, where="--genotypes") if files else None

    warnings = []
    if run is not None:
        encoder = run if isinstance(run, Run) else Run.open(path_of(run, "--run"))
        encoder = encoder if checkpoint is None else encoder.at(checkpoint)
        of = store if store is None or isinstance(store, Store) else Store.open(path_of(store, "--store"))
        embedded = embedded_people(
            encoder, of, split=split, select=select, person=person, input=input, allow_overlap=allow_overlap
        )
        raw, counts, title = embedded.people, embedded.counts, encoder.directory.name
        if embedded.trained:
            warnings.append(
                f"The run was trained on {counted(embedded.trained, 'person', 'people')} of this study, whose "
                "embeddings may know their genotypes; the p-values are not those of new people."
            )
    else:
        raw, counts = read_people(path_of(pheno, "--pheno"), "--pheno"), {}
        title = path_of(pheno, "--pheno").name
    cohort = cohort_of(raw, tables, opened)
    cohort = dataclasses.replace(cohort, counts={**counts, **cohort.counts})
    if computed and opened is not None:
        cohort = with_components(checked(cohort), opened, chosen_variants(opened)[0], computed)
    elif computed == 0 and opened is not None:
        warnings.append(
            "No genetic components are among the covariates, so population structure can pass for association."
        )
    about = write_study(
        checked(cohort),
        opened,
        Settings(
            components=components, transform=transform, min_frequency=min_frequency, p1=p1, p2=p2, r2=r2, window=window,
            seed=seed,
        ),
        folder,
        title=title,
        command=command_of(gwas, arguments),
        catalog=known,
        warnings=warnings,
    )  # fmt: skip
    return Gwas(folder, about)


def _number(given: Any, with_genotypes: bool) -> int | None:
    """Return the number of genetic components to compute; None for a file of components."""
    if given is None:
        return _COMPONENTS if with_genotypes else 0
    if isinstance(given, str) and given.isascii() and given.isdigit():
        given = int(given)
    if not isinstance(given, int):
        return None
    check(given >= 0, f"--genetic-components: {given} is negative; give 0 for none.")
    check(given == 0 or with_genotypes, "--genetic-components: components are computed of genotypes; add --genotypes.")
    return given
