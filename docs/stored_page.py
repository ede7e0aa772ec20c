"""Writes the table of docs/topics/stored.md: every hook, what it stores, and its place in each tracker.

python docs/stored_page.py            # writes it
python docs/stored_page.py --check    # fails if the page differs, and writes nothing
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from trackhooks.hooks.vocabulary import HOOKS

PAGE = Path(__file__).parent / "topics" / "stored.md"
TRACKERS = {"csv": "CSV", "tensorboard": "TensorBoard", "mlflow": "MLflow", "wandb": "W&B"}

PLACES: dict[str, tuple[str, str, str, str]] = {
    "params": ("`params.csv`", "HParams", "Parameters", "config"),
    "facts": ("`facts.csv`", "Text: `run/facts`", "tags", "summary"),
    "summary": ("`texts.csv`, `graph.csv`", "Text, Graphs", "Artifacts: `texts/`, `graphs/`", "media: HTML, graph"),
    "batch": ("`batches.csv`", "Scalars over the step", "Metrics over the step", "charts over `step`"),
    "epoch": ("`epochs.csv`", "Scalars over the epoch", "Metrics over the epoch", "charts over `epoch`"),
    "best": ("`epochs.csv`", "Scalars over the epoch", "Metrics at step 0", "summary"),
    "other": ("`metrics.csv`", "Scalars over the step", "Metrics over the step", "charts over `step`"),
    "histograms": ("`histograms.csv`", "Histograms", "Artifacts: `histograms/`", "histograms"),
    "image": ("`files.csv`", "Images", "the image grid", "media: images"),
    "model": ("`files.csv`", "Text: `files/…`", "Models: a LoggedModel", "an artifact `model`"),
    "export": ("`files.csv`", "Text: `files/…`", "Models, with `parent`", "an artifact `export`"),
    "status": ("`run.csv`", "HParams", "the run's status and tags", "state, summary"),
    "running": ("`run.csv`", "", "the run's status", "state"),
}  # fmt: skip
"""What can be stored → its place in CSV, TensorBoard, MLflow and W&B, in this order."""

STORED: dict[str, tuple[str, tuple[str, ...]]] = {
    "on_pretrain_routine_start": (
        "hyper-parameters, secrets redacted; settings that repeat one of them",
        ("params", "facts"),
    ),
    "on_pretrain_routine_end": (
        "the size of the model, its summary and graph; the optimizer's settings",
        ("params", "facts", "summary"),
    ),
    "on_train_start": ("the status running", ("running",)),
    "on_train_epoch_start": ("the epoch's begin, in the journal", ()),
    "on_train_batch_start": ("nothing; the time of a step begins", ()),
    "optimizer_step": ("on request, see `run.watch`: the gradient norm, histograms", ("histograms",)),
    "on_before_zero_grad": ("nothing", ()),
    "on_train_batch_end": ("the metrics of the batch", ("batch",)),
    "on_train_epoch_end": ("the training's metrics, learning rates, speed", ("epoch",)),
    "on_fit_epoch_end": ("all metrics of the epoch; the best values so far; plots", ("epoch", "best", "image")),
    "on_model_save": ("the checkpoint: hash, size, aliases, metrics of that moment", ("model",)),
    "on_train_end": (
        "final and best metrics; the last and the best checkpoint; plots",
        ("epoch", "best", "model", "image"),
    ),
    "on_params_update": ("the moment: how often weights were replaced so far, as `model/updates`", ("other",)),
    "teardown": ("the status: finished, failed, pruned, killed; plots that came late", ("status", "image")),
    "on_val_start": ("the moment, in the journal", ()),
    "on_val_batch_start": ("nothing", ()),
    "on_val_batch_end": ("nothing by itself; what the loop logs", ()),
    "on_val_end": (
        "validation metrics, speed, plots; outside of a training as `test/…`; between batches over the step",
        ("epoch", "best", "other", "image"),
    ),
    "on_predict_start": ("the moment, in the journal", ()),
    "on_predict_batch_start": ("nothing", ()),
    "on_predict_postprocess_end": ("nothing", ()),
    "on_predict_batch_end": ("nothing by itself", ()),
    "on_predict_end": (
        "count, samples a second, times, as `predict/…`; the first pictures, if Ultralytics saves them",
        ("other", "image"),
    ),
    "on_export_start": ("the moment, in the journal", ()),
    "on_export_end": ("the exported file: format, size, duration, its checkpoint", ("export",)),
}  # fmt: skip
"""Hook → what it stores, and which of `PLACES` hold it."""


def table() -> str:
    """The table, with a row for each hook of the vocabulary and a column for each bundled tracker."""
    headings = ("Hook", "Stored", *TRACKERS.values())
    return "".join((line(headings), line(["---"] * len(headings)), *map(row, [hook.name for hook in HOOKS])))


def row(hook: str) -> str:
    """What one hook stores."""
    what, kinds = STORED[hook]
    cells = (
        "; ".join(filter(None, dict.fromkeys(PLACES[kind][column] for kind in kinds))) or "–"
        for column in range(len(TRACKERS))
    )
    return line((f"`{hook}`", what, *cells))


def line(cells: tuple[str, ...] | list[str]) -> str:
    """One line of a Markdown table."""
    return f"| {' | '.join(cells)} |\n"


def main() -> None:
    """Writes or checks the page."""
    written = PAGE.read_text(encoding="utf-8")
    between = re.compile(
        r"(?<=<!-- table, written by docs/stored_page.py -->\n).*?(?=<!-- end -->)", re.DOTALL
    )
    page = between.sub(lambda _: table(), written, count=1)
    if "--check" not in sys.argv:
        PAGE.write_text(page, encoding="utf-8")
    elif page != written:
        sys.exit(f"{PAGE.name} is not up to date. Run: python docs/stored_page.py")


if __name__ == "__main__":
    main()
