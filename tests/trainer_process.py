"""Runs a stage in a process of its own: for tests that kill it, or that need several."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

_SCRIPT = """
import json, sys
from pathlib import Path
from trainer.config import StageConfig, read_config
from trainer.stages import run_stage

values, folder, threads = json.loads(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
import torch
from transformers.models.qwen2 import modeling_qwen2

def exact(norm, states):
    return norm.weight * (states * torch.rsqrt(states.pow(2).mean(-1, keepdim=True) + norm.variance_epsilon))

if values["runtime"]["precision"] == "float64":
    # This norm rounds to float32 whatever it is given: texts met by two processes would be rounded twice.
    modeling_qwen2.Qwen2RMSNorm.forward = exact
torch.set_num_threads(threads)
run_stage(read_config(StageConfig, values), folder)
"""


def start(config, folder, *, rank=0, world=1, port=0, threads=1):
    """A process that trains a stage as one of ``world``."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "HF_HUB_OFFLINE": "1"}
    if world > 1:
        places = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "MASTER_PORT": port, "OMP_NUM_THREADS": 1}
        environment |= {name: str(value) for name, value in places.items()} | {"MASTER_ADDR": "127.0.0.1"}
    command = [sys.executable, "-c", _SCRIPT, json.dumps(config.model_dump(mode="json")), str(folder), str(threads)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def train(config, folder, *, world=1):
    """Train a stage with some processes to its end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    processes = [start(config, folder, rank=rank, world=world, port=port) for rank in range(world)]
    outputs = [process.communicate(timeout=240)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * world, "\n".join(outputs)
