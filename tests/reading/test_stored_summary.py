"""The file `summary` of a run: no reader starts from the beginning again, and none believes a wrong file."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import textwrap
import zlib
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

import trackhooks
from trackhooks.cli.doctor import examine
from trackhooks.event import Event, RunInfo
from trackhooks.reading.formats import as_json
from trackhooks.reading.summary import RunSummary, summarize
from trackhooks.storage import journal, run_folder, summary_file
from trackhooks.storage.totals import FORMAT

DEADLINE_S = 120
SUMMARY = "summary"
OLD_RUN = Path(__file__).parent.parent / "storage" / "data" / "run_of_0.1.0"

counts_bytes = pytest.mark.skipif(
    not Path("/proc/self/io").exists(), reason="bytes are counted by /proc, which is Linux'"
)


def train(name: str = "a", epochs: int = 3, lr: float = 0.1) -> Path:
    with trackhooks.run(name=name, params={"lr": lr}, system=None) as run:
        log_epochs(run, epochs)
    return run.path


def log_epochs(run: trackhooks.Run, epochs: int) -> None:
    for epoch in run.epochs(epochs):
        for batch in run.train(range(4)):
            run.log(loss=1 / (1 + epoch + batch))
        for _ in run.validate(range(2)):
            run.log(loss=1 / (1 + epoch), accuracy=epoch / 10)


def long_run(folder: Path, steps: int = 10_000, status: str = "finished") -> Path:
    """Make a run of at least a megabyte, without waiting for a loop."""
    folder.mkdir(parents=True)
    run_folder.write_info(folder, RunInfo("an-id", folder.name, created=1.0, ended=2.0, status=status))
    append(folder, range(steps))
    return folder


def append(run: Path, steps: range) -> None:
    writer = journal.Writer(run)
    for step in steps:
        writer.append(
            Event("on_train_batch_end", step, 1.0, step, 0, step, {"batch/loss": step / 7, "lr/0": 0.1})
        )
    writer.close()


def bytes_read() -> int:
    """Return how many bytes this process has read from files so far."""
    return int(Path("/proc/self/io").read_text().partition("rchar: ")[2].split()[0])


def bytes_to_summarize(run: Path) -> int:
    before = bytes_read()
    summarize(run)
    return bytes_read() - before


def assert_right(run: Path) -> RunSummary:
    """Summarize a run as lists do, and check that reading its whole journal gives the same."""
    found = summarize(run)
    assert found == msgspec.structs.replace(summarize(run, from_start=True), duration=found.duration)
    return found


def left_by_writers(run: Path) -> list[str]:
    return [path.name for path in run.iterdir() if path.name.startswith(f".{SUMMARY}")]


# The journal is read once


@counts_bytes
def test_a_journal_is_read_once_and_then_only_what_was_added() -> None:
    run = long_run(Path("runs/a"))
    assert bytes_to_summarize(run) > 1_000_000
    assert bytes_to_summarize(run) < 20_000
    append(run, range(10_000, 10_010))
    assert bytes_to_summarize(run) < 40_000
    assert assert_right(run).steps == 10_010


@counts_bytes
def test_a_list_and_a_comparison_read_no_journal_that_a_list_has_read() -> None:
    for name in "ab":
        long_run(Path("runs", name))
    trackhooks.runs()
    before = bytes_read()
    assert [run.steps for run in trackhooks.runs()] == [10_000, 10_000]
    trackhooks.compare(["runs/a", "runs/b"])
    assert bytes_read() - before < 100_000


@counts_bytes
def test_a_run_that_is_being_recorded_is_read_once_too() -> None:
    run = long_run(Path("runs/a"), status="running")
    assert bytes_to_summarize(run) > 1_000_000
    append(run, range(10_000, 10_010))
    assert bytes_to_summarize(run) < 100_000  # some of it to find out when it wrote last


@counts_bytes
def test_progress_covers_what_is_not_read_again() -> None:
    run = long_run(Path("runs/a"))
    size = (run / "journal").stat().st_size
    for _ in range(2):
        counts: list[int] = []
        summarize(run, counts.append)
        assert sum(counts) == size


def test_a_run_of_a_few_records_that_has_not_ended_is_not_written_to() -> None:
    run = long_run(Path("runs/a"), steps=10, status="running")
    summarize(run)
    assert not (run / SUMMARY).exists()


def test_the_delivery_process_stores_the_summary_when_a_run_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TRACKHOOKS_DELIVERY", "process")
    with trackhooks.run("csv", name="a", system=None) as run:
        log_epochs(run, 2)
    assert run.wait(DEADLINE_S)
    assert (run.path / SUMMARY).exists()
    assert (assert_right(run.path).epochs, left_by_writers(run.path)) == (2, [])


def test_all_that_a_summary_has_is_stored() -> None:
    with trackhooks.run(name="a", params={"lr": 0.1, "big": 2**63, "text": "ü" * 10, "none": None}) as run:
        log_epochs(run, 2)
        run.log(nan=float("nan"), inf=float("inf"))
        Path("last.pt").write_bytes(b"weights")
        run.log_model("last.pt", aliases=["last"])
    first, again = summarize(run.path), summarize(run.path)
    assert repr(first) == repr(again)
    assert first.to_dict().keys() == again.to_dict().keys()
    assert repr(first.to_dict()) == repr(again.to_dict())


# Resumed, copied and changed runs


def test_a_resumed_run_is_continued() -> None:
    path = train()
    assert summarize(path).epochs == 3
    with trackhooks.run(resume=path, params={"lr": 0.5}) as run:
        log_epochs(run, 2)
    found = assert_right(path)
    assert (found.epochs, found.steps, found.status, found.params["lr"]) == (5, 20, "finished", 0.5)


def test_run_json_decides_what_the_run_is_and_how_it_ended() -> None:
    path = train()
    summarize(path)
    info = run_folder.read_info(path)
    info.status, info.reason, info.name, info.tags = "killed", "why", "renamed", ["new"]
    run_folder.write_info(path, info)
    found = assert_right(path)
    assert (found.status, found.info.reason, found.name, found.tags) == ("killed", "why", "renamed", ["new"])


@counts_bytes
def test_the_summary_is_used_in_a_copy_of_the_folder() -> None:
    run = long_run(Path("runs/a"))
    before = summarize(run)
    copy = Path(shutil.copytree(run, "archive/b"))
    shutil.rmtree(run)
    assert bytes_to_summarize(copy) < 40_000
    found = assert_right(copy)
    assert found.path == copy.absolute()
    assert (found.metrics, found.journal) == (before.metrics, before.journal)


def test_a_copy_that_is_older_than_its_summary_is_read_again() -> None:
    run = long_run(Path("runs/a"))
    older = Path(shutil.copytree(run, "runs/older"))
    append(run, range(10_000, 12_000))
    summarize(run)
    shutil.copy2(run / SUMMARY, older / SUMMARY)
    assert assert_right(older).steps == 10_000


# Summaries that are wrong


def another_run(run: Path) -> None:
    shutil.copyfile(train("other", epochs=9, lr=0.7) / "journal", run / "journal")


def another_run_in_a_new_file(run: Path) -> None:
    shutil.copyfile(train("other", epochs=9, lr=0.7) / "journal", run / "new")
    (run / "new").replace(run / "journal")


def fewer_records(run: Path) -> None:
    data = (run / "journal").read_bytes()
    (run / "journal").write_bytes(data[: len(data) // 2])


def another_value_of_the_same_length(run: Path) -> None:
    """Rewrite the journal: it has the same size, and the same last records."""
    events = list(journal.read(run))
    for event in events:
        event.params |= {"lr": 0.3} if "lr" in event.params else {}
    size = (run / "journal").stat().st_size
    (run / "journal").unlink()
    writer = journal.Writer(run)
    for event in events:
        writer.append(event)
    writer.close()
    assert (run / "journal").stat().st_size == size


def damaged_bytes(run: Path) -> None:
    data = bytearray((run / "journal").read_bytes())
    data[200:210] = bytes(10)
    (run / "journal").write_bytes(data)


def no_journal(run: Path) -> None:
    (run / "journal").unlink()


@pytest.mark.parametrize(
    "change",
    [
        another_run,
        another_run_in_a_new_file,
        fewer_records,
        another_value_of_the_same_length,
        damaged_bytes,
        no_journal,
    ],
)
def test_a_summary_of_another_journal_is_not_used(change: Callable[[Path], None]) -> None:
    run = train()
    before = summarize(run)
    change(run)
    assert assert_right(run) != before
    if change is not no_journal:
        assert_right(run)  # also with the new file


def cut_off(data: bytes) -> bytes:
    return data[:-1]


def one_bit(data: bytes) -> bytes:
    return data[:-20] + bytes([data[-20] ^ 1]) + data[-19:]


def only_the_beginning(data: bytes) -> bytes:
    return data[:7]


def with_something_after_it(data: bytes) -> bytes:
    return data + b"x"


def empty(_: bytes) -> bytes:
    return b""


def an_earlier_version(data: bytes) -> bytes:
    at = data.index(b"\0") + 1
    return data[:at] + bytes([FORMAT - 1]) + data[at + 1 :]


@pytest.mark.parametrize(
    "damage", [cut_off, one_bit, only_the_beginning, with_something_after_it, empty, an_earlier_version]
)
def test_a_damaged_summary_and_that_of_an_earlier_version_are_replaced(
    damage: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    run = train()
    right = summarize(run)
    whole = (run / SUMMARY).read_bytes()
    (run / SUMMARY).write_bytes(damage(whole))
    assert summarize(run) == right
    assert (run / SUMMARY).read_bytes() == whole
    assert caplog.messages == []


@pytest.mark.slow
def test_no_byte_of_a_summary_that_is_wrong_changes_what_is_read() -> None:
    run = train()
    right = summarize(run)
    whole = (run / SUMMARY).read_bytes()
    for position in range(len(whole)):
        changed = bytearray(whole)
        changed[position] ^= 0xFF
        (run / SUMMARY).write_bytes(changed)
        assert summarize(run) == right


def test_a_valid_file_with_other_content_is_not_used() -> None:
    run = train()
    right = summarize(run)
    for payload in (b"", b"\xc0", msgspec.msgpack.encode([1, 2, 3]), msgspec.msgpack.encode({"totals": {}})):
        header = summary_file._HEADER.pack(summary_file._MAGIC, FORMAT, zlib.crc32(payload))
        (run / SUMMARY).write_bytes(header + payload)
        assert summarize(run) == right


# What is not replaced


def a_text(path: Path) -> None:
    path.write_text("My notes about this run.")


def a_link(path: Path) -> None:
    Path("mine").write_text("My notes about this run.")
    path.symlink_to(Path("mine").absolute())


def a_folder(path: Path) -> None:
    path.mkdir()
    (path / "mine").write_text("My notes about this run.")


def of_a_later_version(path: Path) -> None:
    path.write_bytes(summary_file._HEADER.pack(summary_file._MAGIC, FORMAT + 1, 0) + b"what it has")


@pytest.mark.parametrize("occupy", [a_text, a_link, a_folder, of_a_later_version])
def test_a_file_of_someone_else_and_of_a_later_version_is_left_as_it_is(
    occupy: Callable[[Path], None],
) -> None:
    run = train()
    occupy(run / SUMMARY)
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    assert assert_right(run).epochs == 3
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before


# Where nothing can be written


def test_a_run_is_read_from_a_read_only_disk(small_disk: Path) -> None:
    run = Path(shutil.copytree(train(), small_disk / "a"))
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert assert_right(run).epochs == 3
    assert not (run / SUMMARY).exists()


def test_a_run_is_read_from_a_full_disk_and_its_summary_is_not_cut_off(small_disk: Path) -> None:
    run = Path(shutil.copytree(train(), small_disk / "a"))
    with pytest.raises(OSError, match="No space left"):
        (small_disk / "filler").write_bytes(b"x" * 100_000)
    assert assert_right(run).epochs == 3
    assert (left_by_writers(run), (run / SUMMARY).exists()) == ([], False)


def test_a_run_that_is_removed_while_it_is_read_does_not_reappear() -> None:
    run = train()
    assert summarize(run, lambda _: shutil.rmtree(run)).epochs == 3
    assert not run.exists()


# Several readers and writers


@pytest.mark.slow
def test_readers_and_a_writer_at_the_same_time_leave_one_right_summary(here: Path) -> None:
    run = long_run(here / "runs" / "a", steps=2000)
    source = """
        import sys
        from trackhooks.reading.summary import summarize
        before = 0
        print("ready", flush=True)
        while before < 6000:
            found = summarize(sys.argv[1])
            assert found.journal.damage == [] and found.steps >= before, (found, before)
            assert found.metrics["batch/loss"].last == (found.steps - 1) / 7
            before = found.steps
    """
    command = [sys.executable, "-c", textwrap.dedent(source), str(run)]
    with contextlib.ExitStack() as stack:
        started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
        readers = [stack.enter_context(reader) for reader in started]
        for reader in readers:
            assert reader.stdout is not None
            assert reader.stdout.readline() == "ready\n"
        for step in range(2000, 6000, 100):
            append(run, range(step, step + 100))
        assert [reader.wait(DEADLINE_S) for reader in readers] == [0, 0, 0]
    assert (assert_right(run).steps, left_by_writers(run)) == (6000, [])


def test_the_next_reader_uses_up_what_a_killed_one_left() -> None:
    run = train()
    (run / ".summary.new").write_bytes(b"trackhooks-summ")
    assert assert_right(run).epochs == 3
    assert ((run / SUMMARY).exists(), left_by_writers(run)) == (True, [])


# Damage, and later versions


def test_doctor_finds_damage_that_occurred_after_the_summary_was_stored() -> None:
    run = long_run(Path("runs/a"))
    summarize(run)
    file, known = run / "journal", (run / "journal").stat()
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    os.utime(file, ns=(known.st_atime_ns, known.st_mtime_ns))  # as if a disk had lost a bit
    assert summarize(run).journal.damage == []
    found = [finding.text for finding in examine([run]).problems if finding.subject == "a"]
    assert any("of the journal cannot be read" in text for text in found)
    assert summarize(run).journal.missing == 1  # now every reader knows


def test_what_a_later_version_recorded_is_reported_by_every_list_until_it_can_be_read() -> None:
    run = train()
    later = {"hook": "log", "index": 1000, "time": 1.0, "media": [{"type": "audio", "name": "a"}], "new": 1}
    with (run / "journal").open("ab") as file:
        file.write(journal._frame(msgspec.msgpack.encode(later)))
    for _ in range(2):
        assert summarize(run).journal.left_out == {"media of type 'audio'": 1}
    assert not (run / SUMMARY).exists()


@pytest.mark.slow
def test_a_record_whose_file_is_missing_is_complete_when_the_file_has_come() -> None:
    with trackhooks.run(name="a", system=None) as run:
        run.log_text("large", "x" * journal.MAX_RECORD)
        run.log(x=1)
    files = run.path / "files"
    files.rename("elsewhere")
    assert summarize(run.path).journal.missing == 1
    Path("elsewhere").rename(files)
    assert summarize(run.path).journal.damage == []


def test_the_totals_of_a_journal_are_those_that_this_format_stores(here: Path) -> None:
    """If this fails, stored summaries are wrong now: raise `totals.FORMAT`, and renew the file."""
    found = summary_file.read_totals(shutil.copytree(OLD_RUN, here / "old"))
    assert as_json(msgspec.to_builtins(found)) == OLD_RUN.joinpath(f"totals-{FORMAT}.json").read_text()
