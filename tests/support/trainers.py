"""A tiny model and its `Trainer` of transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import Trainer, TrainerCallback, TrainingArguments

ROWS = 20
BATCH_SIZE = 5
BATCHES = ROWS // BATCH_SIZE


class Rows(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    """Rows of numbers with a label each."""

    def __init__(self, count: int = ROWS, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.x = torch.randn(count, 4, generator=generator)
        self.y = self.x.sum(dim=1, keepdim=True)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"x": self.x[index], "labels": self.y[index]}


class Line(torch.nn.Module):
    """A linear model that returns its loss, as models of transformers do."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        out = self.layer(x)
        return {"logits": out} if labels is None else {"loss": (out - labels).square().mean(), "logits": out}


def line() -> Line:
    torch.manual_seed(0)
    return Line()


def arguments(folder: Path, **settings: Any) -> TrainingArguments:
    chosen: dict[str, Any] = {
        "num_train_epochs": 1, "per_device_train_batch_size": BATCH_SIZE, "per_device_eval_batch_size": BATCH_SIZE,
        "eval_strategy": "epoch", "logging_strategy": "epoch", "save_strategy": "no", "learning_rate": 0.1,
        "report_to": "none", "use_cpu": True, "disable_tqdm": True, "dataloader_pin_memory": False, "optim": "sgd",
    }  # fmt: skip
    return TrainingArguments(output_dir=str(folder), **{**chosen, **settings})


OWN = ("args", "callbacks", "eval_dataset", "model_init")
"""Settings of a Trainer besides its `TrainingArguments`."""


def trainer(folder: Path, model: torch.nn.Module | None = None, **settings: Any) -> Trainer:
    """A Trainer that writes into a folder. Settings that are not its own are those of its arguments."""
    own = {name: settings.pop(name) for name in OWN if name in settings}
    if "model_init" not in own:
        own["model"] = model or line()
    own.setdefault("args", None)
    own["args"] = own["args"] or arguments(folder, **settings)
    return Trainer(**{"eval_dataset": Rows(10, seed=1), "train_dataset": Rows(), **own})


def at(**functions: Any) -> TrainerCallback:
    """A callback that calls functions at events: each gets the arguments, the state and the control."""
    methods = {
        event: lambda self, args, state, control, function=function, **_: function(args, state, control)
        for event, function in functions.items()
    }
    made: TrainerCallback = type("At", (TrainerCallback,), methods)()
    return made
