"""The promises of a tracker as tests; users import them from `trackhooks.testing`."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar

import pytest

from ..delivery.catch_up import deliver
from ..delivery.cursor import Spec
from ..errors import InvalidValueError, unknown
from ..event import RunInfo
from ..values import media
from .sample_runs import (
    ALIKE_NAMES,
    ODD_FILES,
    ODD_NAMES,
    PARAMS,
    RECORDED_PARAMS,
    Points,
    everything,
    log_everything,
    losses,
    png,
    sha256,
    train,
    written,
)
from .trial import Interruption, Seen, Trial, plain

ABILITIES: Final = {
    "status": "how a run ended",
    "params": "hyper-parameters",
    "files": "the hash of a file",
    "images": "pictures",
    "texts": "texts",
    "tables": "tables",
    "histograms": "histograms",
    "nan": "NaN as a metric",
    "infinity": "infinities as metrics",
    "doubles": "metrics with all 64 bits",
    "rewind": "steps that are trained again in the place of those from before",
    "earlier": "metrics of earlier batches after those of later ones",
}
"""What a backend may be unable to hold."""

Test = TypeVar("Test", bound=Callable[..., None])


def needs(*abilities: str) -> Callable[[Test], Test]:
    """Names what a backend must be able to hold for this promise."""

    def mark(test: Test) -> Test:
        test.__dict__["needs"] = abilities
        return test

    return mark


ENDS: Final = (
    pytest.param(None, "finished", id="return"),
    pytest.param(ValueError("no"), "failed", id="exception"),
    pytest.param(SystemExit(3), "failed", id="sys.exit"),
    pytest.param(KeyboardInterrupt(), "killed", id="Ctrl-C"),
)

INTERRUPTIONS: Final = (
    Interruption("start"),
    Interruption("handle", 18),
    Interruption("flush"),
    Interruption("flush", 5),
    Interruption("finish"),
)

MAKING = """
import sys
import msgspec
from trackhooks.delivery.cursor import check_spec

_, made = check_spec(*msgspec.json.decode(sys.stdin.buffer.read()))
print([package for package in made.requires if package in sys.modules])
"""

KILLED = """
import os, signal, sys
import msgspec, trackhooks

home, delivery, tracker, options = msgspec.json.decode(sys.stdin.buffer.read())
run = trackhooks.run(dir=home, name="killed", delivery=delivery, system=None, **{tracker: options})
for epoch in run.epochs(2):
    for batch in run.train(range(3)):
        run.log(loss=(3 * epoch + batch + 1) / 8)
        if epoch == 1 and batch == 2:
            os.kill(os.getpid(), signal.SIGKILL)
"""


class TrackerPromises:
    """The promises that a tracker keeps, each a test: see `trackhooks.testing`.

    Say which tracker it is, read its runs back, and name what its backend cannot hold.
    """

    tracker: ClassVar[str]
    """The tracker's name, or `"module:Class"`."""
    cannot: ClassVar[Mapping[str, str]] = {}
    """What the backend cannot hold, one of `ABILITIES` → why."""

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        """What the tracker is made with; override it, as a fixture, where it needs any."""
        return {}

    def read(self, run: RunInfo, options: Mapping[str, Any]) -> Seen:
        """What the backend holds of a run, read with the backend's own reader.

        Args:
            run: whose `id`, `name` and `path` say which it is.
            options: what the tracker was made with.
        """
        raise NotImplementedError(f"{type(self).__name__}.read: how is a run of {self.tracker!r} read back?")

    def called(self, name: str) -> str:
        """What the backend calls a metric or a parameter of this name, by the rule that it documents."""
        return name

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for ability, reason in cls.cannot.items():
            if ability not in ABILITIES:
                raise unknown("ability", ability, ABILITIES, f"{cls.__name__}.cannot: ")
            if not reason:
                raise InvalidValueError(f"{cls.__name__}.cannot[{ability!r}]: say why.")

    @pytest.fixture
    def trial(self, tmp_path: Path, options: Mapping[str, Any]) -> Trial:
        """Makes runs for the tracker, delivers them, and reads them back."""
        return Trial(self.tracker, options, tmp_path / "runs", self.read, self.called)

    @pytest.fixture(autouse=True)
    def _expect_what_cannot_be(self, request: pytest.FixtureRequest) -> None:
        """A backend that turns out to hold what it is said not to fails as well."""
        for ability in getattr(request.function, "needs", ()):
            if ability in self.cannot:
                reason = f"{self.tracker} cannot hold {ABILITIES[ability]}: {self.cannot[ability]}"
                request.applymarker(pytest.mark.xfail(reason=reason, raises=AssertionError, strict=True))

    def assert_all_once(self, seen: Seen, expected: Seen, status: str = "finished") -> None:
        """All of `expected` that the backend can hold is there, and no metric has a point twice."""
        for kind in ("params", "files", "images", "texts", "tables"):
            if kind not in self.cannot:
                assert getattr(seen, kind) == getattr(expected, kind)
        assert among(seen.metrics, expected.metrics) == expected.metrics
        assert repeated(seen.metrics) == {}
        assert seen.status == status or "status" in self.cannot

    def test_making_it_imports_no_backend(self, trial: Trial) -> None:
        done = trial.program(MAKING, trial.spec.name, trial.spec.options)
        assert done.stdout == b"[]\n", done.stderr.decode()

    # Metrics

    def test_metrics_of_batches_are_over_steps_and_those_of_epochs_over_epochs(self, trial: Trial) -> None:
        with trial.record() as run:
            train(run, epochs=3)
        seen = trial.delivered(run.path)
        assert among(seen.metrics, losses(3)) == losses(3)
        assert repeated(seen.metrics) == {}

    def test_a_metric_over_both_axes_is_two_curves(self, trial: Trial) -> None:
        with trial.record() as run:
            for epoch in run.epochs(2):
                for batch in run.train(range(3)):  # each value is that of the batch; their mean, of the epoch
                    run.log({"train/loss": (3 * epoch + batch + 1) / 8})
        trial.deliver(run.path)
        curves = [list(points) for points in trial.read_as_called(run.path).metrics.values()]
        assert losses(2)["batch/loss"] in curves
        assert losses(2)["train/loss"] in curves

    def test_what_is_logged_without_a_loop_has_steps_of_its_own_or_those_that_are_given(
        self, trial: Trial
    ) -> None:
        with trial.record() as run:
            for value in (0.5, 0.25, 0.125):
                run.log(counted=value)
            run.log(step=10, given=1.5)
            run.log(step=20, given=2.5)
            run.log(step=20, another=3.5)
        assert trial.delivered(run.path).metrics == {
            "counted": [(0, 0.5), (1, 0.25), (2, 0.125)],
            "given": [(10, 1.5), (20, 2.5)],
            "another": [(20, 3.5)],
        }

    def test_an_evaluation_on_its_own_is_over_a_step_of_its_own(self, trial: Trial) -> None:
        with trial.record() as run:
            train(run, epochs=1)
            for value in (0.5, 0.25):
                for _ in run.validate(range(2)):
                    run.log(loss=value)
        assert trial.delivered(run.path).metrics.get("test/loss") == [(2, 0.5), (3, 0.25)]

    def test_a_metric_that_appears_late_is_at_its_own_steps(self, trial: Trial) -> None:
        with trial.record() as run:
            for step in range(4):
                run.log({"early": step} if step < 2 else {"early": step, "late": 10 * step}, step=step)
        assert trial.delivered(run.path).metrics == {
            "early": [(0, 0), (1, 1), (2, 2), (3, 3)],
            "late": [(2, 20), (3, 30)],
        }

    @needs("nan")
    def test_nan_is_kept(self, trial: Trial) -> None:
        with trial.record() as run:
            for step, value in enumerate((1.0, math.nan, 2.0)):
                run.log(loss=value, step=step)
        points = trial.delivered(run.path).metrics.get("loss", [])
        assert [(step, str(value)) for step, value in points] == [(0, "1.0"), (1, "nan"), (2, "2.0")]

    @needs("infinity")
    def test_infinities_are_kept(self, trial: Trial) -> None:
        with trial.record() as run:
            for step, value in enumerate((math.inf, 1.0, -math.inf)):
                run.log(loss=value, step=step)
        assert trial.delivered(run.path).metrics.get("loss") == [(0, math.inf), (1, 1.0), (2, -math.inf)]

    @needs("doubles")
    def test_every_bit_of_a_number_is_kept(self, trial: Trial) -> None:
        values = [1 / 3, 1e-300, 1.7e308, 16777217.0, -0.1]
        with trial.record() as run:
            for step, value in enumerate(values):
                run.log(loss=value, step=step)
        assert trial.delivered(run.path).metrics.get("loss") == list(enumerate(values))

    def test_an_odd_name_is_kept_or_called_as_the_rule_says(self, trial: Trial) -> None:
        named = {name: position / 8 for position, name in enumerate(ODD_NAMES)}
        with trial.record() as run:
            run.log(named, step=3)
        assert trial.delivered(run.path).metrics == {name: [(3, value)] for name, value in named.items()}

    def test_names_that_look_alike_stay_apart(self, trial: Trial) -> None:
        values = dict(zip(ALIKE_NAMES, range(len(ALIKE_NAMES)), strict=True))
        with trial.record() as run:
            run.log(values, step=0)
            run.log(dict(reversed(values.items())), step=1)
        trial.deliver(run.path)
        curves = trial.read_as_called(run.path).metrics.values()
        expected = [[(0, value), (1, value)] for value in values.values()]
        assert sorted(list(points) for points in curves) == sorted(expected)

    def test_thousands_of_records_arrive_in_order(self, trial: Trial) -> None:
        with trial.record() as run:
            for step in range(2500):
                run.log(loss=step / 8, step=step)
        assert trial.delivered(run.path).metrics.get("loss") == [(step, step / 8) for step in range(2500)]

    # Parameters

    @needs("params")
    def test_parameters_of_every_type_are_kept(self, trial: Trial) -> None:
        with trial.record(params=PARAMS) as run:
            run.log(loss=1.0)
        assert trial.delivered(run.path).params == plain(RECORDED_PARAMS)

    @needs("params")
    def test_parameters_with_odd_names_are_kept_or_called_as_the_rule_says(self, trial: Trial) -> None:
        params = {name: position for position, name in enumerate(ODD_NAMES)}
        with trial.record(params=params) as run:
            run.log(loss=1.0)
        assert trial.delivered(run.path).params == plain(params)

    @needs("params")
    def test_a_thousand_parameters_and_long_ones_are_kept(self, trial: Trial) -> None:
        params = {f"layer{number}": number for number in range(1000)} | {"prompt": "long " * 4000}
        with trial.record(params=params) as run:
            run.log(loss=1.0)
        assert trial.delivered(run.path).params == plain(params)

    @needs("params")
    def test_the_later_value_of_a_parameter_counts(self, trial: Trial) -> None:
        with trial.record(params={"lr": 0.5, "layers": 3}) as run:
            run.log(loss=1.0)
        trial.deliver(run.path)
        with trial.record(resume=run.path, params={"lr": 0.25}):
            pass
        assert trial.delivered(run.path).params == plain({"lr": 0.25, "layers": 3})

    # Files and media

    @needs("files")
    def test_files_of_every_kind_are_known_by_their_hash(self, trial: Trial, tmp_path: Path) -> None:
        folder = tmp_path / "saved_model"
        folder.mkdir()
        written(folder / "graph.pb", "a graph")
        with trial.record() as run:
            train(run, epochs=1)
            run.log_model(written(tmp_path / "best.pt", "weights"), aliases=["best", "last"])
            run.log_export(written(tmp_path / "best.onnx", "exported"))
            run.log_file(written(tmp_path / "labels.txt", "cat\ndog"))
            run.log_export(folder)
        files = trial.delivered(run.path).files
        assert {name: files.get(name) for name in ("best.pt", "best.onnx", "labels.txt")} == {
            "best.pt": sha256("weights"),
            "best.onnx": sha256("exported"),
            "labels.txt": sha256("cat\ndog"),
        }

    @needs("files")
    @pytest.mark.parametrize("kind", ["model", "export", "file"])
    def test_files_with_odd_names_are_there(self, trial: Trial, tmp_path: Path, kind: str) -> None:
        with trial.record(keep="all") as run:
            for name in ODD_FILES:
                getattr(run, f"log_{kind}")(written(tmp_path / name, f"the content of {name}"))
        hashes = trial.delivered(run.path).files.values()
        assert sorted(hashes) == sorted(sha256(f"the content of {name}") for name in ODD_FILES)

    @needs("files")
    def test_of_a_checkpoint_that_is_overwritten_the_newest_version_counts(
        self, trial: Trial, tmp_path: Path
    ) -> None:
        with trial.record() as run:
            run.log_model(written(tmp_path / "last.pt", "first"), aliases=["last"])
            trial.deliver(run.path)
            run.log_model(written(tmp_path / "last.pt", "second"), aliases=["last"])  # not delivered in time
            run.log_model(written(tmp_path / "last.pt", "third"), aliases=["last"])
        assert trial.delivered(run.path).files == {"last.pt": sha256("third")}

    @needs("images")
    def test_pictures_are_at_their_steps(self, trial: Trial, tmp_path: Path) -> None:
        with trial.record() as run:
            for step, (width, height) in enumerate([(5, 3), (2, 7)]):
                run.log(loss=step)
                run.log_image("val/samples", written(tmp_path / "picture.png", png(width, height)))
        assert trial.delivered(run.path).images == {"val/samples": [(0, (5, 3)), (1, (2, 7))]}

    @needs("texts")
    def test_texts_are_kept_as_they_are(self, trial: Trial) -> None:
        texts = ["größe 🎉", 'one\ntwo, "three"', "<b>|a|</b> &amp; `x` # *y*"]
        with trial.record() as run:
            for step, text in enumerate(texts):
                run.log(loss=step)
                run.log_text("notes", text)
        assert trial.delivered(run.path).texts == {"notes": list(enumerate(texts))}

    @needs("tables")
    def test_tables_are_kept(self, trial: Trial) -> None:
        rows: list[list[Any]] = [["cat", 3, 0.5], ["größe, \"x\" | 'y'", 4, 1e-3], ["", None, -1]]
        columns = ["class", "count of it", "score|%"]
        with trial.record() as run:
            for step in range(2):
                run.log(loss=step)
                run.log_table("errors", rows[step:], columns=columns)
        expected = [plain(dict(zip(columns, row, strict=True))) for row in rows]
        assert trial.delivered(run.path).tables == {"errors": [(0, expected), (1, expected[1:])]}

    @needs("texts")
    def test_texts_whose_names_look_alike_stay_apart(self, trial: Trial) -> None:
        names = [name for name in (*ODD_NAMES, *ALIKE_NAMES) if name]
        with trial.record() as run:
            run.log(loss=1.0)
            for name in names:
                run.log_text(name, f"of {name!r}")
        trial.deliver(run.path)
        texts = [text for series in trial.read_as_called(run.path).texts.values() for _, text in series]
        assert sorted(texts) == sorted(f"of {name!r}" for name in names)

    @needs("tables")
    def test_tables_whose_names_look_alike_stay_apart(self, trial: Trial) -> None:
        with trial.record() as run:
            run.log(loss=1.0)
            for name in ALIKE_NAMES:
                run.log_table(name, [[name]], columns=["of"])
        tables = trial.delivered(run.path).tables.values()
        named = [row["of"] for series in tables for _, rows in series for row in rows]
        assert sorted(named) == sorted(ALIKE_NAMES)

    @needs("images", "texts", "tables")
    def test_one_name_for_a_metric_a_picture_a_text_and_a_table_keeps_them_all(
        self, trial: Trial, tmp_path: Path
    ) -> None:
        with trial.record() as run:
            picture = media.file(written(tmp_path / "p.png", png(3, 2)), "image", name="samples")
            run.note_files([picture])
            run.callbacks.run_callbacks("on_predict_end", None, {"samples": 4.0}, files=[picture])
            run.log_text("samples", "a text")
            run.log_table("samples", [["a row"]], columns=["of"])
        trial.deliver(run.path)
        seen = trial.read_as_called(run.path)
        assert [value for points in seen.metrics.values() for _, value in points] == [4.0]
        assert [size for series in seen.images.values() for _, size in series] == [(3, 2)] * 2
        assert [text for series in seen.texts.values() for _, text in series] == ["a text"]
        assert [row for series in seen.tables.values() for _, rows in series for row in rows] == [
            {"of": "a row"}
        ]

    @needs("histograms")
    def test_histograms_are_kept(self, trial: Trial) -> None:
        pytest.importorskip("numpy", reason="a histogram is made by numpy, which is not installed")
        with trial.record() as run:
            for step, values in enumerate([[0, 1, 1, 4], [2, 2, 2, 10]]):
                run.log(loss=step)
                run.log_histogram("weights", values, bins=4)
        series = trial.delivered(run.path).histograms.get("weights", [])
        assert [(step, list(edges), list(counts)) for step, (edges, counts) in series] == [
            (0, [0, 1, 2, 3, 4], [1, 2, 0, 1]),
            (1, [2, 4, 6, 8, 10], [3, 0, 0, 1]),
        ]

    # Status

    @needs("status")
    @pytest.mark.parametrize(("error", "status"), ENDS)
    def test_a_run_has_the_status_with_which_it_ended(
        self, trial: Trial, error: BaseException | None, status: str
    ) -> None:
        def end() -> None:
            with trial.record() as run:
                train(run, epochs=1)
                if error is not None:
                    raise error

        if error is None:
            end()
        else:
            with pytest.raises(type(error)):
                end()
        assert trial.delivered(trial.home / "run").status == status

    @needs("status")
    def test_a_run_that_was_lost_is_lost_or_killed(self, trial: Trial) -> None:
        run = trial.record()
        train(run, epochs=1)
        run.close("lost", "nothing was heard of it any more")
        assert trial.delivered(run.path).status in ("lost", "killed")

    @needs("status", "params")
    @pytest.mark.parametrize("params", [{}, {"lr": 0.5}], ids=["nothing", "parameters"])
    def test_a_run_without_metrics_has_its_status(self, trial: Trial, params: dict[str, float]) -> None:
        with trial.record(params=params) as run:
            pass
        seen = trial.delivered(run.path)
        assert (seen.status, seen.params, seen.metrics) == ("finished", plain(params), {})

    @needs("status")
    @pytest.mark.parametrize("delivery", ["off", "process"])
    def test_a_training_that_is_killed_has_all_that_was_recorded_and_the_status(
        self, trial: Trial, delivery: str
    ) -> None:
        options = {**trial.spec.options, "every": 1}
        trial.run_killed(KILLED, str(trial.home), delivery, trial.spec.name, options)
        path = trial.home / "killed"
        (trial.deliver if delivery == "off" else trial.wait)(path)
        seen = trial.read(path)
        assert seen.metrics.get("batch/loss") == losses(2)["batch/loss"][:5]
        assert seen.status == "killed"

    def test_a_run_that_goes_on_after_its_end_has_both_parts(self, trial: Trial) -> None:
        run = trial.record()
        train(run)
        run.settle("finished")
        trial.deliver(run.path)
        for _ in run.validate(range(2)):
            run.log(loss=8.0)
        run.close()
        expected = Seen(metrics=losses(2) | {"test/loss": [(5, 8.0)]})
        seen = trial.delivered(run.path)
        assert among(seen.metrics, expected.metrics) == expected.metrics
        assert seen.status == "finished" or "status" in self.cannot

    @needs("status")
    def test_a_run_that_has_failed_and_is_resumed_finishes(self, trial: Trial) -> None:
        run = trial.record()
        train(run, epochs=1)
        run.close("failed", "ValueError: no")
        assert trial.delivered(run.path).status == "failed"
        with trial.record(resume=run.path) as resumed:
            trial.deliver(run.path)
            assert trial.read(run.path).status == "running"
            train(resumed, epochs=1)
        assert trial.delivered(run.path).status == "finished"

    # Runs

    def test_what_was_delivered_can_be_read_while_the_run_goes_on(self, trial: Trial) -> None:
        with trial.record() as run:
            for epochs in (1, 2):
                train(run, epochs=1)
                assert among(trial.delivered(run.path).metrics, losses(epochs)) == losses(epochs)
        self.assert_all_once(trial.delivered(run.path), Seen(metrics=losses(2)))

    def test_two_runs_one_after_the_other_stay_apart(self, trial: Trial) -> None:
        runs = []
        for epochs in (1, 2):
            with trial.record(name=f"{epochs} epochs") as run:
                train(run, epochs)
            trial.deliver(run.path)
            runs.append(run)
        for epochs, run in enumerate(runs, 1):
            self.assert_all_once(trial.read(run.path), Seen(metrics=losses(epochs)))

    def test_two_runs_at_once_are_delivered_by_the_delivery_process(self, trial: Trial) -> None:
        with trial.record("one", delivery="process") as one, trial.record("two", delivery="process") as two:
            for _epoch in range(2):
                train(one, epochs=1)
                log_everything(two, epochs=1)
        for run, expected in ((one, Seen(metrics=losses(2))), (two, everything(0, 1))):
            trial.wait(run.path)
            self.assert_all_once(trial.read(run.path), expected)

    def test_a_run_may_be_called_and_described_in_any_words(self, trial: Trial) -> None:
        words = 'größe 🎉, "a/b" <c> 100% (%s) {d}'
        described: dict[str, Any] = {"project": words, "group": words, "notes": f"{words}\n\n# {words}"}
        with trial.record(words, tags=[words, "x" * 300, ""], **described) as run:
            log_everything(run)
        self.assert_all_once(trial.delivered(run.path), everything(1))

    def test_a_run_is_delivered_from_a_copy_of_its_folder(self, trial: Trial, tmp_path: Path) -> None:
        with trial.record() as run:
            log_everything(run)
        copy = shutil.copytree(run.path, tmp_path / "elsewhere" / "copy")
        shutil.rmtree(run.path)
        self.assert_all_once(trial.delivered(copy), everything(1))

    def test_a_run_is_resumed_in_its_folder_and_stays_one_run(self, trial: Trial) -> None:
        with trial.record() as run:
            log_everything(run, epochs=2)
        trial.deliver(run.path)
        with trial.record(resume=run.path) as resumed:
            log_everything(resumed, epochs=1)
        assert resumed.id == run.id
        self.assert_all_once(trial.delivered(run.path), everything(1, 2))

    @needs("rewind")
    def test_steps_that_are_trained_again_replace_those_from_before(self, trial: Trial) -> None:
        with trial.record() as run:
            train(run, epochs=2)
        trial.deliver(run.path)
        with trial.record(resume=run.path) as resumed:
            train(resumed, 3, start=1, more=100.0)  # the checkpoint is of the end of epoch 0
        again = {name: 3 if name.startswith("batch/") else 1 for name in losses(3)}
        expected = {
            name: [(x, value + (-100 if "late" in name else 100) * (x >= again[name])) for x, value in points]
            for name, points in losses(3).items()
        }
        seen = trial.delivered(run.path)
        assert repeated(seen.metrics) == {}
        assert among(seen.metrics, expected) == expected

    @needs("earlier")
    def test_metrics_of_batches_that_were_held_back_are_delivered_later(self, trial: Trial) -> None:
        with trial.record() as run:
            log_everything(run, epochs=2)
        assert deliver(run.path, [Spec(trial.spec.name, trial.spec.options, every=2)]) == {}
        assert among(trial.read(run.path).metrics, losses(2)) != losses(2)
        for _ in range(2):
            assert deliver(run.path, [trial.spec], from_start=True) == {}
            self.assert_all_once(trial.read(run.path), everything(1))

    # Exactly once

    def test_delivered_and_closed_twice_is_delivered_once(self, trial: Trial) -> None:
        with trial.record() as run:
            log_everything(run)
            run.close()
            run.close()
        for _ in range(2):
            trial.deliver(run.path)
            self.assert_all_once(trial.read(run.path), everything(1))

    @pytest.mark.parametrize("at", INTERRUPTIONS, ids=str)
    def test_after_an_outage_everything_is_there_once(self, trial: Trial, at: Interruption) -> None:
        def fail() -> None:
            raise ConnectionError("the backend is down")

        with trial.record() as run:
            log_everything(run)
        with pytest.raises(ConnectionError):
            trial.interrupt(run.path, at, fail)
        with suppress(ConnectionError):  # the cursor may have come so far that less than this is left
            trial.interrupt(run.path, at, fail)
        self.assert_all_once(trial.delivered(run.path), everything(1))

    @pytest.mark.parametrize("at", INTERRUPTIONS, ids=str)
    def test_after_a_delivery_that_was_killed_everything_is_there_once(
        self, trial: Trial, at: Interruption
    ) -> None:
        with trial.record() as run:
            log_everything(run)
        trial.kill(run.path, at)
        self.assert_all_once(trial.delivered(run.path), everything(1))

    def test_after_a_delivery_of_a_resumed_run_that_was_killed_everything_is_there_once(
        self, trial: Trial
    ) -> None:
        with trial.record() as run:
            log_everything(run, epochs=2)
        trial.deliver(run.path)
        with trial.record(resume=run.path) as resumed:
            log_everything(resumed, epochs=1)
        trial.kill(run.path, Interruption("flush", 2))
        self.assert_all_once(trial.delivered(run.path), everything(1, 2))


def among(found: Mapping[str, Points], expected: Mapping[str, Points]) -> dict[str, Points | None]:
    """Those of the metrics that are expected: loops record more, such as how long an epoch took."""
    return {name: found.get(name) for name in expected}


def repeated(metrics: Mapping[str, Points]) -> dict[str, Points]:
    """The metrics that have more than one point at a step or epoch."""
    return {name: points for name, points in metrics.items() if len({x for x, _ in points}) < len(points)}
