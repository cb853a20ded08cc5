"""The launchers: linted, and run with stand-ins for the commands of the cluster."""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from mmcl_jax.config import shipped

ROOT = Path(__file__).parents[2]
LAUNCH = ROOT / "launch"
ARGUMENTS = ["--config", "mmcl", '--config.data=/shared/it\'s a "store"', "--workdir", "/shared/$HOME/*"]


@pytest.mark.parametrize("name", ["slurm.sbatch", "tpu_vm.sh"])
def test_shellcheck(name: str) -> None:
    shellcheck = Path(sys.executable).parent / "shellcheck"
    checked = subprocess.run([shellcheck, LAUNCH / name], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


class Cluster:
    """A folder of stand-ins for commands. Each writes down its arguments, then runs a few lines of bash."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.bin, self.home, self.mount = folder, folder / "bin", folder / "home", folder / "mount"
        for made in (self.bin, self.home, self.mount):
            made.mkdir()
        keep = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM_", "MMCL_", "TPU_"))}
        self.environment = keep | {"PATH": f"{self.bin}:{os.environ['PATH']}", "AT": str(folder)}

    def stand_in(self, name: str, lines: str, folder: Path | None = None) -> None:
        path = (folder or self.bin) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # In one write, since some of them run side by side.
        record = f"""printf '%s\\0' {name} "$@" $'\\036' >>"$AT/calls" """
        path.write_text(f"#!/usr/bin/env bash\n{record}\n{lines}\n")
        path.chmod(0o755)

    def calls(self) -> list[list[str]]:
        file = self.folder / "calls"
        records = file.read_text().split("\036\0")[:-1] if file.exists() else []
        return [record.split("\0")[:-1] for record in records]

    def start(self, script: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["bash", LAUNCH / script, *arguments],
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, script: str, *arguments: str, **environment: str) -> tuple[int, str, str]:
        process = self.start(script, *arguments, **environment)
        out, error = process.communicate(timeout=30)
        return process.returncode, out, error


def wait_for(condition, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


# --- Slurm


@pytest.fixture
def slurm(tmp_path: Path) -> Cluster:
    cluster = Cluster(tmp_path)
    cluster.environment |= {"SLURM_JOB_ID": "7", "SLURM_CPUS_PER_TASK": "8", "STATE": "RUNNING"}
    cluster.stand_in("srun", '[[ $1 != --help ]] || { echo "$SRUN_HELP"; exit 0; }; exit "$STATUS"')
    cluster.stand_in("scontrol", 'case $1 in show) echo "JobId=7 JobState=$STATE" ;; *) exit "${REQUEUE:-0}" ;; esac')
    return cluster


@pytest.mark.parametrize(
    ("status", "environment", "requeued", "says"),
    [
        (0, {}, False, ""),
        (75, {}, True, "unfinished and saved; queued again"),
        (75, {"SLURM_RESTART_COUNT": "99"}, True, "queued again"),
        (75, {"STATE": "COMPLETING"}, False, "Slurm is ending the job"),
        (75, {"REQUEUE": "1"}, True, "the same sbatch command continues it"),
        (2, {}, False, "bad input"),
        (1, {}, True, "crashed with status 1; queued again"),
        (137, {"SLURM_RESTART_COUNT": "9"}, True, "queued again"),
        (137, {"SLURM_RESTART_COUNT": "10"}, False, "after 10 restarts; not started again"),
        (137, {"MMCL_MAX_RESTARTS": "0"}, False, "after 0 restarts; not started again"),
        (137, {"STATE": "COMPLETING"}, False, "Slurm is ending the job"),
    ],
)
def test_slurm_starts_the_job_again_or_not(
    slurm: Cluster, status: int, environment: dict[str, str], requeued: bool, says: str
) -> None:
    code, _, error = slurm.run("slurm.sbatch", *ARGUMENTS, STATUS=str(status), **environment)
    assert code == status
    assert says in error
    assert bool(says) == bool(error)
    assert (["scontrol", "requeue", "7"] in slurm.calls()) == requeued


@pytest.mark.parametrize("help_text", ["", "   --ignore-signals=SIGNALS   ..."])
def test_slurm_hands_the_arguments_on(slurm: Cluster, help_text: str) -> None:
    slurm.run("slurm.sbatch", *ARGUMENTS, STATUS="0", SRUN_HELP=help_text, MMCL="/an env/bin/mmcl")
    options = ["--gpu-bind=none", "--cpus-per-task=8", "--kill-on-bad-exit=0", "--wait=180"]
    options += ["--ignore-signals=TERM"] if help_text else []
    command = ["/an env/bin/mmcl", "pretrain", "--distributed", *ARGUMENTS]
    assert slurm.calls() == [["srun", "--help"], ["srun", *options, *command]]


@pytest.mark.parametrize(
    ("arguments", "environment", "sentence"),
    [
        ([], {}, "give the arguments of mmcl pretrain"),
        (ARGUMENTS, {"SLURM_GPUS_ON_NODE": "8", "SLURM_NTASKS_PER_NODE": "4"}, "8 GPUs but 4 tasks on a node"),
        (ARGUMENTS, {"SLURM_GPUS_ON_NODE": "8"}, "8 GPUs but 1 tasks on a node"),
    ],
)
def test_slurm_refuses_bad_jobs(
    slurm: Cluster, arguments: list[str], environment: dict[str, str], sentence: str
) -> None:
    code, _, error = slurm.run("slurm.sbatch", *arguments, STATUS="0", **environment)
    assert code == 2
    assert sentence in error
    assert error.count("\n") == 1
    assert slurm.calls() == []


def test_slurm_script_outlives_sigterm(slurm: Cluster) -> None:
    slurm.stand_in("srun", '[[ $1 == --help ]] || { until [[ -e $AT/go ]]; do sleep 0.02; done; exit "$STATUS"; }')
    process = slurm.start("slurm.sbatch", *ARGUMENTS, STATUS="75")
    wait_for(lambda: len(slurm.calls()) == 2)
    process.send_signal(signal.SIGTERM)
    (slurm.folder / "go").touch()
    _, error = process.communicate(timeout=30)
    assert process.returncode == 75
    assert "queued again" in error


def test_slurm_directives() -> None:
    lines = re.findall(r"^#SBATCH --(\S+)", (LAUNCH / "slurm.sbatch").read_text(), re.MULTILINE)
    options = dict(line.partition("=")[::2] for line in lines)
    assert "requeue" in options
    assert options["open-mode"] == "append"
    assert re.fullmatch(r"TERM@\d+", options["signal"])  # with B: the tasks would not get it
    assert options["ntasks-per-node"] == options["gpus-per-node"]


WORKER = """
import jax
jax.distributed.initialize()
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec as P
mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
mine = np.full((jax.local_device_count(),), jax.process_index() + 1.0, np.float32)
array = jax.make_array_from_process_local_data(NamedSharding(mesh, P("data")), mine)
total = jax.jit(jax.shard_map(lambda x: jax.lax.psum(x, "data"), mesh=mesh, in_specs=P("data"), out_specs=P()))(array)
print(jax.process_index(), jax.process_count(), float(total[0]))
"""


def free_job_id() -> int:
    """A job id from which JAX derives a port that is free."""
    for job in range(os.getpid(), os.getpid() + 1000):
        with socket.socket() as probe:
            try:
                probe.bind(("", job % 4096 + 61440))
            except OSError:
                continue
            return job
    raise AssertionError("no free port")


def test_jax_needs_no_arguments_in_a_slurm_task() -> None:
    keep = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("SLURM_", "JAX_", "XLA_", "OMPI_")) and "_proxy" not in key.lower()
    }
    shared = {"SLURM_JOB_ID": str(free_job_id()), "SLURM_STEP_NODELIST": "localhost", "SLURM_NTASKS": "2"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER],
            env=keep | shared | {"SLURM_PROCID": task, "SLURM_LOCALID": task, "JAX_PLATFORMS": "cpu"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for task in "01"
    ]
    try:
        for task, process in enumerate(processes):
            out, error = process.communicate(timeout=60)
            assert process.returncode == 0, error
            assert out.splitlines()[-1] == f"{task} 2 3.0"  # before it, gloo says that it is connected
    finally:
        for process in processes:
            process.kill()
            process.communicate()


# --- Cloud TPU VMs

SLICE = {
    "TPU_NAME": "mmcl", "ZONE": "zone-a", "ACCELERATOR": "v5litepod-16", "RUNTIME": "v2-alpha-tpuv5-lite",
    "NFS": "10.0.0.2:/share",
}  # fmt: skip
TPUS = ["gcloud", "compute", "tpus"]
SSH = [*TPUS, "tpu-vm", "ssh", "mmcl", "--zone=zone-a", "--worker=all"]


@pytest.fixture
def tpu(tmp_path: Path) -> Iterator[Cluster]:
    """A slice of one host, whose home is a folder here."""
    cluster = Cluster(tmp_path)
    cluster.environment |= SLICE | {"MOUNT": str(cluster.mount), "POLL": "0.05"}
    # `gcloud list` and the state of the host answer from files, line by line, where there is such a file.
    cluster.stand_in(
        "gcloud",
        """
        pop() { head -n 1 "$1"; sed -i 1d "$1"; }
        for last; do :; done
        case "$*" in
          *queued-resources\\ list*) if [[ -e $AT/slices ]]; then pop "$AT/slices"; else echo ACTIVE; fi ;;
          *here_state\\ ) if [[ -e $AT/hosts ]]; then pop "$AT/hosts"; else HOME=$AT/home bash -c "${last#*=}"; fi ;;
          *--command*) [[ -e $AT/hosts ]] || HOME=$AT/home bash -c "${last#*=}" ;;
          *\\ scp\\ *) cp "$5" "$AT/home" ;;
        esac
        """,
    )
    for name in ("sudo", "python3"):
        cluster.stand_in(name, "")
    cluster.stand_in("mountpoint", "exit 1")
    cluster.stand_in("uv", "", cluster.home / ".local" / "bin")
    work = 'trap "exit 75" TERM; touch "$AT/working"; while [[ ! -e $AT/go ]]; do sleep 0.02; done; exit "${STATUS:-0}"'
    cluster.stand_in("mmcl", work, cluster.home / "mmcl" / "venv" / "bin")
    yield cluster
    (cluster.folder / "go").touch()  # whatever a failed test left behind ends


def verbs(cluster: Cluster) -> list[str]:
    """What gcloud was asked to do, without the questions."""
    calls = [call for call in cluster.calls() if call[0] == "gcloud"]
    asked = [shlex.split(call[-1].rpartition("; ")[2])[0] if call[4] == "ssh" else call[4] for call in calls]
    return [verb for verb in asked if verb not in ("list", "here_state")]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [({}, []), ({"SPOT": "1"}, ["--spot"]), ({"SPOT": "0", "PROJECT": "p"}, [])],
)
def test_tpu_create(tpu: Cluster, environment: dict[str, str], expected: list[str]) -> None:
    assert tpu.run("tpu_vm.sh", "create", **environment)[0] == 0
    where = ["--zone=zone-a", *(["--project=p"] if "PROJECT" in environment else [])]
    kind = ["--accelerator-type=v5litepod-16", "--runtime-version=v2-alpha-tpuv5-lite"]
    [call] = tpu.calls()
    assert call == [*TPUS, "queued-resources", "create", "mmcl", "--node-id=mmcl", *where, *kind, *expected]


def test_tpu_setup(tpu: Cluster) -> None:
    code, _, error = tpu.run("tpu_vm.sh", "setup")
    assert code == 0, error
    scp, ssh, *on_host = tpu.calls()
    assert scp == [*TPUS, "tpu-vm", "scp", scp[5], "mmcl:mmcl.tar.gz", "--zone=zone-a", "--worker=all"]
    assert not Path(scp[5]).exists()
    assert ssh[:-1] == SSH
    assert ["sudo", "mount", "-t", "nfs", SLICE["NFS"], str(tpu.mount)] in on_host
    assert on_host[-1][-1] == f"{tpu.home}/mmcl/src[tpu]"
    assert (tpu.home / "mmcl" / "src" / "mmcl_jax" / "cli" / "main.py").exists()


def test_tpu_delete(tpu: Cluster) -> None:
    assert tpu.run("tpu_vm.sh", "delete")[0] == 0
    assert tpu.calls() == [[*TPUS, "queued-resources", "delete", "mmcl", "--zone=zone-a", "--force", "--quiet"]]


def test_tpu_commands_reach_every_slice(tpu: Cluster) -> None:
    tpu.environment |= {"SLICES": "2"}
    assert tpu.run("tpu_vm.sh", "create")[0] == 0
    [create] = [call for call in tpu.calls() if call[4] == "create"]
    assert {"--node-count=2", "--node-prefix=mmcl"} < set(create)
    assert not any(word.startswith("--node-id") for word in create)
    assert tpu.run("tpu_vm.sh", "setup")[0] == 0
    code, out, _ = tpu.run("tpu_vm.sh", "status")
    assert code == 0
    assert out.count("mmcl on ") == 2
    calls = [call for call in tpu.calls() if call[0] == "gcloud"]
    for verb, number in (("scp", 2), ("ssh", 4)):
        named = [call[5 if verb == "ssh" else 6] for call in calls if call[4] == verb]
        assert sorted(name.partition(":")[0] for name in named) == sorted(["mmcl-0", "mmcl-1"] * (number // 2))


def test_tpu_run_status_stop(tpu: Cluster) -> None:
    def state() -> str:
        slice_, host = tpu.run("tpu_vm.sh", "status")[1].splitlines()
        assert slice_ == "slice: ACTIVE"
        return host.partition(": ")[2]

    assert state() == "idle"
    code, out, error = tpu.run("tpu_vm.sh", "run", *ARGUMENTS)
    assert code == 0, error
    log = Path(out.rpartition("log in ")[2].strip())
    assert log.exists()
    assert log.parent == tpu.mount / "logs" / "mmcl"
    wait_for((tpu.folder / "working").exists)
    [started] = [call for call in tpu.calls() if call[0] == "mmcl"]
    assert started == ["mmcl", "pretrain", "--distributed", *ARGUMENTS]
    assert state() == "running"
    assert tpu.run("tpu_vm.sh", "run", *ARGUMENTS)[0] == 1  # not twice
    assert tpu.run("tpu_vm.sh", "stop")[0] == 0
    wait_for(lambda: state() == "exit 75")
    assert tpu.run("tpu_vm.sh", "stop")[0] == 0  # nothing left to stop

    (tpu.folder / "working").unlink()
    assert tpu.run("tpu_vm.sh", "run", *ARGUMENTS)[0] == 0
    wait_for((tpu.folder / "working").exists)
    assert state() == "running"
    (tpu.folder / "go").touch()
    wait_for(lambda: state() == "exit 0")

    ssh = [call for call in tpu.calls() if call[:5] == SSH[:5]]
    assert all(call[:-1] == SSH for call in ssh)
    question = ["list", "--zone=zone-a", "--filter=name~/mmcl$", "--format=value(state.state)"]
    assert tpu.calls()[0] == [*TPUS, "queued-resources", *question]


def test_tpu_status_asks_no_host_before_there_is_one(tpu: Cluster) -> None:
    (tpu.folder / "slices").write_text("\nPROVISIONING\n")
    assert [tpu.run("tpu_vm.sh", "status")[1] for _ in range(2)] == ["slice: none\n", "slice: PROVISIONING\n"]
    assert verbs(tpu) == []


def test_tpu_keep_starts_again_after_preemption(tpu: Cluster) -> None:
    (tpu.folder / "slices").write_text("\nWAITING_FOR_RESOURCES\nACTIVE\nACTIVE\nSUSPENDED\n\nACTIVE\nACTIVE\nACTIVE\n")
    (tpu.folder / "hosts").write_text(
        "".join(f"mmcl on host: {s}\n" for s in ("idle", "running", "idle", "exit 75", "exit 0"))
    )
    code, out, error = tpu.run("tpu_vm.sh", "keep", *ARGUMENTS, MAX_RESTARTS="0")
    assert code == 0, error
    begin = ["scp", "here_setup", "here_start"]
    assert verbs(tpu) == ["create", *begin, "delete", "create", *begin, *begin]
    assert "WAITING_FOR_RESOURCES" in out


@pytest.mark.parametrize(
    ("slices", "hosts", "code", "starts", "says"),
    [
        ("FAILED", [], 2, 0, "the request failed"),
        ("ACTIVE", ["exit 2"], 2, 0, "bad input"),
        ("ACTIVE", ["idle", "exit 1", "lost", "exit 137"], 1, 3, "crashed 3 times"),
    ],
)
def test_tpu_keep_gives_up(tpu: Cluster, slices: str, hosts: list[str], code: int, starts: int, says: str) -> None:
    (tpu.folder / "slices").write_text(f"{slices}\n" * 9)
    (tpu.folder / "hosts").write_text("".join(f"mmcl on host: {state}\n" for state in hosts))
    found, _, error = tpu.run("tpu_vm.sh", "keep", *ARGUMENTS, MAX_RESTARTS="2")
    assert found == code
    assert says in error
    assert verbs(tpu).count("here_start") == starts


@pytest.mark.parametrize(
    ("arguments", "missing", "sentence"),
    [
        (["status"], "SLICES=two", "SLICES is 'two', which is no number of slices."),
        ([], None, "the first argument must be create, setup"),
        (["begin"], None, "the first argument must be create, setup"),
        (["run"], None, "give the arguments of mmcl pretrain after run"),
        (["keep"], None, "give the arguments of mmcl pretrain after keep"),
        *((["status"], name, f"set {name}") for name in ("TPU_NAME", "ZONE")),
        *((["create"], name, f"set {name}") for name in ("TPU_NAME", "ZONE", "ACCELERATOR", "RUNTIME")),
        *((["setup"], name, f"set {name}") for name in ("TPU_NAME", "ZONE", "NFS")),
        *((["keep", "--config=mmcl"], name, f"set {name}") for name in SLICE),
    ],
)
def test_tpu_refuses_before_it_does_anything(
    tpu: Cluster, arguments: list[str], missing: str | None, sentence: str
) -> None:
    name, _, value = (missing or "").partition("=")
    code, out, error = tpu.run("tpu_vm.sh", *arguments, **({name: value} if name else {}))
    assert code == 2
    assert error.startswith(f"tpu_vm.sh: {sentence}")
    assert error.count("\n") == 1
    assert out == ""
    assert tpu.calls() == []


# --- GKE


def objects(name: str) -> dict[str, dict]:
    """The objects of a manifest by kind."""
    return {document["kind"]: document for document in yaml.safe_load_all((LAUNCH / name).read_text())}


@pytest.mark.parametrize(
    ("name", "chip"), [("gke_jobset.yaml", "google.com/tpu"), ("gke_jobset_gpu.yaml", "nvidia.com/gpu")]
)
def test_gke_jobset(name: str, chip: str) -> None:
    jobset = objects(name)["JobSet"]["spec"]
    [replicated] = jobset["replicatedJobs"]
    job = replicated["template"]["spec"]
    pod = job["template"]["spec"]
    [container] = pod["containers"]
    assert container["args"][:2] == ["pretrain", "--distributed"]
    options = dict(argument.removeprefix("--").split("=") for argument in container["args"][2:])
    assert options["config"] in shipped()
    [mount] = [mount for mount in container["volumeMounts"] if mount["mountPath"] == "/data"]
    assert options["config.data"].startswith("/data/")
    assert options["workdir"].startswith("/data/")
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert "persistentVolumeClaim" in volumes[mount["name"]]
    assert container["resources"]["limits"][chip] > 0

    # One process per host, all or none, started again by the JobSet alone.
    assert replicated["replicas"] == 1
    assert job["parallelism"] == job["completions"] > 1
    assert (job["completionMode"], job["backoffLimit"], pod["restartPolicy"]) == ("Indexed", 0, "Never")
    assert pod["terminationGracePeriodSeconds"] >= 60
    [fatal] = job["podFailurePolicy"]["rules"]
    assert fatal["action"] == "FailJob"
    assert fatal["onExitCodes"] == {"containerName": container["name"], "operator": "In", "values": [2]}
    [rule] = jobset["failurePolicy"]["rules"]
    assert (rule["action"], rule["onJobFailureReasons"]) == ("FailJobSet", ["PodFailurePolicy"])
    assert jobset["failurePolicy"]["maxRestarts"] > 0
    assert "subdomain" not in jobset.get("network", {})  # JAX expects the default


def test_gke_slice_has_as_many_chips_as_its_pods_ask_for() -> None:
    job = objects("gke_jobset.yaml")["JobSet"]["spec"]["replicatedJobs"][0]["template"]["spec"]
    pod = job["template"]["spec"]
    rows, columns = pod["nodeSelector"]["cloud.google.com/gke-tpu-topology"].split("x")
    chips = pod["containers"][0]["resources"]["limits"]["google.com/tpu"]
    assert int(rows) * int(columns) == job["parallelism"] * chips


def test_gke_gpu_pods_may_look_each_other_up() -> None:
    manifest = objects("gke_jobset_gpu.yaml")
    account, role, binding, jobset = (manifest[kind] for kind in ("ServiceAccount", "Role", "RoleBinding", "JobSet"))
    pod = jobset["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
    assert len({item["metadata"]["namespace"] for item in manifest.values()}) == 1
    assert pod["serviceAccountName"] == account["metadata"]["name"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", **account["metadata"]}]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    granted = {(group, what, verb) for rule in role["rules"] for group in rule["apiGroups"]
               for what in rule["resources"] for verb in rule["verbs"]}  # fmt: skip
    assert granted == {("", "pods", "list"), ("batch", "jobs", "get")}  # what JAX calls, and no more


def test_everything_the_package_is_built_from_is_copied() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {"pyproject.toml", project["project"]["readme"], *project["project"]["license-files"]}
    needed |= {*wheel["packages"], *wheel["force-include"]}
    copies = re.findall(r"^COPY (.+) \S+$", (LAUNCH / "Dockerfile").read_text(), re.MULTILINE)
    assert {source for line in copies for source in line.split()} == needed
    archived = re.search(r"mmcl\.tar\.gz\" \\\n +(.+)\n", (LAUNCH / "tpu_vm.sh").read_text())
    assert archived is not None
    assert set(archived[1].split()) == needed
