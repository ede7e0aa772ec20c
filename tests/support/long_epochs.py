"""Runs that differ in the learning rate, and whose epochs are long, as a tracker gets them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from feeding import CREATED, Feeding, at_epoch, batch, outside, run_info

from trackhooks.delivery.registry import load


def deliver(folder: Path, number: int, tracker: str, **options: Any) -> Feeding:
    """A run with its own learning rate and everything else the same. Its epochs are long."""
    lr = 0.1 ** (number + 1)
    run = run_info(folder / f"lr={lr:g}", created=CREATED + number, project="digits")
    feed = Feeding(lambda: load(tracker, **options), run)
    feed.give(outside(0, params={"lr": lr, "epochs": 3, "optimizer/eps": 1e-8}, defaults=["optimizer/eps"]))
    feed.give(outside(1, facts={"model/name": f"sequential_{number}", "model/parameters": 13}))
    for epoch in range(3):
        loss = {"val/loss": 1 / (1 + epoch) + number}
        for second in range(50 * epoch, 50 * epoch + 50):
            feed.give(batch(2 + second, second, epoch, loss=loss["val/loss"]))
            if second % 10 == 0:
                feed.flush()
        feed.give(at_epoch("on_train_epoch_end", 52 + 50 * epoch, epoch, {"train/loss": 0.5, "lr/0": lr}))
        feed.give(at_epoch("on_fit_epoch_end", 52 + 50 * epoch, epoch, loss, best=loss))
    return feed.finish()
