"""Keras, Ultralytics, a custom loop and a framework of a third party keep the promises of an integration."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import pytest
import torch
from keras_models import X, Y, sequential
from yolo import VERSION, Shapes

from trackhooks import Run
from trackhooks.hooks.vocabulary import BY_NAME, FROM_KERAS
from trackhooks.testing import FrameworkPromises
from trackhooks.testing.framework_promises.base import NOTHING, Numbers

THIRD_PARTY = Path(__file__).parents[1] / "third_party"


def state(module: torch.nn.Module) -> bytes:
    return b"".join(tensor.numpy().tobytes() for tensor in module.state_dict().values())


def at_hook(hook: str, function: Callable[[], None]) -> Any:
    """A callback of Keras that calls a function at one hook."""
    event = BY_NAME[hook].keras or ""
    return type("AtHook", (keras.callbacks.Callback,), {event: lambda *_, **__: function()})()


class TestKeras(FrameworkPromises):
    framework = "keras"
    batches = 2
    params = {"batch_size": 10, "optimizer/name": "SGD"}
    hooks = tuple(FROM_KERAS.values())
    cannot = {
        "own loggers": "its TensorBoard callback needs TensorFlow; that of MLflow is tested with `enable`",
        "processes": "it launches none",
    }

    def make(self) -> Any:
        keras.utils.set_random_seed(0)
        return sequential()

    def train(
        self,
        model: Any,
        epochs: int,
        *,
        run: Run | None = None,
        in_batch: Callable[[], None] | None = None,
        at: Mapping[str, Callable[[], None]] = NOTHING,
        resume: bool = False,
        validate: bool = True,
    ) -> Numbers:
        callbacks = [] if run is None else [run.keras]
        if in_batch is not None:
            callbacks.append(
                keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: in_batch())
            )
        callbacks[:0] = [at_hook(hook, function) for hook, function in at.items()]
        history = model.fit(
            X, Y, verbose=0, batch_size=10, validation_split=0.2 if validate else 0.0, callbacks=callbacks,
            epochs=epochs, initial_epoch=len(model.history.epoch) if resume else 0, steps_per_epoch=self.batches,
        ).history  # fmt: skip
        return {
            f"val/{name[4:]}" if name.startswith("val_") else f"train/{name}": values
            for name, values in history.items()
        }

    def train_with(self, model: Any, callback: Any) -> None:
        model.fit(X, Y, verbose=0, batch_size=10, callbacks=[callback])

    def evaluate(self, model: Any, run: Run | None = None) -> Mapping[str, float]:
        callbacks = [] if run is None else [run.keras]
        found = model.evaluate(X, Y, verbose=0, return_dict=True, callbacks=callbacks)
        return {f"test/{name}": value for name, value in found.items()}

    def predict(self, model: Any, run: Run | None = None) -> int:
        return len(model.predict(X, verbose=0, callbacks=[] if run is None else [run.keras]))

    def save(self, model: Any, path: Path) -> Path:
        model.save(path.with_suffix(".keras"))
        return path.with_suffix(".keras")

    def stop(self, model: Any) -> None:
        model.stop_training = True

    def weights(self, model: Any) -> bytes:
        return b"".join(weights.tobytes() for weights in model.get_weights())


@pytest.mark.slow
class TestUltralytics(FrameworkPromises):
    framework = "ultralytics.engine.model"
    batches = 2
    params = {"batch": 4, "imgsz": 32}
    hooks = tuple(BY_NAME)
    own_logger = "tensorboard"
    cannot = {
        "resume": "it resumes only what was interrupted, from a checkpoint",
        "save": "it has no callback at a save outside of a training",
        "callback objects": "it calls functions",
        "batches without waiting": "it rounds the losses to name them, and prints them at each batch anyway",
        **(
            {"processes": "before 8.4.140 it hands no callbacks over to its processes"}
            if VERSION < (8, 4, 140)
            else {}
        ),
    }

    @pytest.fixture(autouse=True)
    def _data(self, tmp_path: Path) -> None:
        self.shapes = Shapes(tmp_path)

    def make(self) -> Any:
        torch.manual_seed(0)
        return self.shapes.model()

    def train(
        self,
        model: Any,
        epochs: int,
        *,
        run: Run | None = None,
        in_batch: Callable[[], None] | None = None,
        at: Mapping[str, Callable[[], None]] = NOTHING,
        resume: bool = False,
        validate: bool = True,
    ) -> Numbers:
        assert not resume
        if run is not None:
            run.attach(model)
        if in_batch is not None:
            model.add_callback("on_train_batch_end", lambda _: in_batch())
        for hook, function in at.items():
            model.add_callback(hook, lambda _, function=function: function())
        model.overrides.setdefault(
            "model", "mini-detect.yaml"
        )  # Ultralytics 8.3 needs it, and loses it when it trains
        try:
            self.shapes.train(model, epochs=epochs, val=validate)
        finally:
            model.reset_callbacks()
        with Path(model.trainer.save_dir, "results.csv").open() as file:
            rows = list(csv.DictReader(file))
        names = [name for name in rows[0] if name.startswith(("train/", "val/", "metrics/"))]
        return {name.strip(): [float(row[name]) for row in rows] for name in names}

    def train_with_own_logger(self, model: Any, run: Run) -> None:
        from ultralytics.utils.callbacks import (
            tensorboard,  # which is switched off in tests, but for its warning
        )

        run.attach(model)
        model.add_callback("on_pretrain_routine_start", tensorboard.on_pretrain_routine_start)
        self.shapes.train(model)

    @pytest.mark.slow
    def test_a_training_in_processes_of_the_framework_is_recorded_once_and_heard_in_each(
        self, open_run: Callable[[], Run], home: Path, tmp_path: Path
    ) -> None:
        if VERSION < (8, 4, 140):
            pytest.skip(f"Ultralytics {VERSION} hands no callbacks over to its processes")
        super().test_a_training_in_processes_of_the_framework_is_recorded_once_and_heard_in_each(
            open_run, home, tmp_path
        )

    def launch(self, model: Any, epochs: int, run: Run) -> None:
        from yolo_processes import TwoProcesses

        run.attach(model)
        self.shapes.train(model, trainer=TwoProcesses, epochs=epochs)

    def evaluate(self, model: Any, run: Run | None = None) -> Mapping[str, float]:
        if run is not None:
            run.attach(model)
        found = self.shapes.validate(model).results_dict
        return {f"test/{name}": value for name, value in found.items()}

    def predict(self, model: Any, run: Run | None = None) -> int:
        if run is not None:
            run.attach(model)
        return len(self.shapes.predict(model))

    def stop(self, model: Any) -> None:
        model.trainer.stop = True

    def weights(self, model: Any) -> bytes:
        return state(model.model)


class TestOwnLoop(FrameworkPromises):
    batches = 4
    params = {"optimizer/name": "SGD"}
    cannot = {
        "enable": "a loop of the user calls the run itself",
        "inner evaluation": "an evaluation inside an epoch is its validation",
        "resume": "its run is resumed by the user",
        "save": "nothing hears of torch.save; the user calls run.log_model",
        "stop": "it ends by `break`, after which it fires nothing",
        "callbacks": "it has only those of the run",
        "callback objects": "it has only those of the run",
        "own loggers": "it has none",
        "processes": "it launches none",
    }

    def make(self) -> Any:
        torch.manual_seed(0)
        return torch.nn.Linear(4, 1)

    def train(
        self,
        model: Any,
        epochs: int,
        *,
        run: Run | None = None,
        in_batch: Callable[[], None] | None = None,
        at: Mapping[str, Callable[[], None]] = NOTHING,
        resume: bool = False,
        validate: bool = True,
    ) -> Numbers:
        own: dict[str, list[float]] = {"train/loss": [], "val/loss": []}
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        if run is not None:
            run.watch(model, optimizer)
        for _ in range(epochs) if run is None else run.epochs(epochs):
            for part in ("train", "val") if validate else ("train",):
                losses = []
                for x, y in self.data(part, run):
                    loss = torch.nn.functional.mse_loss(model(x), y)
                    if part == "train":
                        optimizer.zero_grad()
                        loss.backward()  # type: ignore[no-untyped-call]
                        optimizer.step()
                    losses.append(loss.item())
                    if run is not None:
                        run.log(loss=losses[-1])
                    if in_batch is not None and part == "train":
                        in_batch()
                own[f"{part}/loss"].append(sum(losses) / len(losses))
        return own if validate else {"train/loss": own["train/loss"]}

    def data(self, part: str, run: Run | None) -> Any:
        batches = [(torch.from_numpy(X[i : i + 5]), torch.from_numpy(Y[i : i + 5])) for i in range(0, 20, 5)]
        if run is None:
            return batches
        return run.train(batches) if part == "train" else run.validate(batches)

    def evaluate(self, model: Any, run: Run | None = None) -> Mapping[str, float]:
        losses = []
        for x, y in self.data("val", run):
            losses.append(torch.nn.functional.mse_loss(model(x), y).item())
            if run is not None:
                run.log(loss=losses[-1])
        return {"test/loss": sum(losses) / len(losses)}

    def predict(self, model: Any, run: Run | None = None) -> int:
        x = torch.from_numpy(X)
        return sum(len(model(rows)) for rows in ([x] if run is None else run.predict([x])))

    def weights(self, model: Any) -> bytes:
        return state(model)


EVENTS = (
    "train_start", "train_epoch_start", "train_batch_start", "train_batch_end", "train_epoch_end", "val_start",
    "val_end", "fit_epoch_end", "train_end",
)  # fmt: skip


class TestToy(FrameworkPromises):
    framework = "toytrainer"
    batches = 3
    params = {"rate": 0.1}
    hooks = tuple(f"on_{event}" for event in EVENTS)
    cannot = {
        "prediction": "it has nothing to predict with",
        "callback objects": "it calls functions",
        "skipped validations": "it validates each epoch",
        "own loggers": "it has none",
        "processes": "it launches none",
    }

    @pytest.fixture(autouse=True)
    def _installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """As pip would leave it: two modules and their metadata on the path."""
        monkeypatch.syspath_prepend(THIRD_PARTY)

    data = ((0.1, 0.2), (0.5, 1.0), (1.0, 2.0))

    def make(self) -> Any:
        import toytrainer

        return toytrainer.Trainer()  # type: ignore[no-untyped-call]

    def train(
        self,
        model: Any,
        epochs: int,
        *,
        run: Run | None = None,
        in_batch: Callable[[], None] | None = None,
        at: Mapping[str, Callable[[], None]] = NOTHING,
        resume: bool = False,
        validate: bool = True,
    ) -> Numbers:
        own: dict[str, list[float]] = {"train/loss": [], "val/loss": []}

        def listener(trainer: Any, event: str, values: dict[str, float]) -> None:
            at.get(f"on_{event}", lambda: None)()
            if event == "train_batch_end" and in_batch is not None:
                in_batch()
            if event == "fit_epoch_end":
                own["train/loss"].append(values["loss"])
                own["val/loss"].append(values["val_loss"])

        if run is not None:
            run.attach(model)
        start = {"start": model.epoch + 1} if resume else {}
        model.fit(self.data, epochs, **start, listeners=[listener])
        return own

    def evaluate(self, model: Any, run: Run | None = None) -> Mapping[str, float]:
        if run is not None:
            run.attach(model)
        return {"test/loss": model.evaluate(self.data)}

    def save(self, model: Any, path: Path) -> Path:
        model.save(path)
        return path

    def stop(self, model: Any) -> None:
        model.stop = True

    def weights(self, model: Any) -> bytes:
        return repr(model.slope).encode()

    def test_its_integration_takes_less_than_sixty_lines(self) -> None:
        assert len((THIRD_PARTY / "toytrainer_trackhooks.py").read_text().splitlines()) < 60
