"""`Event`: what one hook recorded, and all that a tracker sees of it."""

from __future__ import annotations

from typing import Any

import msgspec

Scalar = str | int | float | bool | None
"""The type of a recorded hyper-parameter."""


class File(msgspec.Struct, omit_defaults=True):
    """A checkpoint, an export, a picture, or any other file.

    The training process records `path` to `metrics`; delivery adds `sha256`, `kept` and `superseded`.
    """

    path: str
    """The absolute path of the file, or of a folder, such as a SavedModel or an OpenVINO export."""
    kind: str
    """`"model"`, `"export"`, `"image"` or `"file"`."""
    name: str
    """The name in trackers. All images of a series have the same name."""
    format: str = ""
    """`"pt"`, `"keras"`, `"onnx"`, …: by default the suffix of the path."""
    aliases: tuple[str, ...] = ()
    """Names that always refer to the latest file that has them, such as `"last"` and `"best"`."""
    parent: str | None = None
    """The path of the checkpoint from which an export was made."""
    size: int = 0
    """Bytes."""
    mtime: float = 0.0
    """When it was last changed, in seconds since 1970."""
    inode: int = 0
    duration: float | None = None
    """How long it took to make the file, in seconds, if that is known."""
    metrics: dict[str, float] = {}
    """The metrics at the time of the file."""
    sha256: str = ""
    """The hash of the delivered file; empty before delivery."""
    kept: str = ""
    """The path of the copy in the folder of the run, relative to the folder; empty if there is none."""
    superseded: bool = False
    """Whether the file was overwritten or deleted before it could be copied."""


class Text(msgspec.Struct, tag="text"):
    """A string, which is shown as Markdown if a dashboard supports it."""

    name: str
    text: str


class Table(msgspec.Struct, tag="table"):
    """A table. Every row has one cell for each column."""

    name: str
    columns: list[str]
    rows: list[list[Scalar]]


class Histogram(msgspec.Struct, tag="histogram"):
    """A histogram. The edges are ascending, and `len(edges) == len(counts) + 1`."""

    name: str
    edges: list[float]
    counts: list[float]


class Node(msgspec.Struct, omit_defaults=True):
    """One operation of a `Graph`."""

    name: str
    """A unique name. Slashes nest operations, as in `"encoder/conv1"`."""
    op: str
    inputs: list[str] = []
    attributes: dict[str, Scalar] = {}


class Graph(msgspec.Struct, tag="graph"):
    """The graph of a model. The nodes are in the order in which they run."""

    name: str
    nodes: list[Node]


Media = Text | Table | Histogram | Graph


class RunInfo(msgspec.Struct, omit_defaults=True):
    """The identity and status of a run, as in `run.json`. It does not contain secrets."""

    id: str
    name: str
    path: str = ""
    """The absolute path of the run's folder for the reader. It is not stored, because a run may be moved."""
    project: str | None = None
    tags: list[str] = []
    notes: str | None = None
    group: str | None = None
    parent: str | None = None
    """The id of the run that this run is part of."""
    created: float = 0.0
    """Seconds since 1970."""
    ended: float | None = None
    status: str = "running"
    """`"running"`, `"finished"`, `"failed"`, `"pruned"`, `"killed"` or `"lost"`."""
    reason: str | None = None
    """Why it failed, or was pruned or killed: the exception, in one line."""
    pid: int = 0
    pid_created: float = 0.0
    """When the process started, so that a later process with the same pid is not mistaken for it."""
    host: str = ""
    boot: str = ""
    """The boot of the host, so that processes of an earlier boot are known to be gone."""
    machine: str = ""
    """The machine and its PID namespace: containers may share a host name, but not their pids."""
    trackers: list[str] = []
    keep: str = "best,last"
    """Which checkpoints are kept in the folder: `"best,last"`, `"all"`, `"none"` or `"every:N"`."""
    options: dict[str, dict[str, Scalar]] = {}
    """The options of each tracker, without secrets."""
    system: float | None = None
    """The interval of the system metrics in seconds; None if there are none."""
    environment: dict[str, Scalar] = {}
    records: int = 0
    """The number of records when the status was set, including lost ones. The last of them is that of the status."""
    version: str = ""
    """The version of trackhooks that created the run."""
    ranks: str = "zero"
    """Which ranks of its job record: `"zero"` or `"all"`."""
    rank: int = 0
    """The rank whose folder this is: see `storage.rank_folders`."""
    world_size: int = 0
    """The number of ranks of the job; 0 if it is not known."""


FINAL = frozenset({"finished", "failed", "pruned", "killed", "lost"})
"""The statuses of a run that has ended."""


class Event(msgspec.Struct, omit_defaults=True, gc=False):
    """What one hook recorded, with its position on both axes."""

    hook: str
    """The canonical name of the hook, or `"log"` if the user logged directly."""
    index: int
    """The number of the record in its journal, from 0. A gap means lost records, as on a full disk."""
    time: float
    """Seconds since 1970."""
    step: int = -1
    """The index of the last training batch, across epochs and resumes; −1 before the first.

    An epoch without batches counts as one.
    """
    epoch: int = -1
    """The epoch, from 0; −1 outside of epochs."""
    batch: int = -1
    """The index in the epoch, the validation or the prediction; −1 outside of batches.

    At `on_val_end` it is set if the validation is between training batches; its metrics are then over the step.
    """
    metrics: dict[str, float] = {}
    params: dict[str, Scalar] = {}
    """The hyper-parameters that were set, and the arguments that the framework filled in (`defaults`)."""
    files: list[File] = []
    media: list[Media] = []
    status: str = ""
    """The new status of the run; empty if it does not change."""
    reason: str = ""
    """The reason of a status `failed`, `pruned` or `killed`."""
    overflow: str = ""
    """The file that has the whole event, if it is too large for a record. Readers resolve it: then it is empty."""
    overflow_crc32: int | None = None
    """The CRC-32 of that file."""
    defaults: list[str] = []
    """The names of the parameters that have the default value of the framework."""
    facts: dict[str, Scalar] = {}
    """What was found out about the model, the optimizer or the data, and that no one set."""
    best: dict[str, float] = {}
    """At `on_fit_epoch_end`: the best value so far of each validation metric, or of each metric without a validation.
    Trackers log it as `best/<name>`."""
    run: RunInfo | None = None
    """The run. It is not stored, but added when an event is delivered."""

    @property
    def source(self) -> Any:
        """Not available: trackers are fed from the journal, mostly in another process, without the live objects.

        Raises:
            AttributeError: Always, with what to use instead.
        """
        raise AttributeError(
            f"event.source: a tracker gets {self.hook!r} from the journal, without the live trainer or model."
            f" Register a callback instead: run.add_callback({self.hook!r}, function)"
        )
