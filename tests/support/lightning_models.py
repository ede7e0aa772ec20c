"""A small module of Lightning for tests, and a Trainer that is silent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

X = torch.linspace(-1, 1, 40).reshape(20, 2)
Y = X.sum(dim=1, keepdim=True)
BATCHES = 4


def loader(batch_size: int = 5) -> Any:
    """The data in their order."""
    return DataLoader(TensorDataset(X, Y), batch_size=batch_size)


class Line(pl.LightningModule):
    """Fits a line, with the names of metrics that Lightning's documentation uses."""

    def __init__(self, lr: float = 0.1) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.line = torch.nn.Linear(2, 1)

    def forward(self, x: Any) -> Any:
        return self.line(x)

    def loss(self, batch: Any) -> Any:
        x, y = batch
        return torch.nn.functional.mse_loss(self(x), y)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = self.loss(batch)
        self.log("train_loss", loss, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self.log("val_loss", self.loss(batch))

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.log("test_loss", self.loss(batch))

    def predict_step(self, batch: Any, batch_idx: int) -> Any:
        return self(batch[0])

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=self.hparams["lr"])


def line(**options: Any) -> Line:
    """A module, with the same weights each time."""
    torch.manual_seed(0)
    return Line(**options)


def trainer(epochs: int = 1, callbacks: Sequence[Any] = (), **options: Any) -> Any:
    """A Trainer on the CPU that writes and prints nothing."""
    quiet = {
        "logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False,
    }  # fmt: skip
    given = {"max_epochs": epochs, "accelerator": "cpu", "callbacks": list(callbacks), **quiet, **options}
    return pl.Trainer(**given)
