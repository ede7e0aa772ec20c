"""`StepCounter`: counts the training steps and epochs of a run, across trainings and resumes.

A training that resumes from a checkpoint repeats what was trained after the checkpoint. The run then already has its
first epoch, and that epoch begins again at the same step as before. So steps count as they would without the
interruption, and trackers can replace the old values by the new ones.

An epoch without batches is a step, so that epochs of any loop have steps of their own.
"""

from __future__ import annotations

from ..event import Event
from ..hooks.vocabulary import LOG

_ENDS = ("on_train_epoch_end", "on_fit_epoch_end")


class StepCounter:
    """Follows the hooks of one run. Not safe with threads: the caller holds a lock."""

    def __init__(self) -> None:
        self.step = -1
        """The index of the last training batch, or of the last epoch without batches, from 0; −1 before the first."""
        self.epoch = -1
        """The index of the current epoch, from 0; −1 before the first."""
        self.before_epoch = -1
        """The last step before the current epoch."""
        self.epochs_done = 0
        """The number of epochs that have ended."""
        self.in_batch = False
        """Whether a training batch has started and not ended: what is logged is at its step."""
        self._in_first_epoch = False
        self._epochs_before = 0
        self._begins: dict[int, int] = {}
        """The last step before each epoch."""
        self._own_steps = -1
        self._outside = {"on_val_end": -1, "on_predict_end": -1}

    # Training

    def overshoot(self, batches: int) -> None:
        """Correct for a loop whose batch index is this much higher than the number of batches that it ran."""
        self.before_epoch -= batches

    def training_starts(self) -> None:
        """Prepare for the first epoch of a training."""
        self._in_first_epoch = True

    def jump(self, step: int) -> None:
        """Continue after this step, and forget where epochs began."""
        self.step = step
        self._begins.clear()

    def expect(self, epoch: int, step: int) -> None:
        """Set the last step before an epoch, unless it is known already."""
        self._begins.setdefault(epoch, max(self.step, step))

    def follow(self, hook: str, epoch: int | None) -> None:
        """Follow a hook other than the end of a training batch."""
        if hook == "on_train_batch_start":
            self.start_batch()
        elif hook == "on_train_epoch_start":
            self._start_epoch(epoch)
        elif epoch is not None:
            self.epoch = epoch + self._epochs_before
        if hook in _ENDS and self.step == self.before_epoch and self.epoch >= 0:
            self.step += 1
        if hook == "on_fit_epoch_end":
            self.epochs_done = self.epoch + 1

    def _start_epoch(self, epoch: int | None) -> None:
        """Start an epoch. If a training counts from 0 again, its epochs come after those that the run already has."""
        first, self._in_first_epoch, self.in_batch = self._in_first_epoch, False, False
        if first:
            self._epochs_before = self.epochs_done if epoch == 0 else 0
        self.epoch = self.epoch + 1 if epoch is None else epoch + self._epochs_before
        if first:
            self.step = self._begins.get(self.epoch, self.step)
        self.before_epoch = self.step
        self._begins.setdefault(self.epoch, self.step)

    def start_batch(self) -> None:
        """Start a training batch."""
        self.in_batch = True

    def end_batch(self, batch: int | None) -> int:
        """Return the step of the batch that ends. Batches may end in any order, if the loop uses several threads."""
        self.in_batch = False
        step = self.step + 1 if batch is None else self.before_epoch + 1 + batch
        if step > self.step:
            self.step = step
        return step

    @property
    def batches(self) -> int:
        """The number of batches of the current epoch so far."""
        return self.step - self.before_epoch

    # Outside of the training

    def evaluate(self, hook: str) -> int:
        """Return the step of an evaluation or prediction outside a training. Each has another step."""
        self._outside[hook] = max(self.step, self._outside[hook] + 1)
        return self._outside[hook]

    def log(self, training: bool) -> int:
        """Return the step of metrics that are logged. If no loop counts the steps, each call is a step."""
        if training or self.step >= 0:
            return self.current
        # No call between these two lines: a signal handler may log when one begins.
        self._own_steps = own = self._own_steps + 1
        return 0 if self.in_batch else own

    @property
    def current(self) -> int:
        """The step of what is logged now: that of the current batch, otherwise that of the last one."""
        step = self.step + 1 if self.in_batch else self.step
        return step if step >= 0 else self._own_steps

    # Resuming

    def replay(self, event: Event) -> None:
        """Follow an event in the journal of a run that is resumed."""
        if event.hook == "on_train_batch_end":
            self.step = max(self.step, event.step)
        elif event.hook == "on_train_epoch_start":  # its step is the last one before it, as after a resume
            self.epoch, self.step = event.epoch, event.step
            self._begins.setdefault(event.epoch, event.step)
        elif event.hook in _ENDS:
            self.step = max(self.step, event.step)
            if event.hook == "on_fit_epoch_end":
                self.epochs_done = event.epoch + 1
        elif event.hook in self._outside and event.epoch < 0:
            self._outside[event.hook] = event.step
        elif event.hook == LOG and self.step < 0:
            self._own_steps = max(self._own_steps, event.step)
        self.before_epoch = self.step
