"""The TensorBoard tracker, read back with TensorBoard's own readers: its Python reader and its data server."""

from __future__ import annotations

import json
import math
import os
import shutil
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from trackhooks.delivery.registry import load
from trackhooks.errors import InvalidValueError
from trackhooks.event import Event, File, Graph, Histogram, Node, RunInfo, Scalar, Table, Text
from trackhooks.tracker import State
from trackhooks_integrations.trackers.tensorboard.tracker import TensorBoard

pytest.importorskip("tensorboard", reason="TensorBoard is not installed")

CREATED = 1_700_000_000.0


# Feeds the tracker, as the delivery does


class Delivery:
    """Give events to a tracker of one run. `crash` drops the tracker and continues from the last saved state."""

    def __init__(self, folder: Path, **options: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.options, self.state = folder, options, State()
        self.start()

    def start(self) -> None:
        self.tracker = TensorBoard(**self.options)
        self.tracker.run = RunInfo(
            f"id-{self.folder.name}", self.folder.name, str(self.folder), created=CREATED
        )
        self.tracker.start(self.tracker.run, json.loads(json.dumps(self.state)))

    crash = start

    def give(self, *events: Event) -> Delivery:
        for event in events:
            self.tracker.handle(event)
        return self

    def flush(self) -> Delivery:
        self.state = self.tracker.flush()
        return self

    def finish(self, status: str = "finished", reason: str = "") -> Delivery:
        self.flush().tracker.finish(status, reason)
        return self


def batch(step: int, epoch: int = 0, **metrics: float) -> Event:
    named = {f"train_batch/{name}": value for name, value in metrics.items()}
    return Event("on_train_batch_end", step, CREATED + step, step, epoch, step, metrics=named)


def epoch_end(epoch: int, step: int = 0, hook: str = "on_fit_epoch_end", **metrics: float) -> Event:
    named = {f"train/{name}": value for name, value in metrics.items()}
    return Event(hook, epoch, CREATED + epoch, step, epoch, metrics=named)


def logged(*media: Any, step: int = 0, **fields: Any) -> Event:
    return Event("log", step, CREATED + step, step, media=list(media), **fields)


def png(path: Path, width: int, height: int) -> Path:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes([80, 160, 240] * width) for _ in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    return path


@contextmanager
def files_at_most(size: int) -> Iterator[None]:
    """Limit the size of files: writes become incomplete and then fail, as on a full disk."""
    resource = pytest.importorskip("resource", reason="this platform has no limits on files")
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


# Reading back


def accumulated(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    everything = dict.fromkeys(("scalars", "images", "histograms", "tensors"), 0)
    return EventAccumulator(str(folder), size_guidance=everything).Reload()


def python_provider(logdir: Path) -> Any:
    from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer

    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(logdir)).Reload()
    return MultiplexerDataProvider(multiplexer, str(logdir))


class Reader:
    """Read the data of TensorBoard's dashboards from one of its two data providers."""

    def __init__(self, provider: Any) -> None:
        from tensorboard.context import RequestContext

        self.provider, self.where = provider, {"ctx": RequestContext(), "experiment_id": ""}

    def runs(self) -> set[str]:
        return {run.run_name for run in self.provider.list_runs(**self.where)}

    def loaded(self, logdir: Path) -> bool:
        """Whether every run has its description."""
        described = self.provider.list_tensors(**self.where, plugin_name="text")
        return len(described) == sum(path.is_dir() for path in logdir.iterdir())

    def tags(self, kind: str, plugin: str) -> set[str]:
        listed = getattr(self.provider, f"list_{kind}")(**self.where, plugin_name=plugin)
        return {tag for tags in listed.values() for tag in tags}

    def scalars(self, tag: str, run: str | None = None) -> list[tuple[int, float]]:
        return [(datum.step, datum.value) for datum in self.data("scalars", "scalars", tag, run)]

    def data(self, kind: str, plugin: str, tag: str, run: str | None = None) -> Any:
        from tensorboard.data.provider import RunTagFilter

        read = getattr(self.provider, f"read_{kind}")
        found = read(
            **self.where,
            plugin_name=plugin,
            downsample=10_000,
            run_tag_filter=RunTagFilter(runs=run and [run], tags=[tag]),
        )
        (tags,) = found.values()
        return tags[tag]

    def text(self, tag: str) -> str:
        (text,) = self.data("tensors", "text", tag)[-1].numpy
        return str(text.decode())

    def sessions(self) -> dict[str, Any]:
        """Return the rows of the HParams dashboard by name."""
        from tensorboard.plugins.base_plugin import TBContext
        from tensorboard.plugins.hparams import api_pb2, backend_context, list_session_groups

        request = api_pb2.ListSessionGroupsRequest(
            slice_size=100, allowed_statuses=list(api_pb2.Status.values())
        )
        context = backend_context.Context(TBContext(data_provider=self.provider))
        groups = list_session_groups.Handler(self.where["ctx"], context, "", request).run().session_groups
        assert all(len(group.sessions) == 1 for group in groups)
        return {group.name: group for group in groups}


@pytest.fixture(params=["Python", "data server"])
def reader(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[Path], Reader]]:
    """Read a log directory as `tensorboard --load_fast=false` does, and as it does by default."""
    if request.param == "Python":
        yield lambda logdir: Reader(python_provider(logdir))
        return
    from tensorboard.data import server_ingester
    from tensorboard.util.grpc_util import ChannelCredsType

    try:
        binary = server_ingester.get_server_binary()
    except server_ingester.NoDataServerError as error:
        pytest.skip(f"no data server for this platform: {error}")
    servers = []

    def read(logdir: Path) -> Reader:
        port_file = tmp_path_factory.mktemp("server") / "port"
        options = ["--reload=once", "--port=0", f"--port-file={port_file}", "--die-after-stdin"]
        servers.append(subprocess.Popen([binary.path, f"--logdir={logdir}", *options], stdin=subprocess.PIPE))
        while not (port_file.exists() and port_file.read_text().endswith("\n")):
            time.sleep(0.01)
        address = f"localhost:{port_file.read_text().strip()}"
        ingester = server_ingester.ExistingServerDataIngester(
            address, channel_creds_type=ChannelCredsType.LOCAL
        )
        ingester.start()
        found = Reader(ingester.data_provider)
        while not found.loaded(logdir):
            time.sleep(0.01)
        return found

    yield read
    for server in servers:
        server.communicate()


# Scalars


def test_metrics_of_batches_are_over_the_step_and_those_of_epochs_over_the_epoch(
    tmp_path: Path, reader: Callable[[Path], Reader]
) -> None:
    delivery = Delivery(tmp_path / "a")
    for step in range(6):
        delivery.give(batch(step, step // 3, loss=step / 8))
        if step % 3 == 2:
            delivery.give(epoch_end(step // 3, step, loss=step / 4))
    delivery.finish()
    found = reader(tmp_path)
    assert found.scalars("train_batch/loss") == [(step, step / 8) for step in range(6)]
    assert found.scalars("train/loss") == [(0, 0.5), (1, 1.25)]
    assert [datum.wall_time for datum in found.data("scalars", "scalars", "train_batch/loss")] == [
        CREATED + step for step in range(6)
    ]


def test_a_hook_is_one_record_with_all_its_values(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    delivery = Delivery(tmp_path / "a").give(batch(0, loss=1.0, accuracy=0.5, extra=2.0)).flush()
    records = list(LegacyEventFileLoader(str(tmp_path / "a" / delivery.state["file"])).Load())
    assert [len(record.summary.value) for record in records if record.HasField("summary")] == [1, 3]


def test_the_plain_scalars_of_the_event_accumulator_have_the_metrics_too(tmp_path: Path) -> None:
    Delivery(tmp_path / "a").give(batch(0, loss=0.5), batch(1, loss=0.25)).finish()
    assert [(e.step, e.value) for e in accumulated(tmp_path / "a").Scalars("train_batch/loss")] == [
        (0, 0.5),
        (1, 0.25),
    ]


def test_nan_and_infinities_are_kept(tmp_path: Path, reader: Callable[[Path], Reader]) -> None:
    Delivery(tmp_path / "a").give(batch(0, a=math.nan, b=math.inf, c=-math.inf)).finish()
    found = reader(tmp_path)
    assert math.isnan(found.scalars("train_batch/a")[0][1])
    assert found.scalars("train_batch/b") == [(0, math.inf)]
    assert found.scalars("train_batch/c") == [(0, -math.inf)]


@pytest.mark.parametrize("name", ['a,"b"\nc', "=1+1", "émoji 🎉/x", "metrics/mAP50(B)", "a b%@|`<b>"])
def test_odd_names_are_tags_without_changes(
    tmp_path: Path, reader: Callable[[Path], Reader], name: str
) -> None:
    Delivery(tmp_path / "a").give(Event("log", 0, CREATED, 3, metrics={name: 1.5})).finish()
    assert reader(tmp_path).scalars(name) == [(3, 1.5)]


def test_a_metric_that_appears_late_is_a_curve_that_starts_late(
    tmp_path: Path, reader: Callable[[Path], Reader]
) -> None:
    Delivery(tmp_path / "a").give(batch(0, loss=1.0), batch(1, loss=0.5, late=2.0)).finish()
    assert reader(tmp_path).scalars("train_batch/late") == [(1, 2.0)]


def test_a_name_over_both_axes_becomes_two_curves(tmp_path: Path, reader: Callable[[Path], Reader]) -> None:
    delivery = Delivery(tmp_path / "a")
    for step in range(4):
        delivery.give(
            Event("on_train_batch_end", step, CREATED, step, step // 2, metrics={"lr/0": 1 / 2**step})
        )
        if step % 2:
            delivery.flush().crash()
            delivery.give(
                Event("on_train_epoch_end", step, CREATED, step, step // 2, metrics={"lr/0": 8.0 + step})
            )
    delivery.finish()
    found = reader(tmp_path)
    assert found.scalars("lr/0") == [(0, 1), (1, 0.5), (2, 0.25), (3, 0.125)]
    assert found.scalars("lr/0 (epoch)") == [(0, 9.0), (1, 11.0)]


# Runs and resumes


def test_each_run_is_shown_under_its_own_name(tmp_path: Path, reader: Callable[[Path], Reader]) -> None:
    deliveries = [Delivery(tmp_path / name) for name in ("lr=0.1", "lr=0.2")]
    for number, delivery in enumerate(deliveries):
        delivery.give(batch(0, loss=number))
    for delivery in deliveries:
        delivery.finish()
    found = reader(tmp_path)
    assert found.runs() == {"lr=0.1", "lr=0.2"}
    assert found.scalars("train_batch/loss", "lr=0.2") == [(0, 1.0)]


def test_log_dir_shows_the_run_under_its_own_name(tmp_path: Path) -> None:
    Delivery(tmp_path / "runs" / "a", log_dir=tmp_path / "logs" / "deep").give(batch(0, loss=1.0)).finish()
    assert Reader(python_provider(tmp_path / "logs" / "deep")).runs() == {"a"}
    assert list((tmp_path / "runs" / "a").iterdir()) == []


@pytest.mark.parametrize("kept", range(0, 12, 3), ids=lambda kept: f"flushed after {kept}")
def test_after_a_crash_every_event_is_present_once_and_the_file_has_the_same_bytes(
    tmp_path: Path, kept: int
) -> None:
    events = [Event("on_pretrain_routine_start", 0, CREATED, params={"lr": 0.1})]
    for step in range(9):
        events.append(batch(step, step // 3, loss=step / 8))
        if step % 3 == 2:
            events.append(epoch_end(step // 3, step, loss=step / 4))
    events.append(logged(Text("note", "text"), step=8))
    whole = Delivery(tmp_path / "whole" / "a").give(*events).finish()

    delivery = Delivery(tmp_path / "crashed" / "a").give(*events[:kept]).flush()
    delivery.give(*events[kept:])
    delivery.tracker.flush()  # written, but its state is lost
    delivery.crash()
    delivery.give(*events[kept:]).finish()

    def files(folder: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    assert files(delivery.folder) == files(whole.folder)


def test_an_incomplete_last_record_is_removed(tmp_path: Path, reader: Callable[[Path], Reader]) -> None:
    delivery = Delivery(tmp_path / "a").give(batch(0, loss=1.0)).flush()
    with (delivery.folder / delivery.state["file"]).open("ab") as file:
        file.write(b"\x20\0\0\0\0\0\0\0torn")
    delivery.crash()
    delivery.give(batch(1, loss=2.0)).finish()
    assert reader(tmp_path).scalars("train_batch/loss") == [(0, 1.0), (1, 2.0)]


def test_a_delivery_from_the_start_replaces_the_earlier_files(tmp_path: Path) -> None:
    delivery = Delivery(tmp_path / "a").give(batch(0, loss=1.0), batch(1, loss=2.0)).finish()
    delivery.state = {}
    delivery.crash()
    delivery.give(batch(0, loss=1.0)).finish()
    assert Reader(python_provider(tmp_path)).scalars("train_batch/loss") == [(0, 1.0)]


@pytest.mark.parametrize("throttled", [False, True], ids=["with batches", "epochs only"])
def test_a_resumed_training_replaces_the_steps_and_the_epochs_that_it_repeats(
    tmp_path: Path, reader: Callable[[Path], Reader], throttled: bool
) -> None:
    def trained(epochs: range, loss: float) -> list[Event]:
        steps = [
            [batch(step, epoch, loss=loss + step) for step in range(epoch * 10, epoch * 10 + 10)]
            for epoch in epochs
        ]
        starts = [Event("on_train_epoch_start", 0, CREATED, epoch * 10 - 1, epoch) for epoch in epochs]
        ends = [epoch_end(epoch, epoch * 10 + 9, loss=loss + epoch) for epoch in epochs]
        return [
            event
            for start, some, end in zip(starts, steps, ends, strict=True)
            for event in [start, *([] if throttled else some), end]
        ]

    delivery = Delivery(tmp_path / "a").give(*trained(range(5), 0.0)).finish("failed")
    delivery.crash()
    delivery.give(Event("log", 0, CREATED, -1, metrics={"other": 1.0}))
    delivery.give(*trained(range(2, 4), 1000.0)).finish()

    epochs = [(0, 0.0), (1, 1.0), (2, 1002.0), (3, 1003.0)]
    steps = [(step, float(step)) for step in range(20)] + [(step, 1000.0 + step) for step in range(20, 40)]
    found, plain = reader(tmp_path), accumulated(tmp_path / "a")
    assert found.scalars("train/loss") == epochs
    assert [(e.step, e.value) for e in plain.Scalars("train/loss")] == epochs
    if not throttled:
        assert found.scalars("train_batch/loss") == steps
        assert [(e.step, e.value) for e in plain.Scalars("train_batch/loss")] == steps


def test_points_that_come_late_are_in_their_place(tmp_path: Path, reader: Callable[[Path], Reader]) -> None:
    delivery = Delivery(tmp_path / "a")
    steps = [0, 100, 50, 100, 3, 70, 2, 101, 1]
    for number, step in enumerate(steps):
        delivery.give(
            Event("log", number, CREATED + number, step, metrics={"m": step / 8, "n": float(number)})
        )
        delivery.flush()
        so_far = sorted({*steps[: number + 1]})
        assert reader(tmp_path).scalars("m") == [(at, at / 8) for at in so_far]
        if number % 3 == 1:
            delivery.crash()
    numbers = {step: number for number, step in enumerate(steps)}
    assert reader(tmp_path).scalars("n") == [(at, float(numbers[at])) for at in sorted(numbers)]


def test_a_late_point_of_a_resumed_training_removes_nothing_and_a_repeated_step_what_comes_after_it(
    tmp_path: Path, reader: Callable[[Path], Reader]
) -> None:
    def start(epoch: int) -> Event:
        return Event("on_train_epoch_start", 0, CREATED, epoch * 2 - 1, epoch)

    def exam(step: int, value: float) -> Event:
        return Event("log", 0, CREATED, step, metrics={"exam": value})

    delivery = Delivery(tmp_path / "a")
    delivery.give(
        start(0), batch(0, loss=0.0), batch(1, loss=1.0), start(1), batch(2, 1, loss=2.0), exam(1, 1.0)
    )
    delivery.give(batch(3, 1, loss=3.0), exam(3, 3.0)).finish("killed")
    delivery.crash()
    delivery.give(start(1), exam(0, 10.0)).flush()
    assert reader(tmp_path).scalars("exam") == [(0, 10.0), (1, 1.0), (3, 3.0)]
    delivery.crash()
    delivery.give(batch(2, 1, loss=12.0), exam(2, 12.0)).finish()
    assert reader(tmp_path).scalars("exam") == [(0, 10.0), (1, 1.0), (2, 12.0)]
    assert reader(tmp_path).scalars("train_batch/loss") == [(0, 0.0), (1, 1.0), (2, 12.0)]


def test_what_tensorboard_cannot_hold_is_counted(tmp_path: Path) -> None:
    delivery = Delivery(tmp_path / "a")
    for step, value in ((5, 1.0), (5, 1.0), (5, 2.0), (9, 1e300), (5, 2.0), (5, 3.0)):
        delivery.give(Event("log", 0, CREATED, step, metrics={"m": value})).flush()
    assert delivery.tracker.not_held == {
        "values of a metric at a step for which it has a later value": 2,
        "values that are too large for 32-bit floats": 1,
    }


def test_a_value_that_changes_within_its_epoch_replaces_the_first(
    tmp_path: Path, reader: Callable[[Path], Reader]
) -> None:
    Delivery(tmp_path / "a").give(
        epoch_end(0, loss=3.0), epoch_end(1, loss=1.0, hook="on_val_end"), epoch_end(1, loss=2.0)
    ).finish()
    assert reader(tmp_path).scalars("train/loss") == [(0, 3.0), (1, 2.0)]


# HParams


def test_a_run_is_one_hparams_session_with_its_parameters_by_type_its_metrics_and_its_status(
    tmp_path: Path, reader: Callable[[Path], Reader]
) -> None:
    params: dict[str, Scalar] = {
        "lr": 0.1,
        "nesterov": True,
        "optimizer": "Adam",
        "batch": 8,
        "seed": None,
        "nan": math.nan,
        "big": 2**63 - 1,
    }
    for name, status in (("a", "finished"), ("b", "failed"), ("c", "killed"), ("d", "pruned")):
        start = Event("on_pretrain_routine_start", 0, CREATED, params=params | {"lr": ord(name)})
        Delivery(tmp_path / name).give(start, batch(4, loss=0.5), epoch_end(0, 4, loss=0.25)).finish(status)
    sessions = reader(tmp_path).sessions()
    assert set(sessions) == {"a", "b", "c", "d"}
    found = {name: getattr(value, value.WhichOneof("kind")) for name, value in sessions["a"].hparams.items()}
    assert found == {
        "lr": 97.0, "nesterov": True, "optimizer": "Adam", "batch": 8.0, "seed": "None", "nan": "nan",
        "big": str(2**63 - 1),
    }  # fmt: skip
    metrics = {metric.name.tag: metric.value for metric in sessions["a"].metric_values}
    assert metrics == {"train_batch/loss": 0.5, "train/loss": 0.25}
    assert {metric.name.group for metric in sessions["a"].metric_values} == {""}
    from tensorboard.plugins.hparams.api_pb2 import Status

    statuses = {name: Status.Name(group.sessions[0].status) for name, group in sessions.items()}
    assert statuses == {
        "a": "STATUS_SUCCESS", "b": "STATUS_FAILURE", "c": "STATUS_FAILURE", "d": "STATUS_UNKNOWN",
    }  # fmt: skip


def test_parameters_that_are_logged_late_are_in_the_session(
    tmp_path: Path, reader: Callable[[Path], Reader]
) -> None:
    delivery = Delivery(tmp_path / "a").give(
        Event("on_pretrain_routine_start", 0, CREATED, params={"lr": 0.1, "x": 1})
    )
    delivery.give(batch(0, loss=1.0)).flush().crash()
    delivery.give(logged(params={"threshold": 0.7, "x": 2})).finish()
    (session,) = reader(tmp_path).sessions().values()
    assert {name: value.number_value for name, value in session.hparams.items()} == {
        "lr": 0.1,
        "threshold": 0.7,
        "x": 2,
    }


def test_a_run_that_is_resumed_after_its_end_has_the_status_of_its_last_end(
    tmp_path: Path, reader: Callable[[Path], Reader]
) -> None:
    from tensorboard.plugins.hparams.api_pb2 import Status

    delivery = Delivery(tmp_path / "a").give(logged(params={"lr": 0.1}), batch(0, loss=1.0))
    delivery.finish("failed", "ValueError: no")
    assert reader(tmp_path).text("run/status") == "failed: ValueError: no"
    delivery.crash()
    assert Reader(python_provider(tmp_path)).sessions()["a"].sessions[0].status == Status.STATUS_UNKNOWN
    delivery.give(batch(1, loss=0.5)).finish("finished")
    found = reader(tmp_path)
    assert found.sessions()["a"].sessions[0].status == Status.STATUS_SUCCESS
    assert found.text("run/status") == "finished"


def test_parameters_at_the_default_of_the_framework_are_not_in_the_session(tmp_path: Path) -> None:
    delivery = Delivery(tmp_path / "a")
    delivery.give(logged(params={"lr": 0.5, "eps": 0.25, "warmup": 3}, defaults=["eps", "warmup"]))
    delivery.give(logged(params={"warmup": 5}), batch(0, loss=1.0)).finish()
    assert set(Reader(python_provider(tmp_path)).sessions()["a"].hparams) == {"lr", "warmup"}


def test_parameters_that_were_delivered_before_a_crash_are_in_the_session_of_the_metrics_after_it(
    tmp_path: Path,
) -> None:
    delivery = Delivery(tmp_path / "a").give(logged(params={"lr": 0.1})).flush()
    assert Reader(python_provider(tmp_path)).sessions() == {}, "a running TensorBoard would keep an early one"
    delivery.crash()
    delivery.give(batch(0, loss=1.0)).flush()
    assert list(Reader(python_provider(tmp_path)).sessions()["a"].hparams) == ["lr"]


def test_two_thousand_parameters_are_kept(tmp_path: Path) -> None:
    params = {f"layer{i}/units": i for i in range(2000)}
    Delivery(tmp_path / "a").give(logged(params=params), batch(0, loss=1.0)).finish()
    (session,) = Reader(python_provider(tmp_path)).sessions().values()
    assert len(session.hparams) == 2000


# Media, files, graph


def test_a_picture_is_shown_with_the_bytes_of_its_file(
    tmp_path: Path, reader: Callable[[Path], Reader]
) -> None:
    path = png(tmp_path / "x.png", 30, 20)
    Delivery(tmp_path / "a").give(logged(step=7, files=[File(str(path), "image", "samples", "png")])).finish()
    found = reader(tmp_path)
    (datum,) = found.data("blob_sequences", "images", "samples")
    blobs = [
        found.provider.read_blob(ctx=found.where["ctx"], blob_key=blob.blob_key) for blob in datum.values
    ]
    assert (datum.step, blobs) == (7, [b"30", b"20", path.read_bytes()])


def test_a_picture_that_was_overwritten_before_it_was_copied_is_described(tmp_path: Path) -> None:
    lost = File(str(tmp_path / "x.png"), "image", "samples", "png", superseded=True)
    Delivery(tmp_path / "a").give(logged(files=[lost])).finish()
    assert "superseded" in Reader(python_provider(tmp_path)).text("files/samples")


def test_a_checkpoint_is_a_text_with_its_path_size_hash_aliases_and_metrics(
    tmp_path: Path, reader: Callable[[Path], Reader]
) -> None:
    file = File(
        "/w/last|1.pt", "model", "last.pt", "pt", ("last", "best"), "/w/parent.pt", 12345, sha256="ab" * 32
    )
    file.metrics = {"val/loss": 0.25}
    Delivery(tmp_path / "a").give(logged(files=[file])).finish()
    text = reader(tmp_path).text("files/last.pt")
    for fact in (r"/w/last\|1.pt", "12345", "ab" * 32, "last, best", "/w/parent.pt", "| val/loss | 0.25 |"):
        assert fact in text


def test_a_histogram_keeps_its_edges_and_counts(tmp_path: Path, reader: Callable[[Path], Reader]) -> None:
    Delivery(tmp_path / "a").give(logged(Histogram("weights", [-1.0, 0.0, 2.0], [3.0, 4.0]), step=5)).finish()
    (datum,) = reader(tmp_path).data("tensors", "histograms", "weights")
    assert (datum.step, datum.numpy.tolist()) == (5, [[-1, 0, 3], [0, 2, 4]])


def test_texts_and_tables_are_markdown(tmp_path: Path, reader: Callable[[Path], Reader]) -> None:
    table = Table("confusion", ["a|b", "c"], [[1, None], ["x\ny", True]])
    Delivery(tmp_path / "a").give(logged(Text("note", "# Élan"), table)).finish()
    found = reader(tmp_path)
    assert found.text("note") == "# Élan"
    assert found.text("confusion") == "| a\\|b | c |\n| --- | --- |\n| 1 |  |\n| x y | True |"


def test_a_long_table_says_how_many_rows_are_left_out(tmp_path: Path) -> None:
    Delivery(tmp_path / "a").give(logged(Table("t", ["x"], [[i] for i in range(1500)]))).finish()
    assert "500 more rows" in Reader(python_provider(tmp_path)).text("t")


def test_a_name_that_is_used_in_two_dashboards_becomes_two_tags(
    tmp_path: Path, reader: Callable[[Path], Reader]
) -> None:
    Delivery(tmp_path / "a").give(
        Event(
            "log", 0, CREATED, 0, metrics={"x": 1.0}, media=[Text("x", "text"), Histogram("x", [0, 1], [1])]
        )
    ).finish()
    found = reader(tmp_path)
    assert found.scalars("x") == [(0, 1.0)]
    assert found.text("x (text)") == "text"
    assert found.tags("tensors", "histograms") == {"x (histogram)"}


def test_several_media_of_one_name_at_one_step_are_all_shown(
    tmp_path: Path, reader: Callable[[Path], Reader]
) -> None:
    delivery = Delivery(tmp_path / "a")
    for number, step in enumerate([5, 5, 5, 6]):
        note, weights = Text("note", f"text {number}"), Histogram("weights", [0.0, 1.0], [float(number)])
        delivery.give(Event("log", number, CREATED + number, step, media=[note, weights])).flush()
        delivery.crash()
    delivery.finish()
    found = reader(tmp_path)
    assert [found.text(tag) for tag in ("note", "note (2)", "note (3)")] == ["text 3", "text 1", "text 2"]
    assert found.tags("tensors", "histograms") == {"weights", "weights (2)", "weights (3)"}


def test_the_graph_has_the_models_nodes(tmp_path: Path, reader: Callable[[Path], Reader]) -> None:
    from tensorboard.compat.proto.graph_pb2 import GraphDef

    nodes = [
        Node("input", "Input"),
        Node("net/fc", "Linear", ["input"], {"out": 3, "bias": True, "p": 0.5, "act": "relu"}),
    ]
    Delivery(tmp_path / "a").give(logged(Graph("net", nodes))).finish()
    found = reader(tmp_path)
    (datum,) = found.data("blob_sequences", "graphs", "__run_graph__")
    graph = GraphDef.FromString(
        found.provider.read_blob(ctx=found.where["ctx"], blob_key=datum.values[0].blob_key)
    )
    assert [(node.name, node.op, list(node.input)) for node in graph.node] == [
        ("input", "Input", []), ("net/fc", "Linear", ["input"])
    ]  # fmt: skip
    attributes = graph.node[1].attr
    assert (attributes["out"].i, attributes["bias"].b, attributes["p"].f, attributes["act"].s) == (
        3,
        True,
        0.5,
        b"relu",
    )


def test_the_run_is_described_with_its_notes_tags_and_environment(tmp_path: Path) -> None:
    tracker = TensorBoard()
    tracker.run = RunInfo(
        "1",
        "a",
        str(tmp_path),
        tags=["x", "y"],
        notes="A *try*.",
        created=CREATED,
        environment={"git/commit": "abc"},
    )
    tracker.start(tracker.run, {})
    tracker.flush()
    text = Reader(python_provider(tmp_path)).text("run/about")
    for fact in ("A *try*.", "x, y", "| git/commit | abc |"):
        assert fact in text


# Files and options


def test_records_are_framed_as_by_tensorboards_own_writer() -> None:
    from tensorboard.summary.writer.record_writer import RecordWriter

    from trackhooks_integrations.trackers.tensorboard.event_files import framed

    for data in (b"", b"x", bytes(range(256)) * 40):
        written = BytesIO()
        RecordWriter(written).write(data)
        assert framed(data) == written.getvalue()


@pytest.mark.slow
def test_torch_and_tensorflow_are_never_imported_and_tensorboard_only_when_a_run_starts(
    tmp_path: Path,
) -> None:
    program = """
import sys
from trackhooks.event import Event, Graph, Histogram, Node, RunInfo, Text
from trackhooks_integrations.trackers.tensorboard import TensorBoard
tracker = TensorBoard()
assert "tensorboard" not in sys.modules
tracker.run = RunInfo("1", "a", sys.argv[1])
tracker.start(tracker.run, {})
media = [Text("a", "b"), Histogram("h", [0, 1], [1]), Graph("g", [Node("n", "op")])]
tracker.handle(Event("log", 0, 0.0, 0, metrics={"x": 1.0}, params={"lr": 1}, media=media))
tracker.flush()
tracker.finish("finished", "")
found = {name.split(".")[0] for name in sys.modules} & {"torch", "tensorflow", "keras", "pandas"}
assert not found, found
"""
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, timeout=120)


@pytest.mark.parametrize("value", [3, "", b"", ["logs"]])
def test_a_log_dir_that_is_not_a_path_is_rejected(value: Any) -> None:
    with pytest.raises(InvalidValueError, match="log_dir"):
        TensorBoard(log_dir=value)


def test_a_log_dir_that_is_a_file_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    with pytest.raises(InvalidValueError, match="is a file"):
        TensorBoard(log_dir=tmp_path / "x")


def test_tensorboard_is_loaded_by_its_name() -> None:
    assert isinstance(load("tensorboard", log_dir="logs"), TensorBoard)


@pytest.mark.parametrize("flushed", [False, True])
def test_a_deleted_folder_raises(tmp_path: Path, flushed: bool) -> None:
    delivery = Delivery(tmp_path / "a").give(batch(0, loss=1.0))
    if flushed:
        delivery.flush()
    shutil.rmtree(delivery.folder)
    delivery.give(batch(1, loss=1.0))
    with pytest.raises(FileNotFoundError):
        delivery.flush()


def test_a_full_disk_raises_without_an_incomplete_record_or_loss(tmp_path: Path) -> None:
    delivery = Delivery(tmp_path / "a").give(batch(0, loss=0.0)).flush()
    path = delivery.folder / delivery.state["file"]
    size = path.stat().st_size
    rows = [batch(step, loss=step) for step in range(1, 50)]
    delivery.give(*rows)
    with files_at_most(size + 100), pytest.raises(OSError, match="too large"):
        delivery.flush()
    assert path.stat().st_size == size
    delivery.crash()
    delivery.give(*rows).finish()
    assert Reader(python_provider(tmp_path)).scalars("train_batch/loss") == [
        (step, step) for step in range(50)
    ]


def test_a_file_that_another_program_has_shortened_is_not_continued(tmp_path: Path) -> None:
    delivery = Delivery(tmp_path / "a").give(batch(0, loss=1.0)).flush()
    os.truncate(delivery.folder / delivery.state["file"], 30)
    with pytest.raises(OSError, match="another program has shortened it"):
        delivery.crash()


# The dashboard itself
