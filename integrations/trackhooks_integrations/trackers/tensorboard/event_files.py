"""Write TensorBoard event files, with TensorBoard's protobuf messages.

This module imports TensorBoard, so it is imported only when a run starts. The records are framed exactly as by
TensorBoard's `RecordWriter`, which is not used because its checksum alone takes half as long as a whole row of metrics
takes here.
"""

from __future__ import annotations

import functools
import os
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from google.protobuf.struct_pb2 import Value
from tensorboard.compat.proto.attr_value_pb2 import AttrValue
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.graph_pb2 import GraphDef
from tensorboard.compat.proto.node_def_pb2 import NodeDef
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_DOUBLE, DT_STRING
from tensorboard.compat.proto.versions_pb2 import VersionDef
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import CRC_TABLE
from tensorboard.plugins.histogram.metadata import create_summary_metadata as histogram_metadata
from tensorboard.plugins.hparams import metadata as hparams
from tensorboard.plugins.hparams.api_pb2 import Status
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo
from tensorboard.plugins.text.metadata import create_summary_metadata as text_metadata

from trackhooks.event import Node, Scalar

from ..._shared.files import append

VERSION = "brain.Event:1"
"""The version of the file format. In version 1, a record replaces those of its tags that are not at a lower step."""

_START, _CHECKSUM = 12, 4
"""The sizes of what is in front of the data of a record, and behind it."""
_MOST_PENDING = 1 << 20
"""The most bytes that wait in memory; with more, the file is written without waiting for a `flush`."""


class EventFile:
    """An event file that grows. It is open only while it is being written.

    Args:
        path: the file.
        created: the time of its first record.
        end: the length in bytes to which the file is cut; 0 to start it again.

    Raises:
        OSError: the file is shorter than `end`.
    """

    def __init__(self, path: Path, created: float, end: int = 0) -> None:
        self._path = path
        self._end = end
        self._buffer = bytearray()
        if end:
            self._cut()
        else:
            path.unlink(missing_ok=True)
            self._add(Event(wall_time=created, file_version=VERSION))

    def _cut(self) -> None:
        size = self._path.stat().st_size
        if size < self._end:
            raise OSError(
                f"{self._path} has {size} of {self._end} bytes: another program has shortened it. Restore the file, or"
                " delete the run's folder delivery/ to write it again."
            )
        os.truncate(self._path, self._end)

    @property
    def name(self) -> str:
        """The name of the file within its folder."""
        return self._path.name

    def flush(self) -> int:
        """Write all pending records; return the length of the file in bytes."""
        if self._buffer:
            if not self._end:
                self._path.touch()
            self._end = append(self._path, self._end, bytes(self._buffer))
            self._buffer.clear()
        return self._end

    def _add(self, record: Event) -> None:
        self._buffer += framed(record.SerializeToString())
        if len(self._buffer) > _MOST_PENDING:
            self.flush()

    def scalars(self, values: Iterable[tuple[str, float]], step: int, time: float, again: bool) -> None:
        """Add one record with all values. `again`: one of the tags already has a record at this step or a later one."""
        if again:  # readers compare the next record's step with this one's
            self._add(Event(step=step + 1, wall_time=time, summary=Summary()))
        record = Event(step=step, wall_time=time)
        add = record.summary.value.add
        for tag, value in values:
            add(tag=tag, simple_value=value)
        self._add(record)

    def points(self, starts: Mapping[str, int]) -> dict[str, dict[int, tuple[float, float]]]:
        """Read the last points of some tags, as the readers show them.

        Args:
            starts: tag → the first step to read.

        Returns:
            Tag → step → value and time, in the order of the steps.
        """
        self.flush()
        found: dict[str, dict[int, tuple[float, float]]] = {tag: {} for tag in starts}
        for data in self._records([tag.encode() for tag in starts]):
            record = Event.FromString(data)
            for value in record.summary.value:
                if value.tag in found and value.HasField("simple_value"):
                    _place(found[value.tag], record.step, (value.simple_value, record.wall_time))
        return {
            tag: {step: point for step, point in points.items() if step >= starts[tag]}
            for tag, points in found.items()
        }

    def _records(self, parts: Sequence[bytes]) -> Iterator[bytes]:
        """Yield the records of the file that contain one of these parts."""
        with self._path.open("rb") as file:
            while start := file.read(_START):
                (length,) = struct.unpack_from("<Q", start)
                data = file.read(length + _CHECKSUM)[:length]
                if any(part in data for part in parts):
                    yield data

    def image(self, tag: str, data: bytes, step: int, time: float) -> None:
        """Add a picture, as the bytes of its file. The size is recorded only if it is a PNG."""
        is_png = data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) >= 24
        width, height = struct.unpack(">II", data[16:24]) if is_png else (0, 0)
        picture = Summary.Image(width=width, height=height, encoded_image_string=data)
        self._add(
            Event(step=step, wall_time=time, summary=Summary(value=[Summary.Value(tag=tag, image=picture)]))
        )

    def text(self, tag: str, markdown: str, step: int, time: float) -> None:
        """Add text, which TensorBoard renders as Markdown."""
        self._add(Event(step=step, wall_time=time, summary=_text(tag, markdown)))

    def histogram(
        self, tag: str, edges: Sequence[float], counts: Sequence[float], step: int, time: float
    ) -> None:
        """Add a histogram: rows of left edge, right edge and count, as in the plugin's `summary_v2.py`."""
        cells = [cell for row in zip(edges, edges[1:], counts, strict=False) for cell in row]
        tensor = TensorProto(dtype=DT_DOUBLE, double_val=cells, tensor_shape=_shape(len(cells) // 3, 3))
        metadata = histogram_metadata(display_name=None, description=None)
        self._add(Event(step=step, wall_time=time, summary=_summary(tag, tensor, metadata)))

    def graph(self, nodes: Iterable[Node], step: int, time: float) -> None:
        """Add the graph of a model."""
        graph = GraphDef(node=map(_node, nodes), versions=VersionDef(producer=22))
        self._add(Event(step=step, wall_time=time, graph_def=graph.SerializeToString()))


def _place(points: dict[int, tuple[float, float]], step: int, point: tuple[float, float]) -> None:
    """Add a point as the readers do: it replaces those that are not at a lower step."""
    while points and next(reversed(points)) >= step:
        points.popitem()
    points[step] = point


def framed(data: bytes) -> bytes:
    """Frame a record: the length, the checksum of the length, the data, the checksum of the data; little-endian."""
    return _frame_start(len(data)) + data + _masked_crc32c(data)


@functools.lru_cache(maxsize=4096)
def _frame_start(length: int) -> bytes:
    start = struct.pack("<Q", length)
    return start + _masked_crc32c(start)


def _masked_crc32c(data: bytes) -> bytes:
    crc, table = 0xFFFFFFFF, CRC_TABLE
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _summary(tag: str, tensor: TensorProto, metadata: SummaryMetadata) -> Summary:
    return Summary(value=[Summary.Value(tag=tag, tensor=tensor, metadata=metadata)])


def _text(tag: str, markdown: str) -> Summary:
    tensor = TensorProto(dtype=DT_STRING, string_val=[markdown.encode()], tensor_shape=_shape(1))
    return _summary(tag, tensor, text_metadata(display_name=None, description=None))


def _shape(*sizes: int) -> TensorShapeProto:
    return TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in sizes])


def _node(node: Node) -> NodeDef:
    attributes = {name: _attribute(value) for name, value in node.attributes.items()}
    return NodeDef(name=node.name, op=node.op, input=node.inputs, attr=attributes)


def _attribute(value: Scalar) -> AttrValue:
    if isinstance(value, bool):
        return AttrValue(b=value)
    if isinstance(value, float):
        return AttrValue(f=value)
    if isinstance(value, int) and abs(value) < 1 << 63:
        return AttrValue(i=value)
    return AttrValue(s=str(value).encode())


def session_start(time: float, params: Mapping[str, Scalar]) -> bytes:
    """Return a file with the hyper-parameters of a run. The plugin supports booleans, 64-bit floats and strings."""
    values = {name: _hyperparameter(value) for name, value in params.items()}
    info = SessionStartInfo(hparams=values, start_time_secs=time)
    data = HParamsPluginData(session_start_info=info)
    return _file(time, _hparams(hparams.SESSION_START_INFO_TAG, data))


def _hyperparameter(value: Scalar) -> Value:
    if isinstance(value, bool):
        return Value(bool_value=value)
    if isinstance(value, (int, float)) and value == float(value):
        return Value(number_value=value)
    return Value(string_value=str(value))  # including integers that a float cannot represent


def session_end(time: float, code: str, status: str) -> bytes:
    """Return a file with the status of the HParams session and, in the Text dashboard, the status of the run."""
    info = SessionEndInfo(status=Status.Value(code), end_time_secs=time)
    data = HParamsPluginData(session_end_info=info)
    return _file(time, _hparams(hparams.SESSION_END_INFO_TAG, data), _text("run/status", status))


def _hparams(tag: str, data: HParamsPluginData) -> Summary:
    return _summary(tag, hparams.NULL_TENSOR, hparams.create_summary_metadata(data))


def _file(time: float, *summaries: Summary) -> bytes:
    records = [Event(wall_time=time, file_version=VERSION)]
    records += [Event(wall_time=time, summary=summary) for summary in summaries]
    return b"".join(framed(record.SerializeToString()) for record in records)
