"""What is special about the Trainer of transformers: the order of its events, its logs, its checkpoints."""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from trainers import BATCHES, Rows, at, line, trainer
from transformers import EarlyStoppingCallback, Trainer

import trackhooks
from trackhooks import Event
from trackhooks.recording import open_runs
from trackhooks.storage import journal
from trackhooks.storage.run_folder import read_info

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def enabled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Every Trainer is recorded; the directory of the runs."""
    monkeypatch.setenv("TRACKHOOKS_PATCH", "0")
    home = tmp_path / "runs"
    start(home)
    yield home
    end()


def start(home: Path) -> None:
    trackhooks.enable(dir=home, delivery="off", system=None)


def end() -> None:
    """As at the end of a process."""
    trackhooks.disable()
    for run in open_runs.every():
        run.close()


def the_run(home: Path) -> Path:
    (path,) = home.iterdir()
    return path


def events(home: Path, *hooks: str) -> list[Event]:
    return [event for event in journal.read(the_run(home)) if event.hook in hooks]


def values(found: list[Event], name: str) -> list[Any]:
    return [event.metrics[name] for event in found if name in event.metrics]


def test_a_validation_between_batches_is_a_point_over_the_steps(enabled: Path, tmp_path: Path) -> None:
    made = trainer(tmp_path, eval_strategy="steps", eval_steps=3, num_train_epochs=2)
    made.train()
    found = events(enabled, "on_val_end")
    assert [event.step for event in found] == [2, 5, 7]  # a Trainer also evaluates at its last step
    own = [log["eval_loss"] for log in made.state.log_history if "eval_loss" in log]
    assert values(found, "val/loss") == pytest.approx(own)
    assert values(events(enabled, "on_fit_epoch_end"), "val/loss") == []
    assert len(events(enabled, "on_train_batch_end")) == 2 * BATCHES


def test_several_data_sets_are_one_validation(enabled: Path, tmp_path: Path) -> None:
    made = trainer(tmp_path, eval_dataset={"near": Rows(5, seed=1), "far": Rows(5, seed=2)})
    made.train()
    (found,) = events(enabled, "on_val_end")
    assert {"val/near_loss", "val/far_loss"} <= found.metrics.keys()
    (epoch,) = events(enabled, "on_fit_epoch_end")
    assert {"val/near_loss", "val/far_loss", "train/loss"} <= epoch.metrics.keys()
    made.evaluate()
    assert {"test/near_loss", "test/far_loss"} <= events(enabled, "on_val_end")[-1].metrics.keys()


def test_losses_are_not_scaled_by_accumulation_and_steps_count_batches(enabled: Path, tmp_path: Path) -> None:
    model = line()
    made = trainer(tmp_path, model, gradient_accumulation_steps=2, learning_rate=0.0)
    made.train()
    batches = events(enabled, "on_train_batch_end")
    assert [event.step for event in batches] == list(range(BATCHES))
    with torch.no_grad():
        rows = Rows()
        mean = float((model.layer(rows.x) - rows.y).square().mean())
    assert sum(values(batches, "train_batch/loss")) / BATCHES == pytest.approx(mean, rel=1e-4)
    (epoch,) = events(enabled, "on_fit_epoch_end")
    assert epoch.metrics["train/loss"] == pytest.approx(made.state.log_history[0]["loss"], rel=1e-4)


def test_an_accumulation_that_the_epoch_cuts_short_has_the_loss_of_the_trainer(
    enabled: Path, tmp_path: Path
) -> None:
    made = trainer(tmp_path, gradient_accumulation_steps=3, num_train_epochs=2)
    made.train()
    own = [log["loss"] for log in made.state.log_history if "loss" in log]
    assert values(events(enabled, "on_fit_epoch_end"), "train/loss") == pytest.approx(own, rel=1e-4)
    assert len(events(enabled, "on_train_batch_end")) == 2 * BATCHES


def test_every_epoch_has_its_loss_even_if_the_trainer_never_logs(enabled: Path, tmp_path: Path) -> None:
    trainer(tmp_path, logging_strategy="no", num_train_epochs=2).train()
    assert len(values(events(enabled, "on_fit_epoch_end"), "train/loss")) == 2


def test_what_is_logged_between_steps_is_recorded_at_its_step(enabled: Path, tmp_path: Path) -> None:
    made = trainer(tmp_path, logging_strategy="steps", logging_steps=2)
    made.add_callback(
        at(on_optimizer_step=lambda args, state, control: made.log({"mine": 1.0 * state.global_step}))
    )
    made.train()
    found = [event for event in journal.read(the_run(enabled)) if "train_batch/mine" in event.metrics]
    assert [(event.step, event.metrics["train_batch/mine"]) for event in found] == [
        (0, 0.0),
        (1, 1.0),
        (2, 2.0),
        (3, 3.0),
    ]
    rates = [event for event in journal.read(the_run(enabled)) if "train_batch/lr" in event.metrics]
    assert [event.step for event in rates] == [1, 3]
    assert all("gradients/norm" in event.metrics for event in rates)


def test_early_stopping_is_seen_and_the_last_epoch_is_heard(enabled: Path, tmp_path: Path) -> None:
    stopped: list[bool] = []
    made = trainer(
        tmp_path, num_train_epochs=5, save_strategy="epoch", load_best_model_at_end=True,
        metric_for_best_model="eval_loss", greater_is_better=True, callbacks=[EarlyStoppingCallback(1)],
    )  # fmt: skip
    with trackhooks.run(dir=tmp_path / "own", delivery="off", system=None) as run:
        run.add_callback("on_fit_epoch_end", lambda view: stopped.append(view.stop))
        run.attach(made)
        made.train()
    assert stopped == [False, True]
    assert run.status == "finished"


def test_a_checkpoint_is_a_folder_and_the_best_one_is_named(enabled: Path, tmp_path: Path) -> None:
    made = trainer(
        tmp_path, num_train_epochs=2, save_strategy="epoch", load_best_model_at_end=True,
        metric_for_best_model="eval_loss", greater_is_better=True,
    )  # fmt: skip
    made.train()
    files = [file for event in events(enabled, "on_model_save") for file in event.files]
    assert [Path(file.path).name for file in files] == ["checkpoint-4", "checkpoint-8"]
    assert [sorted(file.aliases) for file in files] == [["best", "last"], ["last"]]


@pytest.mark.parametrize(
    ("after", "epochs"),
    [
        pytest.param(3, [0, 1], id="in the first epoch"),
        pytest.param(4, [1], id="after the last step of an epoch, before its end"),
        pytest.param(6, [0, 1], id="in the second epoch"),
    ],
)
def test_a_training_is_resumed_in_another_process_at_its_step(
    after: int, epochs: list[int], enabled: Path, tmp_path: Path
) -> None:
    def kill(args: Any, state: Any, control: Any) -> None:
        if state.global_step == after:
            raise KeyboardInterrupt

    settings: dict[str, Any] = {"num_train_epochs": 2, "save_strategy": "steps", "save_steps": after}
    with pytest.raises(KeyboardInterrupt):
        trainer(tmp_path, callbacks=[at(on_save=kill)], **settings).train()
    assert read_info(the_run(enabled)).status == "killed"
    end()
    start(enabled)
    trainer(tmp_path, **settings).train(resume_from_checkpoint=True)
    steps = [event.step for event in events(enabled, "on_train_batch_end")]
    assert steps == list(range(2 * BATCHES))
    assert [event.epoch for event in events(enabled, "on_fit_epoch_end")] == epochs
    assert read_info(the_run(enabled)).status == "finished"


def test_a_training_that_resumes_without_its_run_counts_as_the_trainer_does(
    enabled: Path, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"num_train_epochs": 2, "save_strategy": "steps", "save_steps": 6}
    trackhooks.disable()
    trainer(tmp_path, **settings).train()
    start(enabled)
    trainer(tmp_path, **settings).train(resume_from_checkpoint=str(tmp_path / "checkpoint-6"))
    assert [event.step for event in events(enabled, "on_train_batch_end")] == [6, 7]
    assert [event.epoch for event in events(enabled, "on_fit_epoch_end")] == [1]


def test_report_to_names_trackhooks_while_it_is_enabled(enabled: Path, tmp_path: Path) -> None:
    made = trainer(tmp_path, report_to="trackhooks")
    made.train()
    assert len(events(enabled, "on_fit_epoch_end")) == 1
    trackhooks.disable()
    with pytest.raises(ValueError, match="trackhooks is not supported"):
        trainer(tmp_path, report_to="trackhooks")


def test_a_parameter_is_known_as_a_default_and_secrets_are_redacted(enabled: Path, tmp_path: Path) -> None:
    trainer(tmp_path, weight_decay=0.5, hub_token="hf_secret").train()
    (found,) = events(enabled, "on_pretrain_routine_start")
    shown = found.params.keys() - set(found.defaults)
    assert {"weight_decay", "learning_rate", "per_device_train_batch_size", "optim"} <= shown
    assert {"seed", "warmup_steps", "accelerator_config", "max_grad_norm", "gradient_checkpointing"} <= set(
        found.defaults
    )
    assert "hf_secret" not in str(found.params)
    assert "output_dir" not in found.params


def test_the_metrics_of_an_epoch_are_recorded_if_its_checkpoint_fails(
    enabled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = trainer(tmp_path, save_strategy="epoch")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(made, "_save", full)
    with pytest.raises(OSError, match="No space"):
        made.train()
    (epoch,) = events(enabled, "on_fit_epoch_end")
    assert {"train/loss", "val/loss"} <= epoch.metrics.keys()
    assert read_info(the_run(enabled)).status == "failed"


def test_a_step_of_a_subclass_is_heard_and_left_as_it_was(enabled: Path, tmp_path: Path) -> None:
    class Halves(Trainer):
        def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
            return super().training_step(*args, **kwargs) / 2

    made = trainer(tmp_path)
    made.__class__ = Halves
    made.train()
    assert "training_step" not in vars(made)
    own = made.state.log_history[0]["loss"]
    losses = values(events(enabled, "on_train_batch_end"), "train_batch/loss")
    assert sum(losses) / BATCHES == pytest.approx(own, rel=1e-4)


@pytest.mark.parametrize("make_copy", [copy.deepcopy, lambda made: pickle.loads(pickle.dumps(made))])
def test_a_copy_of_the_callbacks_within_a_training_records_nothing(
    make_copy: Callable[[Any], Any], enabled: Path, tmp_path: Path
) -> None:
    heard: list[Any] = []
    made = trainer(tmp_path)

    def call_a_copy(args: Any, state: Any, control: Any) -> None:
        heard.append(make_copy(made.callback_handler.callbacks[0]))
        heard[-1].on_epoch_end(args, state, control)

    made.add_callback(at(on_epoch_begin=call_a_copy))
    made.train()
    assert len(heard) == 1
    assert len(events(enabled, "on_train_epoch_end")) == 1


def test_an_evaluation_before_the_training_is_a_test(enabled: Path, tmp_path: Path) -> None:
    trainer(tmp_path, eval_on_start=True).train()
    first, second = events(enabled, "on_val_end")
    assert "test/loss" in first.metrics
    assert "val/loss" in second.metrics


def test_an_evaluation_by_a_callback_is_not_the_validation(enabled: Path, tmp_path: Path) -> None:
    made = trainer(tmp_path)

    def evaluate(args: Any, state: Any, control: Any) -> None:
        if state.global_step == 1:
            made.evaluate(Rows(5, seed=7), metric_key_prefix="held_out")

    made.add_callback(at(on_step_begin=evaluate))
    made.train()
    apart, validation = events(enabled, "on_val_end")
    assert "test/held_out_loss" in apart.metrics
    assert "val/loss" in validation.metrics
    (epoch,) = events(enabled, "on_fit_epoch_end")
    assert epoch.metrics["val/loss"] == validation.metrics["val/loss"]


def test_a_prediction_with_labels_records_their_metrics(enabled: Path, tmp_path: Path) -> None:
    found = trainer(tmp_path).predict(Rows(7, seed=3))
    (end,) = events(enabled, "on_predict_end")
    assert end.metrics["test/loss"] == pytest.approx((found.metrics or {})["test_loss"])
    assert end.metrics["predict/samples"] == 7


def test_an_epoch_that_a_callback_cuts_short_is_an_epoch(enabled: Path, tmp_path: Path) -> None:
    def cut(args: Any, state: Any, control: Any) -> None:
        control.should_epoch_stop = state.global_step == 1

    trainer(tmp_path, num_train_epochs=2, callbacks=[at(on_step_end=cut)]).train()
    steps = [event.step for event in events(enabled, "on_train_batch_end")]
    assert steps == list(range(1 + BATCHES))
    assert [event.epoch for event in events(enabled, "on_fit_epoch_end")] == [0, 1]


def test_a_second_training_of_a_trainer_that_makes_its_model_is_a_second_run(
    enabled: Path, tmp_path: Path
) -> None:
    made = trainer(tmp_path, model_init=line)
    made.train()
    made.train()
    infos = [read_info(path) for path in enabled.iterdir()]
    assert [info.status for info in infos] == ["finished", "finished"]


def test_a_model_of_transformers_is_described(enabled: Path, tmp_path: Path) -> None:
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=32, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    rows = [{"input_ids": torch.arange(8) % 7 + n, "labels": torch.tensor(n % 2)} for n in range(8)]
    made = trainer(tmp_path, model=BertForSequenceClassification(config))
    made.train_dataset = made.eval_dataset = rows
    made.train()
    (end,) = events(enabled, "on_pretrain_routine_end")
    assert end.facts["model/name"] == "BertForSequenceClassification"
    assert end.facts["data/train/samples"] == 8
    assert re.match("SGD|AdamW", str(end.facts["optimizer/name"]))
    (epoch,) = events(enabled, "on_fit_epoch_end")
    assert {"train/loss", "val/loss", "lr/0"} <= epoch.metrics.keys()


def test_a_save_before_any_training_belongs_to_the_run_that_the_trainer_is_attached_to(
    tmp_path: Path,
) -> None:
    made = trainer(tmp_path)
    with trackhooks.run(dir=tmp_path / "own", delivery="off", system=None) as run:
        run.attach(made)
        made.save_model(str(tmp_path / "saved"))
    made.save_model(str(tmp_path / "later"))
    files = [file for event in journal.read(run.path) for file in event.files]
    assert [Path(file.path).name for file in files] == ["saved"]


def test_each_trial_of_a_search_is_a_run_with_its_parameters(enabled: Path, tmp_path: Path) -> None:
    import optuna

    class Second(optuna.pruners.BasePruner):
        def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
            return trial.number == 1

    made = trainer(tmp_path, model_init=line, num_train_epochs=2)
    made.hyperparameter_search(
        lambda trial: {"learning_rate": trial.suggest_categorical("learning_rate", [0.125])},
        n_trials=2,
        backend="optuna",
        pruner=Second(),
    )
    runs = sorted(map(read_info, enabled.iterdir()), key=lambda info: info.created)
    assert [info.status for info in runs] == ["finished", "pruned"]
    assert [len(metrics_of_epochs(info.path)) for info in runs] == [2, 1]
    for info in runs:
        params = {name: value for event in journal.read(info.path) for name, value in event.params.items()}
        assert params["learning_rate"] == 0.125


def metrics_of_epochs(path: str | Path) -> list[dict[str, float]]:
    return [event.metrics for event in journal.read(path) if event.hook == "on_fit_epoch_end"]
