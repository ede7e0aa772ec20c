"""Promises about runs as a whole: several runs, their names, copies of their folders."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from ..sample_runs import among, everything, log_everything, losses, train
from ..trial import Seen, Trial
from .suite import TrackerSuite

MAKING = """
import sys
import msgspec
from trackhooks.delivery.cursor import check_spec

_, made = check_spec(*msgspec.json.decode(sys.stdin.buffer.read()))
print([package for package in made.requires if package in sys.modules])
"""


class RunPromises(TrackerSuite):
    def test_making_it_imports_no_backend(self, trial: Trial) -> None:
        done = trial.program(MAKING, trial.spec.name, trial.spec.options)
        assert done.stdout == b"[]\n", done.stderr.decode()

    def test_what_was_delivered_can_be_read_while_the_run_goes_on(self, trial: Trial) -> None:
        with trial.record() as run:
            for epochs in (1, 2):
                train(run, epochs=1)
                assert among(trial.delivered(run.path).metrics, losses(epochs)) == losses(epochs)
        self.assert_all_once(trial.delivered(run.path), Seen(metrics=losses(2)))

    def test_two_runs_one_after_the_other_stay_apart(self, trial: Trial) -> None:
        runs = []
        for epochs in (1, 2):
            with trial.record(name=f"{epochs} epochs") as run:
                train(run, epochs)
            trial.deliver(run.path)
            runs.append(run)
        for epochs, run in enumerate(runs, 1):
            self.assert_all_once(trial.read(run.path), Seen(metrics=losses(epochs)))

    def test_two_runs_at_once_are_delivered_by_the_delivery_process(self, trial: Trial) -> None:
        with trial.record("one", delivery="process") as one, trial.record("two", delivery="process") as two:
            for _epoch in range(2):
                train(one, epochs=1)
                log_everything(two, epochs=1)
        for run, expected in ((one, Seen(metrics=losses(2))), (two, everything(0, 1))):
            trial.wait(run.path)
            self.assert_all_once(trial.read(run.path), expected)

    def test_a_run_may_be_called_and_described_in_any_words(self, trial: Trial) -> None:
        words = 'größe 🎉, "a/b" <c> 100% (%s) {d}'
        described: dict[str, Any] = {"project": words, "group": words, "notes": f"{words}\n\n# {words}"}
        with trial.record(words, tags=[words, "x" * 300, ""], **described) as run:
            log_everything(run)
        self.assert_all_once(trial.delivered(run.path), everything(1))

    def test_a_run_is_delivered_from_a_copy_of_its_folder(self, trial: Trial, tmp_path: Path) -> None:
        with trial.record() as run:
            log_everything(run)
        copy = shutil.copytree(run.path, tmp_path / "elsewhere" / "copy")
        shutil.rmtree(run.path)
        self.assert_all_once(trial.delivered(copy), everything(1))
