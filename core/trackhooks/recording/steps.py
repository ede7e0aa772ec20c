"""`StepCounter`: where a run is on its two axes, training steps and epochs, across trainings and resumes.

A training that resumes repeats what was trained since its checkpoint. Its first epoch is then one that the run has
already, and begins at the step where it began before: so the steps mean what they would without the interruption, and
trackers can put the new ones in the place of the old.
"""

from __future__ import annotations

from ..event import Event
from ..hooks.vocabulary import LOG


class StepCounter:
    """Follows the hooks of a run; not safe with threads."""

    def __init__(self) -> None:
        self.step = -1
        """The index of the last training batch, from 0; −1 before the first."""
        self.epoch = -1
        """From 0; −1 before the first."""
        self.before_epoch = -1
        """The last step before the present epoch."""
        self.epochs_done = 0
        """How many epochs have ended."""
        self._in_batch = False
        self._in_first_epoch = False
        self._epochs_before = 0
        self._begins: dict[int, int] = {}
        """Epoch → the last step before it."""
        self._own_steps = -1
        self._outside = {"on_val_end": -1, "on_predict_end": -1}

    # Training

    def training_starts(self) -> None:
        """Expects the first epoch of a training."""
        self._in_first_epoch = True

    def jump(self, step: int) -> None:
        """Goes on behind this step, whatever was known of the steps."""
        self.step = step
        self._begins.clear()

    def expect(self, epoch: int, step: int) -> None:
        """Says behind which step an epoch begins, as far as this is not known."""
        self._begins.setdefault(epoch, max(self.step, step))

    def hear(self, hook: str, epoch: int | None) -> None:
        """Follows a hook that ends no training batch."""
        if hook == "on_train_batch_start":
            self.start_batch()
        elif hook == "on_train_epoch_start":
            self._start_epoch(epoch)
        elif epoch is not None:
            self.epoch = epoch + self._epochs_before
        if hook == "on_fit_epoch_end":
            self.epochs_done = self.epoch + 1

    def _start_epoch(self, epoch: int | None) -> None:
        """A training that counts from 0 again goes on behind the epochs that the run already has."""
        first, self._in_first_epoch, self._in_batch = self._in_first_epoch, False, False
        if first:
            self._epochs_before = self.epochs_done if epoch == 0 else 0
        self.epoch = self.epoch + 1 if epoch is None else epoch + self._epochs_before
        if first:
            self.step = self._begins.get(self.epoch, self.step)
        self.before_epoch = self.step
        self._begins.setdefault(self.epoch, self.step)

    def start_batch(self) -> None:
        """What is logged from now on stands at the step of the batch that starts."""
        self._in_batch = True

    def end_batch(self, batch: int | None) -> int:
        """The step of the batch that ends; a loop that ends batches in several threads may tell a later one first."""
        self._in_batch = False
        step = self.step + 1 if batch is None else self.before_epoch + 1 + batch
        if step > self.step:
            self.step = step
        return step

    @property
    def batches(self) -> int:
        """How many batches the present epoch has had."""
        return self.step - self.before_epoch

    # Outside of the training

    def evaluate(self, hook: str) -> int:
        """The step of an evaluation or prediction outside of a training: each has one of its own."""
        self._outside[hook] = max(self.step, self._outside[hook] + 1)
        return self._outside[hook]

    def log(self, training: bool) -> int:
        """The step of what the user logs; where no loop counts the steps, every call is one."""
        if not training and self.step < 0:
            self._own_steps += 1
        return self.present

    @property
    def present(self) -> int:
        """The step of what is logged now: that of the batch that goes on, else of the last one."""
        step = self.step + 1 if self._in_batch else self.step
        return step if step >= 0 else self._own_steps

    # Resuming

    def replay(self, event: Event) -> None:
        """Follows a run that goes on, by what its journal holds."""
        if event.hook == "on_train_batch_end":
            self.step = max(self.step, event.step)
        elif event.hook == "on_train_epoch_start":  # with what stands before it, where a run was rewound
            self.epoch, self.step = event.epoch, event.step
            self._begins.setdefault(event.epoch, event.step)
        elif event.hook == "on_fit_epoch_end":
            self.epochs_done = event.epoch + 1
        elif event.hook in self._outside and event.epoch < 0:
            self._outside[event.hook] = event.step
        elif event.hook == LOG and self.step < 0:
            self._own_steps = max(self._own_steps, event.step)
        self.before_epoch = self.step
