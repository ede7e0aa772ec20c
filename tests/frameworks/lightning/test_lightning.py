"""What is special about Lightning: its sanity check, its steps, its checkpoints, its two packages, its processes."""

from __future__ import annotations

import copy
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.tuner.tuning import Tuner
from lightning_models import BATCHES, Line, X, Y, line, loader, trainer

import trackhooks
from trackhooks import Run
from trackhooks.testing.framework_promises.base import events, infos

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec"),
    pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`"),
    pytest.mark.filterwarnings("ignore:`training_step` returned `None`"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def enabled(home: Path) -> Iterator[Path]:
    """`enable` is on; the directory of its runs."""
    trackhooks.enable(dir=home, delivery="off", system=None)
    yield home
    trackhooks.disable()


@pytest.fixture
def run(home: Path) -> Iterator[Run]:
    with trackhooks.run(dir=home, delivery="off", system=None) as opened:
        yield opened


def hooks(path: Path | str) -> list[str]:
    """The hooks of a training that were recorded, from its start to its end, without those of single batches."""
    found = [event.hook for event in events(path) if event.hook not in ("log", "on_train_batch_end")]
    return found[found.index("on_train_start") + 1 : found.index("on_train_end")]


def steps(path: Path | str) -> list[int]:
    return [event.step for event in events(path, "on_train_batch_end")]


def fit(run: Run, made: Any, module: Any, **options: Any) -> None:
    run.attach(made)
    made.fit(module, loader(), loader(), **options)


# What is recorded


def test_a_sanity_check_is_not_recorded(run: Run) -> None:
    fit(run, trainer(num_sanity_val_steps=2), line())
    assert hooks(run.path) == [
        "on_train_epoch_start", "on_train_epoch_end", "on_val_start", "on_val_end", "on_fit_epoch_end",
    ]  # fmt: skip


def test_steps_are_batches_and_losses_are_not_scaled_when_gradients_are_accumulated(run: Run) -> None:
    fit(run, trainer(accumulate_grad_batches=3), line())
    assert steps(run.path) == list(range(BATCHES))
    first = line().loss((X[:5], Y[:5])).item()
    assert events(run.path, "on_train_batch_end")[0].metrics["train_batch/loss"] == pytest.approx(first)


class Unlogged(Line):
    """Logs nothing by itself."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return None if batch_idx == 1 else self.loss(batch)


def test_losses_are_recorded_of_a_module_that_logs_nothing(run: Run) -> None:
    fit(run, trainer(accumulate_grad_batches=2), Unlogged())
    losses = [event.metrics.get("train_batch/loss") for event in events(run.path, "on_train_batch_end")]
    assert losses[1] is None
    known = [loss for loss in losses if loss is not None]
    (end,) = events(run.path, "on_fit_epoch_end")
    assert end.metrics["train/loss"] == pytest.approx(sum(known) / 3)


class Adversarial(Line):
    """Two optimizers that the module steps itself."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:
        optimizers: Any = self.optimizers()
        for optimizer in optimizers:
            optimizer.zero_grad()
            self.manual_backward(self.loss(batch))
            optimizer.step()

    def configure_optimizers(self) -> Any:
        rates = (0.1, 0.01)
        return [torch.optim.SGD(self.parameters(), lr=rate) for rate in rates], []


def test_steps_are_batches_and_rates_are_numbered_with_several_optimizers(run: Run) -> None:
    fit(run, trainer(2), Adversarial())
    assert steps(run.path) == list(range(2 * BATCHES))
    (_, end) = events(run.path, "on_train_epoch_end")
    assert (end.metrics["lr/0"], end.metrics["lr/1"]) == (0.1, 0.01)
    params = {name: value for event in events(run.path) for name, value in event.params.items()}
    assert (params["optimizer/0/lr"], params["optimizer/1/lr"]) == (0.1, 0.01)


def test_validations_between_batches_are_points_over_steps(run: Run) -> None:
    fit(run, trainer(val_check_interval=0.5), line())
    assert hooks(run.path) == [
        "on_train_epoch_start", "on_val_start", "on_val_end", "on_train_epoch_end", "on_val_start", "on_val_end",
        "on_fit_epoch_end",
    ]  # fmt: skip
    between, last = events(run.path, "on_val_end")
    assert (between.step, between.batch) == (1, 1)
    (end,) = events(run.path, "on_fit_epoch_end")
    assert end.metrics["val/loss"] == last.metrics["val/loss"] != between.metrics["val/loss"]


def test_an_epoch_without_a_validation_has_no_metrics_of_one(run: Run) -> None:
    fit(run, trainer(2, check_val_every_n_epoch=2), line())
    first, second = events(run.path, "on_fit_epoch_end")
    assert "val/loss" not in first.metrics
    assert "val/loss" in second.metrics


class LogsLate(Line):
    """Logs when Lightning calls the module at the end of an epoch, and in some batches only."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        if batch_idx % 2:
            self.log("odd", float(batch_idx))
        self.log("hidden", 1.0, logger=False)
        return super().training_step(batch, batch_idx)

    def on_train_epoch_end(self) -> None:
        self.log("train_score", float(self.current_epoch))

    def on_validation_epoch_end(self) -> None:
        self.log("valid/score", 2.0)


def test_what_a_module_logs_at_the_end_of_an_epoch_is_of_that_epoch(run: Run) -> None:
    fit(run, trainer(2), LogsLate())
    assert [end.metrics["train/score"] for end in events(run.path, "on_fit_epoch_end")] == [0.0, 1.0]
    assert [end.metrics["val/score"] for end in events(run.path, "on_fit_epoch_end")] == [2.0, 2.0]
    assert "train/hidden" not in events(run.path, "on_fit_epoch_end")[0].metrics


def test_a_value_is_recorded_only_with_the_batch_that_logged_it(run: Run) -> None:
    fit(run, trainer(), LogsLate())
    found = [event.metrics.get("train_batch/odd") for event in events(run.path, "on_train_batch_end")]
    assert found == [None, 1.0, None, 3.0]


def test_metrics_of_several_validation_sets_keep_their_number_and_batches_are_counted_on(run: Run) -> None:
    heard: list[int] = []
    run.add_callback("on_val_batch_end", lambda validator: heard.append(validator.batch_i))
    made = trainer(num_sanity_val_steps=1)
    run.attach(made)
    made.fit(line(), loader(), [loader(), loader(10)])
    (end,) = events(run.path, "on_val_end")
    assert set(end.metrics) == {"val/loss/dataloader_idx_0", "val/loss/dataloader_idx_1"}
    assert heard == list(range(6))


def test_validate_is_an_evaluation_alone(run: Run) -> None:
    made = trainer()
    run.attach(made)
    (found,) = made.validate(line(), loader(), verbose=False)
    (end,) = events(run.path, "on_val_end")
    assert end.metrics["test/loss"] == pytest.approx(found["val_loss"])


class Data(pl.LightningDataModule):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.save_hyperparameters()

    def train_dataloader(self) -> Any:
        return loader(self.hparams["size"])


def test_the_hyper_parameters_of_module_data_and_trainer_are_recorded(run: Run) -> None:
    made = trainer(accumulate_grad_batches=2, gradient_clip_val=0.5)
    run.attach(made)
    made.fit(line(lr=0.2), datamodule=Data(10))
    start = events(run.path, "on_pretrain_routine_start")[0]
    assert start.params.items() >= {
        "lr": 0.2, "size": 10, "max_epochs": 1, "accumulate_grad_batches": 2, "gradient_clip_val": 0.5,
    }.items()  # fmt: skip
    facts = events(run.path, "on_pretrain_routine_end")[0].facts
    assert (
        facts.items() >= {"model/name": "Line", "data/train/samples": 20, "data/train/batch_size": 10}.items()
    )


# How it ends


def test_the_epoch_at_which_early_stopping_ends_the_training_is_heard(run: Run) -> None:
    seen: list[bool] = []
    run.add_callback("on_fit_epoch_end", lambda trainer: seen.append(trainer.stop))
    stops = EarlyStopping("val_loss", stopping_threshold=1e9)
    fit(run, trainer(5, [stops]), line())
    assert seen == [True]
    assert [event.epoch for event in events(run.path, "on_fit_epoch_end")] == [0]


def test_a_stop_within_an_epoch_ends_its_training_part(run: Run) -> None:
    def stop(trainer: Any) -> None:
        trainer.stop = True

    run.add_callback("on_train_batch_end", stop)
    fit(run, trainer(5), line())
    assert steps(run.path) == [0]
    assert hooks(run.path) == [
        "on_train_epoch_start", "on_train_epoch_end", "on_val_start", "on_val_end", "on_fit_epoch_end",
    ]  # fmt: skip
    (end,) = events(run.path, "on_fit_epoch_end")
    assert "val/loss" in end.metrics


def test_max_steps_may_end_an_epoch_early(run: Run) -> None:
    fit(run, trainer(-1, max_steps=6), line())
    assert steps(run.path) == list(range(6))
    assert [event.epoch for event in events(run.path, "on_fit_epoch_end")] == [0, 1]


class Interrupts(pl.Callback):
    def on_train_batch_end(self, *_: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_kills_the_run_although_lightning_leaves_by_sys_exit(home: Path) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it in the background
    try:
        with pytest.raises(SystemExit), trackhooks.run(dir=home, delivery="off", system=None) as run:
            fit(run, trainer(callbacks=[Interrupts()]), line())
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored by Lightning
    assert run.status == "killed"


def test_the_search_for_a_learning_rate_is_no_run(enabled: Path) -> None:
    made = trainer()
    Tuner(made).lr_find(line(), loader(), num_training=4)
    assert infos(enabled) == []


# Checkpoints and resuming


def saves(path: Path | str) -> list[tuple[str, list[str]]]:
    return [
        (Path(file.path).name, list(file.aliases))
        for event in events(path, "on_model_save")
        for file in event.files
    ]


def test_the_best_checkpoint_is_called_best_and_others_last(run: Run, tmp_path: Path) -> None:
    best = ModelCheckpoint(tmp_path / "best", "{epoch}", monitor="val_loss", save_last=True)
    newest = ModelCheckpoint(tmp_path / "newest", "newest")
    fit(run, trainer(1, [best, newest], enable_checkpointing=True), line())
    assert sorted(saves(run.path)) == [
        ("epoch=0.ckpt", ["best"]),
        ("last.ckpt", ["last"]),
        ("newest.ckpt", ["last"]),
    ]


class Cut(pl.Callback):
    """Saves in the middle of an epoch, then fails."""

    def __init__(self, path: Path, batch: int) -> None:
        self.path, self.batch = path, batch

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.current_epoch == 1 and batch_idx == self.batch:
            trainer.save_checkpoint(self.path)
            raise ValueError("cut")


@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended")
@pytest.mark.parametrize("batch", [1, BATCHES - 1])
def test_a_training_that_resumes_in_an_epoch_goes_on_at_its_step(
    run: Run, tmp_path: Path, batch: int
) -> None:
    path = tmp_path / "cut.ckpt"
    with pytest.raises(ValueError, match="cut"):
        fit(run, trainer(3, [Cut(path, batch)]), line())
    before = steps(run.path)
    fit(run, trainer(3), line(), ckpt_path=path)
    assert before == list(range(BATCHES + batch + 1))
    assert steps(run.path) == list(range(3 * BATCHES))
    assert [event.epoch for event in events(run.path, "on_fit_epoch_end")][-1] == 2


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
def test_a_checkpoint_leads_another_model_to_its_run(enabled: Path, tmp_path: Path) -> None:
    saver = ModelCheckpoint(tmp_path / "saved", "last", enable_version_counter=False)
    trainer(1, [saver], enable_checkpointing=True).fit(line(), loader(), loader())
    trainer(2).fit(line(), loader(), loader(), ckpt_path=tmp_path / "saved" / "last.ckpt")
    (info,) = infos(enabled)
    assert steps(info.path) == list(range(2 * BATCHES))
    assert len(events(info.path, "on_params_update")) == 1


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
def test_a_checkpoint_of_an_earlier_training_in_the_same_folder_leads_to_no_other_run(
    enabled: Path, tmp_path: Path
) -> None:
    for name in ("first", "second"):
        saver = ModelCheckpoint(tmp_path / "saved", name)
        trainer(1, [saver], enable_checkpointing=True).fit(line(), loader(), loader())
    trainer(2).fit(line(), loader(), loader(), ckpt_path=tmp_path / "saved" / "first.ckpt")
    assert [len(steps(info.path)) for info in infos(enabled)] == [BATCHES] * 3


def test_a_trainer_that_fits_again_continues_and_a_new_one_starts_a_new_run(enabled: Path) -> None:
    made, module = trainer(1), line()
    made.fit(module, loader())
    made.fit_loop.max_epochs = 2
    made.fit(module, loader())
    trainer(1).fit(module, loader())
    first, second = infos(enabled)
    assert [steps(info.path) for info in (first, second)] == [list(range(2 * BATCHES)), list(range(BATCHES))]


# Other than one Trainer of one package in one process


class Copies(pl.Callback):
    """Copies the callbacks of a Trainer in a training."""

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        self.copies = [
            copy.deepcopy(trainer.callbacks[0]),
            pickle.loads(pickle.dumps(trainer.callbacks[0])),
        ]


def test_a_copy_of_the_callback_in_the_list_records_nothing(run: Run) -> None:
    copies = Copies()
    made = trainer(1, [copies])
    fit(run, made, line())
    assert [type(made) for made in copies.copies] == [pl.Callback, pl.Callback]
    assert made.callbacks == [copies]


def test_a_run_is_a_callback_for_the_list_of_a_trainer(run: Run) -> None:
    callback = run.callback("lightning.pytorch")
    trainer(1, [callback]).fit(line(), loader(), loader())
    assert steps(run.path) == list(range(BATCHES))
    assert run.callback("pytorch_lightning") is callback


class LogsByItself(pl.Callback):
    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        trainer.logger.log_metrics({"temperature": 20.0 + batch_idx}, step=trainer.global_step)


def test_a_run_is_a_logger_for_what_is_not_logged_by_a_module(run: Run) -> None:
    logger = run.callback("lightning.pytorch")
    made = trainer(1, [LogsByItself(), LearningRateMonitor()], logger=logger, log_every_n_steps=1)
    made.fit(line(), loader(), loader())
    made.logger.log_hyperparams({"seed": {"data": 7}})
    logged = [event.metrics for event in events(run.path, "log") if event.metrics]
    assert [found["temperature"] for found in logged if "temperature" in found] == [20.0, 21.0, 22.0, 23.0]
    assert {name for found in logged for name in found} == {"temperature", "lr-SGD"}
    assert steps(run.path) == list(range(BATCHES))
    assert {"seed/data": 7} in [event.params for event in events(run.path, "log")]


def test_checkpoints_of_a_trainer_with_the_run_as_its_logger_have_a_folder_of_their_own(
    run: Run, tmp_path: Path
) -> None:
    logger = run.callback("lightning.pytorch")
    made = trainer(
        1, logger=logger, enable_checkpointing=True, default_root_dir=tmp_path, log_every_n_steps=1
    )
    made.fit(line(), loader(), loader())
    ((file, _),) = [(file, event) for event in events(run.path, "on_model_save") for file in event.files]
    assert Path(file.path).parent == tmp_path / "trackhooks" / run.path.name / "checkpoints"


def test_a_callback_needs_lightning(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("lightning.pytorch", "pytorch_lightning"):
        monkeypatch.delitem(sys.modules, package, raising=False)
    with pytest.raises(trackhooks.MissingPackageError, match="pip install lightning"):
        run.callback("lightning.pytorch")


def test_the_other_package_is_recorded_too(enabled: Path) -> None:
    import pytorch_lightning

    class Small(pytorch_lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.line = torch.nn.Linear(2, 1)

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return self.line(batch[0]).mean()

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    made = pytorch_lightning.Trainer(max_epochs=1, accelerator="cpu", enable_checkpointing=False, **quiet)
    made.fit(Small(), loader())
    (info,) = infos(enabled)
    assert (steps(info.path), info.status) == (list(range(BATCHES)), "finished")


def test_a_trainer_is_recorded_by_the_run_that_it_is_attached_to_until_that_is_closed(home: Path) -> None:
    made, module = trainer(), line()
    with trackhooks.run(dir=home, delivery="off", system=None) as run:
        fit(run, made, module)
    trainer().fit(line(), loader(), loader())
    made.fit(module, loader())
    assert len(infos(home)) == 1
    assert steps(run.path) == list(range(BATCHES))


SCRIPT = """
import sys
from lightning_models import line, loader, trainer

import trackhooks

if __name__ == "__main__":
    trackhooks.enable(dir=sys.argv[1], delivery="off", system=None, ranks=sys.argv[3])
    trainer(2, strategy=sys.argv[2], devices=2).fit(line(), loader(), loader())
"""


@pytest.mark.slow
@pytest.mark.parametrize(("strategy", "ranks"), [("ddp", "all"), ("ddp_fork", "zero")])
def test_two_processes_are_one_run_in_which_both_may_record(
    strategy: str, ranks: str, home: Path, tmp_path: Path
) -> None:
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, script, home, strategy, ranks],
        env=environment, capture_output=True, text=True, check=False, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (info,) = infos(home)
    assert (steps(info.path), info.status) == (list(range(BATCHES)), "finished")
    found = trackhooks.ranks(info.path)
    assert [(one.status, one.summary.steps) for one in found] == [("finished", BATCHES)] * len(found)
    assert len(found) == (2 if ranks == "all" else 1)


def test_processes_that_are_spawned_are_warned_of(run: Run) -> None:
    made = trainer(strategy="ddp_spawn", devices=2)
    run.attach(made)
    with pytest.raises(trackhooks.TrackhooksWarning, match="nothing of this call is recorded"):
        made.fit(line(), loader(), loader())


def test_a_training_that_sigterm_ends_is_killed(enabled: Path) -> None:
    class Terminates(pl.Callback):
        def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

    made = trainer(epochs=2, callbacks=[Terminates()])
    with pytest.raises(SystemExit):
        made.fit(line(), loader())
    (info,) = infos(enabled)
    assert (info.status, info.reason) == ("killed", "SIGTERM")
