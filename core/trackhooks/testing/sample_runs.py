"""The runs that the tests record, and what a backend should hold of each.

All values are exact in 32-bit floats.
"""

from __future__ import annotations

import hashlib
import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ..session.run import Run
from .trial import Seen, plain

Points = Sequence[tuple[int, float]]
"""The points of a metric: (step or epoch, value)."""


class TrialPruned(Exception):  # noqa: N818 — the name of Optuna's
    """Ends the trial of a search, as Optuna's exception of this name does."""


def train(run: Run, epochs: int = 2, start: int | None = None, more: float = 0.0) -> None:
    """Train with three batches per epoch, and a metric that first appears in the second epoch.

    Args:
        run: the run to log to.
        epochs: the number of epochs.
        start: the first epoch; by default the loop decides.
        more: a number added to every value.
    """
    for epoch in run.epochs(epochs, start=start):
        for batch in run.train(range(3)):
            value = (3 * epoch + batch + 1) / 8 + more
            run.log({"loss": value, "late": -value} if epoch else {"loss": value})
        for _ in run.validate(range(2)):
            run.log(loss=-(epoch + 1) / 4 + more)


def losses(epochs: int) -> dict[str, Points]:
    """Return the metrics that `train` logs."""
    steps = [(step, (step + 1) / 8) for step in range(3 * epochs)]
    means = [(epoch, (3 * epoch + 2) / 8) for epoch in range(epochs)]
    late = {"train_batch/late": steps[3:], "train/late": means[1:]}
    return {
        "train_batch/loss": steps,
        "train/loss": means,
        "val/loss": [(epoch, -(epoch + 1) / 4) for epoch in range(epochs)],
        **{name: [(x, -y) for x, y in points] for name, points in late.items() if points},
    }


def log_everything(run: Run, epochs: int = 2) -> None:
    """Train, then log one of everything: parameters, a model, an image, text and a table."""
    train(run, epochs)
    epoch = run.epoch
    run.log_params(lr=0.5, epochs=epoch + 1)
    run.run_callbacks("on_pretrain_routine_end", facts={"model/parameters": 13 + epoch})
    run.log_model(written(run.path.parent / "last.pt", f"weights of epoch {epoch}"), aliases=["last"])
    run.log_image("val/samples", written(run.path.parent / "samples.png", png(epoch + 1, 2)))
    run.log_text("notes", f"after epoch {epoch}")
    run.log_table("errors", [["a", epoch], ["b", 0.5]], columns=["class", "count"])


def everything(*last_epochs: int) -> Seen:
    """Return what a backend should hold after `log_everything` was called once for each of these last epochs."""
    epoch = last_epochs[-1]
    steps = [(3 * last + 2, last) for last in last_epochs]
    return Seen(
        params=plain({"lr": 0.5, "epochs": epoch + 1}),
        facts=plain({"model/parameters": 13 + epoch}),
        metrics=losses(epoch + 1),
        files={"last.pt": sha256(f"weights of epoch {epoch}")},
        images={"val/samples": [(step, (last + 1, 2)) for step, last in steps]},
        texts={"notes": [(step, f"after epoch {last}") for step, last in steps]},
        tables={
            "errors": [
                (step, [plain({"class": "a", "count": last}), plain({"class": "b", "count": 0.5})])
                for step, last in steps
            ]
        },
    )


def written(path: Path, content: str | bytes) -> Path:
    """Write a file and return its path."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def sha256(content: str) -> str:
    """Return the hash of a file with this content."""
    return hashlib.sha256(content.encode()).hexdigest()


def png(width: int, height: int) -> bytes:
    """Return a grey PNG image."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress((b"\0" + b"\x80" * width) * height)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def among(found: Mapping[str, Points], expected: Mapping[str, Points]) -> dict[str, Points | None]:
    """Select the expected metrics: loops also record others, such as the duration of an epoch."""
    return {name: found.get(name) for name in expected}


def repeated(metrics: Mapping[str, Points]) -> dict[str, Points]:
    """Select the metrics that have more than one point at the same step or epoch."""
    return {name: points for name, points in metrics.items() if len({x for x, _ in points}) < len(points)}


ODD_NAMES: Final = (
    "metrics/mAP50(B)", "AR@100", "größe µ 🎉", "100%", "a.b:c", "a,b;c", 'the "best"', "a\nline", "/leading",
    "closing/", "in//between", "=1+1", "<b>`x`</b>", "a*b", "", "x" * 300, "_private", "step", "epoch", "time", "loss",
)  # fmt: skip
ALIKE_NAMES: Final = (
    "*", "..", "a(b)", "a[b]", "a_b_", "A_B_", "a b ", "a/b/", "a//b", "a b", "x" * 300 + "y", "x" * 300 + "z",
)  # fmt: skip

ODD_FILES: Final = (
    "größe (1) 100%.pt", "a'b;c&d.pt", ".hidden", "without_ending", "-dash.pt", "#one?two=3.pt", "x" * 200 + ".pt",
    "a+b,c.tar.gz", "[0]{1}.pt", "50%25.pt",
)  # fmt: skip

PARAMS: Final[Mapping[str, Any]] = {
    "optimizer": "adam", "lr": 1e-3, "layers": 3, "nesterov": True, "frozen": False, "decay": None, "empty": "",
    "title": "größe 🎉", "lines": "one\ntwo", "quoted": 'a,b;"c"', "markup": "<b>|a|</b>", "large": 2**60 + 1,
    "small": 1e-300, "nan": math.nan, "infinite": -math.inf, "shape": [3, 4], "net": {"depth": {"of": 5}},
}  # fmt: skip
RECORDED_PARAMS = {
    **{name: value for name, value in PARAMS.items() if name not in ("shape", "net")},
    "shape": "[3, 4]",
    "net/depth/of": 5,
}
