"""A Slurm cluster of this machine in a folder of its own: two nodes, one partition, nothing left when it has stopped.

Its daemons run in the foreground, so that each is a child of the test; jobs and their supervisors are found by the
cluster's mark, a variable that they inherit.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import uuid
from pathlib import Path

import psutil

from tests.integration.commands import free_address, is_alive, wait_until

COMMANDS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol")
PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge")
SERVERS_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
NODES = ("n1", "n2")
LOCAL = {"controller": "127.0.0.1", "n1": "127.0.0.1", "n2": "127.0.0.1"}
CONFIGURATION = """\
ClusterName=scaler
SlurmctldHost={host}({controller_address})
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerParameters=sched_interval=1,bf_interval=1,sched_min_interval=0,batch_sched_delay=0
ReturnToService=2
SlurmdTimeout=10
KillWait=2
MessageTimeout=3
PropagateResourceLimits=NONE
SlurmdParameters=config_overrides
NodeName=n1 NodeHostname={host} NodeAddr={n1_address} Port={n1_port} CPUs=4 RealMemory=4000
NodeName=n2 NodeHostname={host} NodeAddr={n2_address} Port={n2_port} CPUs=4 RealMemory=4000
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=INFINITE DefaultTime=60 State=UP
PartitionName=short Nodes=n1,n2 MaxTime=2 State=UP
"""


class SlurmCluster:
    """See the module. `addresses` and `enter` place its parts in network namespaces."""

    def __init__(self, folder, addresses=LOCAL, enter=None):
        self.folder = Path(folder)
        self.mark = uuid.uuid4().hex
        self._addresses = addresses
        self._enter = enter or {}
        self._daemons = {}
        port = int(free_address().rpartition(":")[2])
        self._ports = {"port": port, "n1_port": port + 1, "n2_port": port + 2}
        self.environment = {
            **os.environ,
            "PATH": SERVERS_PATH,
            "SLURM_CONF": str(self.folder / "slurm.conf"),
            "MARK_OF_CLUSTER": self.mark,  # of all that it starts; no option of the product has this name
        }

    def __enter__(self):
        try:
            self._prepare()
            self.start("munged")
            wait_until((self.folder / "munge" / "socket").exists)
            self.start("controller")
            for node in NODES:
                self.start(node)
            self.wait_idle(NODES)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *details):
        self.stop()

    # ---- its daemons

    def start(self, name):
        """Start one of `munged`, `controller`, `n1`, `n2`."""
        folder, configuration = self.folder, str(self.folder / "slurm.conf")
        munge = folder / "munge"
        munged = (
            "munged",
            "--foreground",
            "--force",
            f"--key-file={munge}/key",
            f"--socket={munge}/socket",
            f"--pid-file={munge}/pid",
            f"--log-file={munge}/log",
            f"--seed-file={munge}/seed",
        )
        commands = {"munged": munged, "controller": ("slurmctld", "-D", "-f", configuration)}
        command = commands.get(name) or ("slurmd", "-D", "-N", name, "-f", configuration)
        with (folder / f"{name}.out").open("a") as output:
            self._daemons[name] = subprocess.Popen(
                [*self._enter.get(name, ()), *command],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def end(self, name, number=signal.SIGTERM):
        """End a daemon and wait until it has gone."""
        daemon = self._daemons.pop(name)
        daemon.send_signal(number)
        daemon.wait(60)

    def kill_supervisors(self):
        """Kill what looks after the jobs on their nodes, and leave the jobs' own processes alive."""
        for process in self.processes():
            if process.name().startswith("slurmstepd"):
                process.kill()

    def wait_idle(self, nodes):
        """Wait until nodes take jobs."""

        def is_idle():
            states = dict(line.split() for line in self.run("sinfo", "-h", "-N", "-p", "main", "-o", "%N %T"))
            return all(states.get(node) in {"idle", "mixed", "allocated"} for node in nodes)

        wait_until(is_idle, self.logs)

    def stop(self):
        """End everything, jobs included; nothing of it may be left."""
        if "controller" in self._daemons:
            self.run("scancel", "--user=root")
        for name in reversed(list(self._daemons)):
            daemon = self._daemons.pop(name)
            daemon.terminate()
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        wait_until(lambda: not self.processes(), lambda: f"left over: {self.processes()}")

    # ---- what is there

    def run(self, *command):
        """Run a command of Slurm where the controller is; return the lines that it prints."""
        command = [*self._enter.get("controller", ()), *command]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60, check=False)
        return done.stdout.splitlines()

    def processes(self, *, of_jobs=False):
        """Return the living processes of the cluster and of its jobs, or only these."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(OSError, psutil.Error):
                variables = Path(f"/proc/{process.pid}/environ").read_bytes()
                is_ours = self.mark.encode() in variables and process.pid != os.getpid()
                if is_ours and (not of_jobs or b"SLURM_JOB_ID=" in variables):
                    found.append(process)
        return [process for process in found if is_alive(process)]

    def job_processes(self):
        """Return the living processes of its jobs."""
        found = []
        for process in self.processes(of_jobs=True):
            with contextlib.suppress(psutil.Error):
                if not process.name().startswith("slurm"):
                    found.append(process)
        return found

    def assert_empty(self):
        """End what jobs there are; nothing of them may be left, and there should have been none."""
        left = self.run("squeue", "--noheader", "--format=%i %j %T")
        if left:
            self.run("scancel", "--user=root")
        try:
            wait_until(lambda: not self.job_processes(), lambda: f"left over: {self.job_processes()}")
        finally:
            for process in self.job_processes():
                process.kill()  # the next test has a clean cluster
        assert not left, left

    def logs(self):
        """Return the end of every daemon's log."""
        return "\n".join(
            f"---- {file.name}\n{file.read_text(errors='replace')[-2000:]}"
            for file in sorted(self.folder.glob("*.log")) + sorted(self.folder.glob("*.out"))
        )

    def _prepare(self):
        for name in ("munge", "state", *(f"spool-{node}" for node in NODES)):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "munge").chmod(0o711)
        key = self.folder / "munge" / "key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(128))
        (self.folder / "slurm.conf").write_text(
            CONFIGURATION.format(
                folder=self.folder,
                host=socket.gethostname().split(".")[0],
                **self._ports,
                **{f"{name}_address": address for name, address in self._addresses.items()},
            )
        )


if __name__ == "__main__":  # a cluster to play with, until its input ends
    with SlurmCluster(sys.argv[1]) as cluster:
        sys.stdout.write(f"export SLURM_CONF={cluster.environment['SLURM_CONF']}\n")
        sys.stdout.flush()
        sys.stdin.read()
