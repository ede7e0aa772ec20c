"""Promises about files: models, exports and other files, their names and versions."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..sample_runs import ODD_FILES, sha256, train, written
from ..trial import Trial
from .suite import TrackerSuite, needs


class FilePromises(TrackerSuite):
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
