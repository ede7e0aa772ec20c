"""Promises about images, texts, tables and histograms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ...session.run import recorder_of
from ...values import media
from ..sample_runs import ALIKE_NAMES, ODD_NAMES, png, written
from ..trial import Trial, plain
from .suite import TrackerSuite, needs


class MediaPromises(TrackerSuite):
    @needs("images")
    def test_pictures_are_at_their_steps(self, trial: Trial, tmp_path: Path) -> None:
        with trial.record() as run:
            for step, (width, height) in enumerate([(5, 3), (2, 7)]):
                run.log(loss=step)
                run.log_image("val/samples", written(tmp_path / "picture.png", png(width, height)))
        assert trial.delivered(run.path).images == {"val/samples": [(0, (5, 3)), (1, (2, 7))]}

    @needs("images", "texts", "tables")
    def test_several_pictures_texts_and_tables_of_one_name_at_one_step_are_all_there(
        self, trial: Trial, tmp_path: Path
    ) -> None:
        with trial.record() as run:
            run.log(loss=1.0)
            for number in range(1, 4):
                run.log_image("samples", written(tmp_path / f"{number}.png", png(number, 2)))
                run.log_text("answer", f"answer {number}")
                run.log_table("errors", [[f"error {number}"]], columns=["of"])
                trial.deliver(run.path)
        seen = trial.read_as_called(run.path)
        assert sorted(size for found in seen.images.values() for _, size in found) == [(1, 2), (2, 2), (3, 2)]
        assert sorted(text for found in seen.texts.values() for _, text in found) == [
            f"answer {number}" for number in range(1, 4)
        ]
        rows = [row["of"] for found in seen.tables.values() for _, table in found for row in table]
        assert sorted(rows) == [f"error {number}" for number in range(1, 4)]

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
            recorder_of(run).note_files([picture])
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
