"""Runs a stage in a process of its own: for tests that kill it, or that need several.

The processes are forked from one that has imported what a stage needs, since each would take far longer to import that
than to train. Run as a script it is that one: it is asked in lines of JSON, and answers each with a number.
"""

import gc
import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
_PATIENCE_SECONDS = 240
_LIVES = -1
"""In place of an exit code."""


class Origin:
    """The process that the others are forked from."""

    def __init__(self):
        # It computes nothing itself and has one thread: what is forked from it is as good as new.
        environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, __file__], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.communicate()

    def start(self, config, folder, *, rank=0, world=1, port=0):
        """A process that trains a stage as one of ``world``."""
        place = {}
        if world > 1:
            places = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "MASTER_PORT": port}
            place = {name: str(value) for name, value in places.items()} | {"MASTER_ADDR": "127.0.0.1"}
        said = folder.with_name(f"{folder.name}-{rank}.txt")
        values = config.model_dump(mode="json")
        pid = self.ask(values=values, folder=str(folder), environment=place, said=str(said))
        return Trainer(self, pid, said)

    def train(self, config, folder, *, world=1):
        """Train a stage with some processes to its end."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        processes = [self.start(config, folder, rank=rank, world=world, port=port) for rank in range(world)]
        codes = [process.wait() for process in processes]
        assert codes == [0] * world, "\n".join(process.said.read_text() for process in processes)

    def ask(self, **what):
        """The answer to a line."""
        self._process.stdin.write(f"{json.dumps(what)}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


@dataclass(frozen=True)
class Trainer:
    """A process that trains; ``said`` is the file with what it printed."""

    origin: Origin
    pid: int
    said: Path

    def is_alive(self):
        return self.origin.ask(pid=self.pid, options=os.WNOHANG) == _LIVES

    def wait(self):
        """Its exit code, once it has ended, which it does after some minutes at the latest."""
        return self.origin.ask(pid=self.pid, options=0)

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)
        self.wait()


def _serve():
    """Fork a process for each line that describes a stage; wait for one of them for each of the others."""
    import datasets  # noqa: F401 - a stage imports it only when it needs it, and so the next
    import matplotlib.backends.backend_svg
    import matplotlib.figure  # noqa: F401
    import torch.utils.tensorboard  # noqa: F401
    import transformers.models.qwen2.modeling_qwen2  # noqa: F401

    import trainer.stages  # noqa: F401

    gc.freeze()  # a collection in each of them would copy what they share
    codes = {}  # of those that were waited for
    for line in sys.stdin:
        asked = json.loads(line)
        if "values" in asked:
            answer = os.fork()
            if not answer:
                return _train(**asked)
        else:
            answer = _code(codes, **asked)
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


def _code(codes, pid, options):
    if pid not in codes:
        ended, status = os.waitpid(pid, options)
        if not ended:
            return _LIVES
        codes[pid] = abs(os.waitstatus_to_exitcode(status))
    return codes[pid]


def _train(values, folder, environment, said):
    signal.alarm(_PATIENCE_SECONDS)
    printed = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(printed, 1)
    os.dup2(printed, 2)
    os.environ |= environment
    from transformers.models.qwen2 import modeling_qwen2

    from trainer.config import StageConfig, read_config
    from trainer.stages import run_stage

    if values["runtime"]["precision"] == "float64":
        # This norm rounds to float32 whatever it is given: texts met by two processes would be rounded twice.
        modeling_qwen2.Qwen2RMSNorm.forward = _exact_norm
    run_stage(read_config(StageConfig, values), Path(folder))


def _exact_norm(norm, states):
    import torch

    return norm.weight * (states * torch.rsqrt(states.pow(2).mean(-1, keepdim=True) + norm.variance_epsilon))


if __name__ == "__main__":
    _serve()
