"""The workflow, the issue forms and the style page parse, run the commands that people run, and quote the code."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
GITHUB = ROOT / ".github"
FORMS = sorted(path for path in (GITHUB / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")
pytestmark = pytest.mark.core


def read(path: Path) -> dict[Any, Any]:
    return yaml.safe_load(path.read_text())


WORKFLOW = read(GITHUB / "workflows" / "ci.yml")
STEPS = {name: job["steps"] for name, job in WORKFLOW["jobs"].items()}


def commands(job: str) -> str:
    return "\n".join(step["run"] for step in STEPS[job] if "run" in step)


def test_the_workflow_runs_ci_on_the_pythons_it_needs() -> None:
    assert ".ci/run" in commands("checks").splitlines()
    (setup,) = [step for step in STEPS["checks"] if "actions/setup-python" in step.get("uses", "")]
    needed = set(re.findall(r"^fresh_copy (\S+)$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE))
    assert set(setup["with"]["python-version"].split()) == needed == {"3.11", "3.12"}
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o100  # executable


def test_documentation_is_built_by_the_command_of_contributing() -> None:
    (command,) = re.findall(r"^\| build the docs \| `(.+)` \|$", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    assert command in commands("docs")


@pytest.mark.parametrize(("job", "folder"), [("docs", "site"), ("packages", "dist")])
def test_results_are_uploaded(job: str, folder: str) -> None:
    (upload,) = [step for step in STEPS[job] if "actions/upload-artifact" in step.get("uses", "")]
    assert upload["with"]["path"] == folder
    assert upload["with"]["if-no-files-found"] == "error"


def test_the_workflow_may_read_and_no_more() -> None:
    assert WORKFLOW["permissions"] == {"contents": "read"}
    for name, job in WORKFLOW["jobs"].items():
        assert "permissions" not in job, name
        assert job["timeout-minutes"] <= 120, name
    checkouts = [step for steps in STEPS.values() for step in steps if "actions/checkout" in step.get("uses", "")]
    assert len(checkouts) == len(STEPS)
    assert not any(step["with"]["persist-credentials"] for step in checkouts)


def test_actions_are_pinned_by_commit() -> None:
    used = [step["uses"] for steps in STEPS.values() for step in steps if "uses" in step]
    assert len(used) >= 2 * len(STEPS)
    for action in used:
        assert re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", action), action


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_issue_forms_ask_for_what_is_needed(path: Path) -> None:
    form = read(path)
    assert {"name", "description", "body"} <= set(form)
    kinds = {"textarea", "input", "dropdown", "checkboxes"}
    for field in form["body"]:
        assert field["type"] in kinds
        assert field["attributes"]["label"]
    names = [field["id"] for field in form["body"]]
    assert len(set(names)) == len(names)
    required = {field["id"] for field in form["body"] if field.get("validations", {}).get("required")}
    assert required >= {"bug": {"command", "output", "versions"}}.get(path.stem, set(names[:1]))


def test_there_is_a_form_for_each_kind_of_issue() -> None:
    assert [path.stem for path in FORMS] == ["bug", "feature", "question"]


def test_style_pairs_are_of_this_repository() -> None:
    style = (ROOT / "CONTRIBUTING.md").read_text().split("\n## Style\n")[1]
    pairs = re.findall(r"- before: ``(.+)``\n *- after: ``(.+)``", style)
    assert len(pairs) == 5
    code = "".join(path.read_text() for path in (ROOT / "mmcl_jax").rglob("*.py"))
    for before, after in pairs:
        assert after in code
        assert before not in code
