"""What a short script costs from its start to the prompt: two Keras fits, logged by trackhooks and by its peers.

Run: python benchmarks/to_the_prompt.py [--rounds 3] [--epochs 10] [--only "trackhooks at a prompt,wandb.log"] [--json]

Whole processes take turns: without logging; trackhooks with MLflow and W&B, at a prompt, where the end of the program
does not wait for them and their delivery continues in the background; the same with the wait of a batch job, until
everything is delivered; `mlflow.keras.autolog`; and a callback that calls `wandb.log` after each epoch, as W&B's own
does, which needs TensorFlow. MLflow writes to a SQLite file, and W&B is offline. Processor time is that of the script
and of all processes that ended with it, so that of a delivery in the background is not in it.

Promised: at a prompt, at most a third of what their own clients add to the time of the script.
"""

from __future__ import annotations

import functools
from argparse import SUPPRESS
from collections.abc import Callable, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measuring import Figures, arguments, at_a_prompt, by_turns, median, ratio, spread
from results import Results, Taken

if TYPE_CHECKING:
    from collections.abc import Iterator

WITHOUT, AT_PROMPT, WAITING = "without", "trackhooks at a prompt", "trackhooks in a job"
AUTOLOG, WANDB = "mlflow.autolog", "wandb.log"
ENVIRONMENT = {
    "KERAS_BACKEND": "torch",
    "MLFLOW_TRACKING_URI": "sqlite:///{folder}/mlflow.db",
    "WANDB_MODE": "offline",
    "WANDB_SILENT": "true",
}
CANDIDATES = (WITHOUT, AT_PROMPT, WAITING, AUTOLOG, WANDB)


def main() -> None:
    """Measures and prints; with `--one` it is one of the scripts that are measured."""
    parser = arguments(__doc__, 3)
    parser.add_argument("--epochs", type=int, default=10, help="of each of the two fits")
    parser.add_argument("--only", default=",".join(CANDIDATES), help="which candidates, besides the first")
    parser.add_argument("--one", help=SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        with LOGGERS[chosen.one]() as callbacks:
            train_twice(chosen.epochs, callbacks)
        return
    names = [name for name in CANDIDATES if name == WITHOUT or name in chosen.only.split(",")]
    results = Results("to_the_prompt", chosen.json)
    candidates = {name: functools.partial(measure, name, chosen.epochs) for name in names}
    taken = by_turns(candidates, chosen.rounds, chosen.seconds, results.failed)
    base = taken[WITHOUT]
    rows = [
        (
            name,
            spread(found["wall_s"], 1),
            ratio(found["wall_s"], base["wall_s"]),
            spread(found["cpu_s"], 1),
            ratio(found["cpu_s"], base["cpu_s"]),
            f"{added(taken, name):+.1f}",
        )
        for name, found in taken.items()
    ]
    columns = ("logged to", "wall time, s", "×", "processor time, s", "×", "later at the prompt, s")
    results.table("A script of two short Keras fits, from its start to the prompt", columns, rows, taken)
    ours, theirs = added(taken, AT_PROMPT), added(taken, AUTOLOG) + added(taken, WANDB)
    claim = "two Keras fits to MLflow and W&B: what is added to the time to the prompt, next to autolog and `wandb.log`"
    results.promise("Next to the peers", claim, ours / theirs, at_most=1 / 3, unit="×")
    results.end()


def added(taken: Taken, candidate: str) -> float:
    """How many seconds later the prompt comes."""
    return median(taken, candidate, "wall_s") - median(taken, WITHOUT, "wall_s")


def measure(candidate: str, epochs: int) -> Figures:
    """One script, in a separate folder and at a separate terminal."""
    script = (str(Path(__file__).resolve()), "--one", candidate, "--epochs", str(epochs))
    return at_a_prompt(*script, env=ENVIRONMENT)


def train_twice(epochs: int, callbacks: Sequence[Any]) -> None:
    """Two fits of scikit-learn's digits."""
    import keras
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    for lr in (0.01, 0.1):
        layers = [keras.Input((64,)), keras.layers.Dense(64, "relu"), keras.layers.Dense(10, "softmax")]
        model = keras.Sequential(layers)
        model.compile(keras.optimizers.SGD(lr), "sparse_categorical_crossentropy", metrics=["accuracy"])
        model.fit(
            pixels / 16, labels, epochs=epochs, validation_split=0.2, verbose=0, callbacks=list(callbacks)
        )


def trackhooks_enabled(wait: float | None) -> Any:
    """One line above the fits."""
    import trackhooks

    trackhooks.enable("mlflow", wandb={"mode": "offline"}, wait=wait)
    return nullcontext(())


def autolog() -> Any:
    """One line above the fits."""
    import mlflow

    mlflow.keras.autolog(log_models=False, log_datasets=False)
    return nullcontext(())


@contextmanager
def wandb_callback() -> Iterator[Sequence[Any]]:
    """One run of W&B for both fits."""
    import keras
    import wandb

    with wandb.init(project="digits") as run:
        yield [keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: run.log(logs))]


LOGGERS: dict[str, Callable[[], Any]] = {
    WITHOUT: lambda: nullcontext(()),
    AT_PROMPT: functools.partial(trackhooks_enabled, None),
    WAITING: functools.partial(trackhooks_enabled, 120),
    AUTOLOG: autolog,
    WANDB: wandb_callback,
}


if __name__ == "__main__":
    main()
