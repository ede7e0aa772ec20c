"""The integration of `toytrainer` in trackhooks: a separate package, found by its entry point."""

import sys
from functools import partial

from trackhooks.frameworks.interface import Framework
from trackhooks.frameworks.lookup import run_of
from trackhooks.frameworks.patching import Patches


class Toy(Framework):
    api, attaches, runs, patches = 1, "a toytrainer.Trainer", None, Patches()

    def install(self, runs, module):
        self.runs = runs
        self.patch(runs)

    def uninstall(self, runs):
        self.runs = None
        self.patches.release(runs)

    def attach(self, run, model):
        if type(model).__module__ == "toytrainer":
            model.run = run
            self.patch(run)
            run.on_close(partial(self.patches.release, run))
        return hasattr(model, "run")

    def patch(self, holder):
        methods = {"fit": self.record, "evaluate": self.record, "save": save}
        self.patches.hold(holder, sys.modules["toytrainer"].Trainer, methods)

    def record(self, original, model, args, kwargs):
        kind = {"fit": "train", "evaluate": "val"}[original.__name__]
        if hasattr(model, "run") and not model.run.closed:
            mode = model.run.mode(model, kind)
        elif not self.runs:
            return original(model, *args, **kwargs)
        else:
            train = partial(self.runs.training, resumes="start" in kwargs)
            mode = train(model) if kind == "train" else self.runs.use(model, kind)
        with mode as run:
            listeners = [partial(hear, run), *kwargs.pop("listeners", ())]  # ours first: others may raise
            return original(model, *args, **kwargs, listeners=listeners)


def hear(run, trainer, event, values):
    if event == "train_start":
        run.introduce(trainer, {"rate": trainer.rate, **values})
    part = {"train_batch_end": "train_batch", "val_end": ("test", "val")[run.training]}.get(event, "train")
    losses = {"val": values.get("val_loss"), part: values.get("loss")}
    metrics = {f"{part}/loss": loss for part, loss in losses.items() if loss is not None}
    run.fire(f"on_{event}", trainer, metrics, batch=values.get("batch"))


def save(original, model, args, kwargs):
    original(model, *args, **kwargs)
    if run := run_of(model):
        run.saved(*args)
