"""A program for torchrun: a `Trainer` in several processes, recorded by `enable`. Its argument is a folder."""

from __future__ import annotations

import sys
from pathlib import Path

from trainers import trainer

import trackhooks

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    trackhooks.enable(dir=folder / "runs", delivery="off", system=None)
    made = trainer(folder / "checkpoints", num_train_epochs=2, save_strategy="epoch")
    made.train()
    made.evaluate()
    if made.is_world_process_zero():
        made.state.save_to_json(str(folder / "state.json"))
