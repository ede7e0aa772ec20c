"""A custom tracker that announces how a training ended.

Run: python examples/custom_tracker.py
"""

from __future__ import annotations

from pathlib import Path

import trackhooks


class Diary(trackhooks.Tracker):
    """Appends a line to `diary.txt` at the end of each training; a hook may be named in either vocabulary."""

    def on_epoch_end(self, event: trackhooks.Event) -> None:
        """Keras' name; Ultralytics calls it `on_fit_epoch_end`."""
        self.loss = event.metrics["train/loss"]

    def on_train_end(self, event: trackhooks.Event) -> None:
        """The same name in both."""
        with Path("diary.txt").open("a") as diary:
            diary.write(f"{self.run.name}: loss {self.loss:.3f} after {event.epoch + 1} epochs\n")


if __name__ == "__main__":
    with trackhooks.run("csv", Diary(), name="halving") as run:
        loss = 1.0
        for _epoch in run.epochs(3):
            for _batch in run.train(range(10)):
                loss *= 0.9
                run.log(loss=loss)
    run.wait()
    print(Path("diary.txt").read_text())
