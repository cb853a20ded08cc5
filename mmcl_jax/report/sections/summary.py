"""The head of the page: what was trained, on what, the headline result, and whether the training is healthy."""

from collections.abc import Sequence

from mmcl_jax.errors import UserError
from mmcl_jax.evaluation.results.scores import Score
from mmcl_jax.evaluation.results.summary import NAMES, budgets_of, by_repeat, paired, repeats_of, shown, summarise
from mmcl_jax.page.html import Child, Html, element, fragment, name
from mmcl_jax.page.wording import LOWER_IS_BETTER, clipped, count, counted, number
from mmcl_jax.report.health import Check, checks
from mmcl_jax.report.pictures import StoreRows
from mmcl_jax.report.scored import Scored, baselines
from mmcl_jax.report.sections.data import different, source_of
from mmcl_jax.report.sections.timing import duration
from mmcl_jax.report.subject import Group, Subject, paragraph

_STRIP = 8
_TILES = 3  # experiments whose headline has a tile
_PROTOCOLS = {"probe": "linear probe", "knn": "nearest neighbours", "finetune": "fine-tuning"}


def title_of(groups: Sequence[Group]) -> str:
    """Return the title of the page."""
    if len(groups) == 1:
        return f"{groups[0].name}, {groups[0].repeats}"
    names = [clipped(group.name, 40) for group in groups]
    return f"{', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"


def summary(subjects: Sequence[Subject], groups: Sequence[Group], found: Scored) -> Html:
    """Return the content of the header."""
    what = "Run report" if len(subjects) == 1 else f"Comparison of {len(subjects)} runs"
    mixed, beside = different(subjects), _beside_baselines(groups, found)
    return fragment(
        element("p", what, class_="eyebrow"),
        element("h1", name(title_of(groups), 120)),
        element("p", _sentence(subjects, groups), class_="headline"),
        _difference(groups, found),
        paragraph(mixed) if mixed else None,
        _strip(subjects[0]),
        element("dl", [*_results(groups, found), *_facts(subjects), _health_tile(subjects, beside)], class_="tiles"),
        _health(subjects, beside),
    )


def _sentence(subjects: Sequence[Subject], groups: Sequence[Group]) -> list[Child]:
    config = groups[0].first.run.config
    encoders = " and ".join(f"{modality} ({spec.name})" for modality, spec in config.encoders.items())
    terms = " + ".join(term.name for term in config.objective) or "no term"
    trained: list[Child] = [
        f"Encoders of {encoders}" if len(groups) == 1 else f"{counted(len(groups), 'experiment')}",
        f", trained by {terms}" if len(groups) == 1 else f", {counted(len(subjects), 'run')}",
        f" for {counted(config.epochs, 'epoch')} at batch size {config.batch_size}" if len(groups) == 1 else "",
    ]
    try:
        store = subjects[0].store
        rows = counted(len(store.rows_of("train", subjects[0].run.inputs.fold)), "training row")
    except UserError:
        return [*trained, "; the store is not here."]
    source = source_of(store)
    return [*trained, ", on ", rows, " of " if source else "", name(source, 40) if source else "", "."]


def _difference(groups: Sequence[Group], found: Scored) -> Html | None:
    """Return the difference of two experiments by labels used, paired by seed; None unless both have scores."""
    part = found.part()
    names = [group.name for group in groups]
    if len(groups) != 2 or not set(names) <= {score.method for score in part}:
        return None
    metric, words = shown(part[0])[0], []
    for budget in budgets_of(part):
        first, second = (by_repeat(part, one, budget, metric) for one in names)
        if first.keys() & second.keys():
            cell, wins = paired(part, names[0], names[1], budget, metric)
            won = f", above 0 at {wins} of {counted(cell.repeats, repeats_of(part))}" if cell.repeats > 1 else ""
            words.append(f"{cell.mean:+.3f} (labels: {budget}{won})")
    how = f"{_PROTOCOLS.get(part[0].protocol, part[0].protocol)} on {part[0].input}"
    sentence = f" in {NAMES.get(metric, metric)} ({how}): {'; '.join(words)}."
    return (
        element("p", name(names[0], 40), " minus ", name(names[1], 40), sentence, class_="headline") if words else None
    )


def _results(groups: Sequence[Group], found: Scored) -> list[Html]:
    """Return a tile with the headline score of every experiment, or what the log has in its place."""
    part = found.part()
    if part:
        return _scores(groups, found, part)
    tiles = []
    for group in groups[:_TILES]:
        title = "" if len(groups) == 1 else f", {clipped(group.name, 30)}"
        recall = [score for score in found.scores if score.method == group.name]
        key = next((key for score in recall for key in score.metrics if key.endswith("_recall@1")), "")
        last = group.first.metrics[-1] if group.first.metrics else {}
        logged = next((key for key in last if key.startswith("online/knn")), "loss")
        if key:
            words = key.removesuffix("_recall@1").replace("_", " ")
            chance = recall[0].metrics["chance_recall@1"]
            tiles.append(_tile(f"Recall at 1{title}", f"{recall[0].metrics[key]:.3f}", f"{words}; chance {chance:.3f}"))
        elif logged in last:
            tiles.append(_tile(f"{logged}{title}", number(last[logged]), "at the last logged step; not evaluated yet"))
    return tiles


def _scores(groups: Sequence[Group], found: Scored, part: Sequence[Score]) -> list[Html]:
    metric = shown(part[0])[0]
    table, budgets = summarise(part, metric), budgets_of(part)
    main = _main(part)
    how = f"{_PROTOCOLS.get(part[0].protocol, part[0].protocol)} on {part[0].input}"
    title = NAMES.get(metric, metric)
    tiles = []
    for group in groups[:_TILES]:
        cells = table.get(group.name, {})
        if main not in cells:
            continue
        cell = cells[main]
        lines = [f"± {cell.sd:.3f} over {counted(cell.repeats, repeats_of(part))}"] if cell.repeats > 1 else []
        lines.append(f"{how}, {main} labels")
        lines += [f"{budget}: {cells[budget].mean:.3f}" for budget in budgets if budget != main and budget in cells][:2]
        words = title[0].upper() + title[1:] if len(groups) == 1 else f"{clipped(group.name, 30)}, {title}"
        tiles.append(_tile(words, f"{cell.mean:.3f}" if abs(cell.mean) < 100 else f"{cell.mean:.1f}", lines))
    return tiles


def _facts(subjects: Sequence[Subject]) -> list[Html]:
    first = subjects[0]
    logged = [subject.metrics[-1] for subject in subjects if subject.metrics]
    seconds = sum(line["seconds"] for line in logged)
    steps = sum(int(line["step"]) for line in logged)
    of = "" if len(subjects) == 1 else f" of {counted(len(logged), 'run')}"
    tiles = [_tile("Training", duration(seconds) if logged else "–", f"{counted(steps, 'step')}{of}")]
    try:
        sizes = first.store.sizes
        words = ", ".join(f"{split} {count(size)}" for split, size in sizes.items())
        tiles.append(_tile("Rows", count(sum(sizes.values())), words))
    except UserError:
        tiles.append(_tile("Rows", "–", "the store is not here"))
    return tiles


def _health_tile(subjects: Sequence[Subject], beside: Sequence[tuple[str, Check]]) -> Html:
    every = [check for subject in subjects for check in checks(subject.run.directory, subject.metrics)]
    failed = sum(not check.good for check in [*every, *(check for _, check in beside)])
    return _tile("Health", "good" if not failed else counted(failed, "problem"), "checks below")


def _beside_baselines(groups: Sequence[Group], found: Scored) -> list[tuple[str, Check]]:
    """Return whether the headline score of each experiment is above those of the baselines, by its name."""
    part = found.part()
    if not part:
        return []
    metric = shown(part[0])[0]
    table, main = summarise(part, metric), _main(part)
    means = {method: cells[main].mean for method, cells in table.items() if main in cells}
    sign = -1 if metric in LOWER_IS_BETTER else 1
    found_checks = []
    for group in groups:
        others = {method: means[method] for method in baselines(part, groups) if method in means}
        if group.name not in means or not others:
            continue
        better = [method for method, mean in others.items() if sign * mean >= sign * means[group.name]]
        listed = " and ".join(f"{clipped(method, 24)} ({others[method]:.3f})" for method in better or others)
        words = f"With {main} labels, {NAMES.get(metric, metric)} is {means[group.name]:.3f},"
        words += f" no better than {listed}." if better else f" better than {listed}."
        found_checks.append((group.name, Check(not better, words)))
    return found_checks


def _main(part: Sequence[Score]) -> str:
    """Return the label budget of the headline: all labels if they were used."""
    budgets = budgets_of(part)
    return "all" if "all" in budgets else budgets[-1]


def _tile(what: str, value: str, more: str | Sequence[str]) -> Html:
    lines = [more] if isinstance(more, str) else more
    small = [element("small", line) for line in lines]
    return element("div", element("dt", what), element("dd", element("b", value), small))


def _health(subjects: Sequence[Subject], beside: Sequence[tuple[str, Check]]) -> Html:
    """List the checks of one run; of several the failed ones, and how many passed."""
    several = len(beside) > 1
    lines = [
        _check(
            check.good,
            fragment(element("span", name(whose), ": ", class_="whose") if several else None, check.sentence),
        )
        for whose, check in sorted(beside, key=lambda pair: pair[1].good)
    ]
    passed = 0
    for subject in subjects:
        every = checks(subject.run.directory, subject.metrics)
        failed = [check for check in every if not check.good]
        whose = element("span", name(subject.name), ": ", class_="whose") if len(subjects) > 1 else None
        passed += len(subjects) > 1 and not failed
        lines += [_check(check.good, fragment(whose, check.sentence)) for check in (failed if whose else every)]
    if passed:
        which = f"all {passed}" if passed == len(subjects) else f"{passed} of {len(subjects)}"
        words = f"The trainings of {which} runs passed every check: their end, losses, skipped steps and collapse."
        lines.append(_check(True, fragment(words)))
    return element("ul", lines, class_="health")


def _check(good: bool, words: Html) -> Html:
    badge = element("span", "good" if good else "look", class_="badge yes" if good else "badge no")
    return element("li", badge, element("span", words))


def _strip(subject: Subject) -> Html | None:
    """Return a few images of the store side by side; they repeat what the page shows below, with descriptions."""
    try:
        fold = subject.run.inputs.fold
        rows = StoreRows(subject.store, "train", fold)
        total = len(subject.store.rows_of("train", fold))
        pictures = [rows.picture(int(row) * total // (4 * _STRIP), "") for row in range(4 * _STRIP) if total]
    except UserError:
        return None
    shown = [one for one in pictures if one is not None][::4][:_STRIP]
    return element("div", shown, class_="hero", aria_hidden="true") if shown else None
