"""`Event`: what one hook recorded. It is the pivot between the vocabularies, and all that a tracker ever sees."""

from __future__ import annotations

from typing import Any

import msgspec

Scalar = str | int | float | bool | None
"""What a hyper-parameter may be once it is recorded."""


class File(msgspec.Struct, omit_defaults=True):
    """A file that a hook noted: a checkpoint, an export, a picture, or any other.

    The training process notes `path` to `inode`; delivery then fills in `sha256`, `kept` and `superseded`.
    """

    path: str
    """Where the loop wrote it, absolute; a folder (a SavedModel, an OpenVINO export) is a file here too."""
    kind: str
    """`"model"`, `"export"`, `"image"` or `"file"`."""
    name: str
    """What trackers call it; for an image, the name of its series."""
    format: str = ""
    """`"pt"`, `"keras"`, `"onnx"`, …: the ending of the path, unless the loop says otherwise."""
    aliases: tuple[str, ...] = ()
    """Names that move to the newest file that bears them, such as `"last"` and `"best"`."""
    parent: str | None = None
    """The path of the checkpoint that an export was made from."""
    size: int = 0
    """Bytes."""
    mtime: float = 0.0
    """When it was last changed, in seconds since 1970."""
    inode: int = 0
    duration: float | None = None
    """How long making it took, in seconds, where the loop knows."""
    metrics: dict[str, float] = {}
    """The metrics of that moment."""
    sha256: str = ""
    """The hash of what was delivered; empty until then."""
    kept: str = ""
    """Where the run's folder keeps a copy, relative to the folder; empty where it keeps none."""
    superseded: bool = False
    """True where the file was overwritten or deleted before it could be copied."""


class Text(msgspec.Struct, tag="text"):
    """A text, shown as Markdown where a dashboard can."""

    name: str
    text: str


class Table(msgspec.Struct, tag="table"):
    """A table: every row is as long as `columns`."""

    name: str
    columns: list[str]
    rows: list[list[Scalar]]


class Histogram(msgspec.Struct, tag="histogram"):
    """A histogram: `len(edges) == len(counts) + 1`, edges rising."""

    name: str
    edges: list[float]
    counts: list[float]


class Node(msgspec.Struct, omit_defaults=True):
    """One operation of a `Graph`."""

    name: str
    """Unique; slashes nest it, as in `"encoder/conv1"`."""
    op: str
    inputs: list[str] = []
    attributes: dict[str, Scalar] = {}


class Graph(msgspec.Struct, tag="graph"):
    """A model's graph, in the order in which its nodes run."""

    name: str
    nodes: list[Node]


Media = Text | Table | Histogram | Graph


class RunInfo(msgspec.Struct, omit_defaults=True):
    """Who a run is: what `run.json` holds and what a tracker gets. Options and secrets are not in it."""

    id: str
    name: str
    path: str = ""
    """The run's folder, absolute, as the reader sees it; not stored, since a run may be moved."""
    project: str | None = None
    tags: list[str] = []
    notes: str | None = None
    group: str | None = None
    parent: str | None = None
    """The id of the run that this one is a part of."""
    created: float = 0.0
    """Seconds since 1970."""
    ended: float | None = None
    status: str = "running"
    """`"running"`, `"finished"`, `"failed"`, `"killed"` or `"lost"`."""
    reason: str | None = None
    """Why it failed or was killed: the exception, in one line."""
    pid: int = 0
    pid_created: float = 0.0
    """When the process was made, so that a pid used again is not mistaken for it."""
    host: str = ""
    boot: str = ""
    """Which boot of the host, so that a pid of an earlier one is not looked for."""
    trackers: list[str] = []
    keep: str = "best,last"
    """Which checkpoints the folder keeps: `"best,last"`, `"all"`, `"none"` or `"every:N"`."""
    options: dict[str, dict[str, Scalar]] = {}
    """The options of each tracker, secrets redacted."""
    system: float | None = None
    """How often the process and the machine are measured, in seconds; None for never."""
    environment: dict[str, Scalar] = {}
    version: str = ""
    """The version of trackhooks that made it."""


FINAL = frozenset({"finished", "failed", "killed", "lost"})
"""The statuses of a run that has ended."""


class Event(msgspec.Struct, omit_defaults=True, gc=False):
    """What one hook recorded, with its place on both axes."""

    hook: str
    """The canonical name, or `"log"` for what the user logged directly."""
    index: int
    """The record's own number in its journal, from 0; a gap says that records were lost (a full disk)."""
    time: float
    """Seconds since 1970."""
    step: int = -1
    """The index of the last training batch, across epochs and resumes; −1 before the first."""
    epoch: int = -1
    """From 0; −1 outside of epochs."""
    batch: int = -1
    """The index within the epoch, the validation or the prediction; −1 outside of batches."""
    metrics: dict[str, float] = {}
    params: dict[str, Scalar] = {}
    files: list[File] = []
    media: list[Media] = []
    status: str = ""
    """The status that this event gives to the run; empty where it changes none."""
    reason: str = ""
    """Why, where `status` is failed or killed."""
    overflow: str = ""
    """Set while a record is stored outside of the journal, since it is larger than a record may be."""
    run: RunInfo | None = None
    """The run; filled in by whoever reads the journal."""

    @property
    def source(self) -> Any:
        """Not here: a tracker is fed from the journal, mostly in another process, where no live object is.

        Raises:
            AttributeError: always, with what to use instead.
        """
        raise AttributeError(
            f"event.source: a tracker hears {self.hook!r} from the journal, where the live trainer or model is not."
            f" Register a callback instead: run.add_callback({self.hook!r}, function)"
        )
