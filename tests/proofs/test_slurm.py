"""Jobs of a real SLURM, whose two nodes are this machine: Debian's slurmctld, slurmd, slurm-client and munge."""

import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from doors import ROOT, finished
from runs.states import PAIR, SHORT, assert_same_run

pytestmark = [pytest.mark.proofs, pytest.mark.xdist_group("slurm")]

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "scancel")
CONF = Path(__file__).with_name("slurm.conf").read_text()
WORDS = (*SHORT, "recipe.epochs=40")  # some five seconds, on a free machine
NODES = (*PAIR[:2], "trainer.devices=1", "trainer.num_nodes=2", "trainer.timeout_s=60")
TORCHRUN = (
    "-m torch.distributed.run --signals-to-handle=SIGTERM,SIGINT,SIGUSR1 --nnodes=2 --nproc-per-node=1 "
    "--node-rank=$SLURM_NODEID --master-addr=127.0.0.1 --master-port=29788"
)


class Slurm:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **os.environ, "SLURM_CONF": f"{folder}/slurm.conf", "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1",
            "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin",
        }  # fmt: skip

    def start(self) -> list[subprocess.Popen[bytes]]:
        for name in ("state", "n1", "n2"):
            (self.folder / name).mkdir()
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
        ports = [each.getsockname()[1] for each in sockets]
        for each in sockets:
            each.close()
        text = CONF.format(host=socket.gethostname(), user=getpass.getuser(), folder=self.folder, ports=ports)
        (self.folder / "slurm.conf").write_text(text)
        (self.folder / "munge.key").write_bytes(os.urandom(128))
        (self.folder / "munge.key").chmod(0o400)
        places = [f"--{name}={self.folder}/munge.{name.partition('-')[0]}" for name in
                  ("key-file", "socket", "pid-file", "log-file", "seed-file")]  # fmt: skip
        lines = (["munged", "-F", "-f", *places], ["slurmctld", "-D"], ["slurmd", "-D", "-N", "n1"],
                 ["slurmd", "-D", "-N", "n2"])  # fmt: skip
        daemons = []
        for line in lines:
            with open(self.folder / "daemons.txt", "ab") as out:
                daemons.append(subprocess.Popen(line, env=self.environment, stdout=out, stderr=out))
            time.sleep(0.5)
        return daemons

    def say(self, *line: str) -> str:
        return subprocess.run(line, env=self.environment, capture_output=True, text=True, check=True).stdout

    def submit(self, folder: Path, command: str, *options: str) -> str:
        """Queue a job that appends what it prints to folder/out.txt; returns its number."""
        script = folder / "job.sh"
        script.write_text(f"#!/bin/bash\n{command}\n")
        where = (f"--chdir={folder}", f"--output={folder}/out.txt", "--open-mode=append", *options, str(script))
        return self.say("sbatch", "--parsable", *where).strip()

    def state(self, job: str) -> str:
        return self.say("scontrol", "show", "job", job).partition("JobState=")[2].partition(" ")[0]

    def wait_for(self, what: Callable[[], bool], timeout: float = 180) -> None:
        deadline = time.monotonic() + timeout
        while not what():
            assert time.monotonic() < deadline, self.say("squeue")
            time.sleep(0.01)


@pytest.fixture(scope="module")
def slurm(tmp_path_factory) -> Iterator[Slurm]:
    slurm = Slurm(tmp_path_factory.mktemp("slurm"))
    absent = [name for name in PROGRAMS if shutil.which(name, path=slurm.environment["PATH"]) is None]
    if absent:
        pytest.skip(f"SLURM is not installed here: there is no {', '.join(absent)}")
    daemons = slurm.start()
    try:
        slurm.wait_for(lambda: "State=IDLE" in slurm.say("scontrol", "show", "node", "n2"), 30)
        yield slurm
        slurm.say("scancel", "--user", getpass.getuser())
        slurm.wait_for(lambda: not slurm.say("squeue", "--noheader"), 60)
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait(30)


def train(*words: str, before: str = "") -> str:
    """A line of a job's script."""
    return f"srun bash -c 'exec {sys.executable} {before} {ROOT}/train.py {' '.join((*WORDS, *words))}'"


def said(folder: Path) -> str:
    out = folder / "out.txt"
    return out.read_text() if out.exists() else ""


def test_a_signal_at_any_time_queues_the_job_again(slurm, tmp_path):
    """Before training, within it, and once nothing is left but the test."""
    job, folder = slurm.submit(tmp_path, train("run=b"), "-n1"), tmp_path / "runs" / "b"
    for count, sign in enumerate(("loading torch", "epoch 2/40", "epoch 40/40"), start=1):
        slurm.wait_for(lambda sign=sign, count=count: said(tmp_path).count(sign) >= (count if "load" in sign else 1))
        slurm.say("scancel", "--signal=USR1", job)
        slurm.wait_for(lambda count=count: said(tmp_path).count(f"Requeued job {job}") == count)
    slurm.wait_for(lambda: slurm.state(job) == "COMPLETED")
    finished(tmp_path, "train", *WORDS, "run=whole")
    assert_same_run(tmp_path / "runs" / "whole", folder)


@pytest.mark.parametrize("before", ["", TORCHRUN], ids=["srun", "torchrun"])
def test_a_preempted_job_of_two_nodes_is_queued_again(slurm, tmp_path, before):
    job = slurm.submit(tmp_path, train("run=b", *NODES, before=before), "-N2", "-n2")
    slurm.wait_for(lambda: "epoch 2/40" in said(tmp_path))
    slurm.say("sbatch", "--partition=urgent", "-N2", "-n4", "--output=/dev/null", "--wrap", "sleep 1")
    slurm.wait_for(lambda: slurm.state(job) == "COMPLETED")
    assert "Stopped by SIGTERM at step" in said(tmp_path) and "continues" in said(tmp_path)
    finished(tmp_path, "train", *WORDS, *PAIR, "run=whole")
    assert_same_run(tmp_path / "runs" / "whole", tmp_path / "runs" / "b")


def test_nodes_without_a_shared_folder(slurm, tmp_path):
    job = slurm.submit(tmp_path, train("run=b", *NODES, "runs=$SLURMD_NODENAME"), "-N2", "-n2")
    slurm.wait_for(lambda: slurm.state(job) == "FAILED")
    lines = [line for line in said(tmp_path).splitlines() if "n2" in line and "srun" not in line]
    assert lines == ["n1/b of n1 is not there on n2: runs=FOLDER takes one that all nodes share."]
    assert "Traceback" not in said(tmp_path)


def test_an_array_by_submitit(slurm, tmp_path):
    """A job of two ranks that is told to stop goes on; its driver, started again, waits for it and submits nothing."""
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    words = (*WORDS, *PAIR, "run=s", "hydra/launcher=submitit_slurm", "hydra.launcher.tasks_per_node=2")
    line = [sys.executable, f"{ROOT}/train.py", "-m", "seed=0,1", *words, "hydra.launcher.cpus_per_task=1"]
    with open(tmp_path / "out.txt", "w") as out:
        driver = subprocess.Popen(line, cwd=tmp_path, env=slurm.environment, stdout=out, stderr=out)
    log = tmp_path / "runs" / "s" / "seed-0" / "train.log"
    slurm.wait_for(lambda: log.exists() and "epoch 2/40" in log.read_text())
    (array,) = {job.partition("_")[0] for job in slurm.say("squeue", "--noheader", "--format=%i", "--array").split()}
    slurm.say("scancel", "--signal=USR2", f"{array}_0")
    slurm.wait_for(lambda: "Requeued job" in log.read_text())
    driver.kill()
    driver.wait()
    done = subprocess.run(line, cwd=tmp_path, env=slurm.environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0 and f"SLURM has: {array}_0" in done.stdout, done.stderr
    assert len(list((tmp_path / "runs" / "s" / ".submitit").glob("*_0"))) == 1
    finished(tmp_path, "train", *WORDS, *PAIR, "run=whole")
    assert_same_run(tmp_path / "runs" / "whole", log.parent)
