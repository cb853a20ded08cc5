"""Variables of launchers that do not fit the job: one sentence, before anything is waited for."""

import pytest

from mmcl_jax.errors import UserError
from mmcl_jax.training.processes.variables import check_alone, check_variables

OWN = {"JAX_COORDINATOR_ADDRESS": "10.0.0.2:8476", "JAX_NUM_PROCESSES": "4", "JAX_PROCESS_ID": "1"}
SLICES = {"MEGASCALE_COORDINATOR_ADDRESS": "10.0.0.2", "MEGASCALE_NUM_SLICES": "2", "MEGASCALE_SLICE_ID": "1"}
SLURM = {"SLURM_PROCID": "1", "SLURM_NTASKS": "4", "SLURM_STEP_NUM_TASKS": "4"}
WORKERS = {"TPU_WORKER_HOSTNAMES": "a,b", "TPU_WORKER_ID": "1"}


@pytest.mark.parametrize(
    "environment",
    [
        {},
        OWN,
        OWN | SLICES,
        OWN | SLURM,
        OWN | WORKERS,
        SLICES | WORKERS,
        OWN | {"JAX_COORDINATOR_ADDRESS": "[fd00::2]:8476"},
        # A local launcher inside a Slurm task, and an allocation of several tasks of which this is none.
        OWN | {"SLURM_PROCID": "0", "SLURM_NTASKS": "1", "SLURM_STEP_NUM_TASKS": "1"},
        OWN | {"SLURM_NTASKS": "8"},
    ],
)
def test_variables_that_fit(environment: dict[str, str]) -> None:
    check_variables(environment)


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        (OWN | {"JAX_PROCESS_ID": "4"}, "JAX_PROCESS_ID is '4' and JAX_NUM_PROCESSES is '4'"),
        (OWN | {"JAX_PROCESS_ID": "-1"}, "JAX_PROCESS_ID is '-1'"),
        (OWN | {"JAX_NUM_PROCESSES": "four"}, "JAX_NUM_PROCESSES is 'four'"),
        (OWN | {"JAX_COORDINATOR_ADDRESS": "10.0.0.2"}, "set it to HOST:PORT"),
        (OWN | {"JAX_COORDINATOR_ADDRESS": ":8476"}, "set it to HOST:PORT"),
        (OWN | {"JAX_COORDINATOR_ADDRESS": "a:99999"}, "set it to HOST:PORT"),
        ({"JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "0"}, "are set, but not JAX_COORDINATOR_ADDRESS"),
        (OWN | SLURM | {"SLURM_PROCID": "2"}, "this is task 2 of the 4 of a Slurm step: unset JAX_COORDINATOR_ADDRESS"),
        (OWN | SLURM | {"SLURM_STEP_NUM_TASKS": "8", "SLURM_NTASKS": "8"}, "task 1 of the 8 of a Slurm step"),
        ({"SLURM_PROCID": "4", "SLURM_NTASKS": "4"}, "SLURM_PROCID is '4' and SLURM_NTASKS is '4'"),
        (SLICES | {"MEGASCALE_SLICE_ID": "2"}, "MEGASCALE_SLICE_ID is '2' and MEGASCALE_NUM_SLICES is '2'"),
        ({"MEGASCALE_COORDINATOR_ADDRESS": "a"}, "but MEGASCALE_NUM_SLICES and MEGASCALE_SLICE_ID are missing"),
        ({"MEGASCALE_NUM_SLICES": "2"}, "but MEGASCALE_COORDINATOR_ADDRESS and MEGASCALE_SLICE_ID are missing"),
        (OWN | SLICES | {"MEGASCALE_NUM_SLICES": "3"}, "3, which does not divide JAX_NUM_PROCESSES, 4"),
        (WORKERS | {"TPU_WORKER_ID": "2"}, "TPU_WORKER_ID is '2', but TPU_WORKER_HOSTNAMES names 2 hosts"),
    ],
)
def test_variables_that_do_not_fit(environment: dict[str, str], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence.replace("[", r"\[")) as raised:
        check_variables(environment)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        (OWN, "JAX_NUM_PROCESSES"),
        (SLICES, "MEGASCALE_COORDINATOR_ADDRESS"),
        ({"MEGASCALE_NUM_SLICES": "2"}, "MEGASCALE_NUM_SLICES"),
    ],
)
def test_a_command_that_runs_alone_is_not_part_of_a_job(environment: dict[str, str], name: str) -> None:
    with pytest.raises(UserError, match=f"{name} is .* unset it, or add --distributed"):
        check_alone(environment)


def test_a_job_of_one_may_run_alone() -> None:
    check_alone({"JAX_NUM_PROCESSES": "1", "MEGASCALE_NUM_SLICES": "1", "SLURM_NTASKS": "8"})
