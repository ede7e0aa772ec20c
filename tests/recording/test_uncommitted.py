"""The changes of the code that are in no commit are kept with the run: all of them, without secrets, bounded."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import trackhooks
from trackhooks.errors import InvalidValueError, TrackhooksWarning
from trackhooks.reading.summary import RunSummary, summarize
from trackhooks.recording import git as git_module
from trackhooks.recording import patch_secrets, uncommitted
from trackhooks.storage import patches

CODE = "lr = 0.1\nepochs = 3\n"


def git(here: Path, *words: str) -> str:
    person = ("git", "-c", "user.name=me", "-c", "user.email=me@example.org", "-c", "init.defaultBranch=main")
    return subprocess.run([*person, *words], cwd=here, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit, as the working directory."""
    monkeypatch.delenv("TRACKHOOKS_PATCH")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    path = tmp_path / "code"
    path.mkdir()
    git(path, "init", "--quiet")
    (path / "train.py").write_text(CODE)
    (path / "model.py").write_text("width = 8\n")
    git(path, "add", ".")
    git(path, "commit", "--quiet", "--message", "first")
    monkeypatch.chdir(path)
    return path


def recorded(**options: Any) -> RunSummary:
    options = {"dir": "../runs", "delivery": "off", **options}
    with trackhooks.run("csv", **options) as run:
        run.log(loss=1.0)
    return summarize(run.path)


def patch_of(run: RunSummary) -> str:
    return (run.path / "files" / "code.patch").read_text(encoding="utf-8")


def test_a_clean_repository_has_no_patch(here: Path) -> None:
    run = recorded()
    assert run.info.environment["git/dirty"] is False
    assert not [name for name in run.facts if name.startswith("code/")]
    assert not run.files


def test_the_patch_makes_the_code_of_the_run_from_its_commit(here: Path) -> None:
    (here / "train.py").write_text(CODE.replace("0.1", "0.2"))
    (here / "model.py").write_text("width = 8\ndepth = 2\n")
    git(here, "add", "model.py")
    run = recorded()
    assert run.facts["code/changed"] == "2 files, +2 −1"
    (file,) = run.files
    assert (file.name, file.kept) == ("code.patch", "files/code.patch")
    git(here, "reset", "--quiet", "--hard", str(run.info.environment["git/commit"]))
    git(here, "apply", file.path)
    assert (here / "train.py").read_text() == CODE.replace("0.1", "0.2")
    assert (here / "model.py").read_text() == "width = 8\ndepth = 2\n"


def test_the_patch_is_that_of_the_start_and_of_the_whole_repository(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "train.py").write_text("lr = 0.2\n")
    (here / "scripts").mkdir()
    monkeypatch.chdir(here / "scripts")
    with trackhooks.run("csv", dir=here.parent / "runs", delivery="off") as run:
        uncommitted_of(run).wait()
        (here / "train.py").write_text("lr = 0.3\n")
    assert "+lr = 0.2" in patch_of(summarize(run.path))


class uncommitted_of:  # noqa: N801 — reads as a function
    """Waits until git has listed the changes of a run."""

    def __init__(self, run: trackhooks.Run) -> None:
        self._changes = run._recorder.owner._changes  # type: ignore[attr-defined]

    def wait(self) -> None:
        for command in self._changes._commands:
            assert command.wait(30.0)


def test_changes_are_recorded_at_a_hook_as_soon_as_they_are_known(here: Path) -> None:
    (here / "train.py").write_text("lr = 0.2\n")
    with trackhooks.run("csv", dir="../runs", delivery="off") as run:
        uncommitted_of(run).wait()
        run.log(loss=1.0)
        assert (run.path / "files" / "code.patch").exists()


def test_deleted_and_new_staged_files_are_part_of_the_patch(here: Path) -> None:
    (here / "model.py").unlink()
    (here / "new.py").write_text("a = 1\n")
    git(here, "add", "new.py")
    changes = patches.read(recorded().path / "files" / "code.patch")
    assert {name: str(change) for name, change in changes.items()} == {"model.py": "+0 −1", "new.py": "+1 −0"}


def test_a_repository_without_a_commit_has_a_patch(here: Path) -> None:
    git(here, "update-ref", "-d", "HEAD")
    run = recorded()
    assert run.info.environment["git/commit"] is None
    assert "+lr = 0.1" in patch_of(run)
    assert "to an empty repository" in patch_of(run)


@pytest.mark.parametrize("where", ["detached", "worktree"])
def test_a_detached_head_and_a_worktree_are_repositories_as_any_other(
    here: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if where == "detached":
        git(here, "checkout", "--quiet", "--detach")
    else:
        git(here, "worktree", "add", "--quiet", "--detach", str(here.parent / "other"))
        here = here.parent / "other"
        monkeypatch.chdir(here)
    (here / "train.py").write_text("lr = 0.2\n")
    run = recorded()
    assert run.info.environment["git/branch"] is None
    assert "+lr = 0.2" in patch_of(run)


HOSTILE = """\
[color]
    ui = always
[core]
    pager = false
    quotepath = true
    fsmonitor = "touch {marker}; false"
[diff]
    external = "touch {marker}; echo"
    noprefix = true
    mnemonicPrefix = true
    renames = copies
    context = 0
    interHunkContext = 9
    relative = true
    orderFile = /does/not/exist
    submodule = log
    algorithm = patience
    wordRegex = .
    colorMoved = zebra
[diff "own"]
    textconv = "touch {marker}; cat"
    command = "touch {marker}; echo"
"""


def test_the_configuration_of_the_user_does_not_change_the_patch(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "träin.py").write_text("a\nb\nc\nd\ne\n")
    (here / ".gitattributes").write_text("*.py diff=own\n")
    git(here, "add", ".")
    git(here, "commit", "--quiet", "--message", "second")
    (here / "träin.py").write_text("a\nb\nc\nd\nE\n")
    plain, marker = recorded(), here.parent / "marker"
    (here.parent / "gitconfig").write_text(HOSTILE.format(marker=marker))
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", f"touch {marker}; echo")
    monkeypatch.setenv("GIT_DIFF_OPTS", "--unified=0")
    monkeypatch.setenv("GIT_PAGER", "false")
    monkeypatch.setenv("GIT_LITERAL_PATHSPECS", "1")
    hostile = recorded()
    assert patch_of(hostile) == patch_of(plain)
    assert "+++ b/träin.py\n@@ -2,4 +2,4 @@" in patch_of(hostile)
    assert not marker.exists()


def test_binary_files_are_named_and_not_embedded(here: Path) -> None:
    (here / "weights.bin").write_bytes(b"\0\1")
    git(here, "add", ".")
    git(here, "commit", "--quiet", "--message", "second")
    (here / "weights.bin").write_bytes(bytes(range(256)) * 100)
    run = recorded()
    assert "Binary files a/weights.bin and b/weights.bin differ" in patch_of(run)
    assert len(patch_of(run)) < 1000
    assert str(patches.read(run.path / "files" / "code.patch")["weights.bin"]) == "binary"


def test_a_submodule_is_named_by_its_commit(here: Path) -> None:
    part = here / "part"
    part.mkdir()
    git(part, "init", "--quiet")
    (part / "a.py").write_text("1\n")
    git(part, "add", ".")
    git(part, "commit", "--quiet", "--message", "first")
    git(here, "add", "part")
    git(here, "commit", "--quiet", "--message", "with a submodule")
    (part / "a.py").write_text("2\n")
    patch = patch_of(recorded())
    assert "+Subproject commit" in patch
    assert "-dirty" in patch


def test_of_a_large_patch_only_the_names_of_the_files_are_kept(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uncommitted, "MOST", 1000)
    (here / "train.py").write_text("x = 1\n" * 1000)
    run = recorded()
    assert "x = 1" not in patch_of(run)
    assert "They are not kept, because they have" in patch_of(run)
    assert run.facts["code/changed"] == "1 file, +1000 −2"
    first = run.facts["code/patch"]
    (here / "train.py").write_text("x = 2\n" * 1000)
    assert recorded().facts["code/patch"] != first
    change = patches.read(run.path / "files" / "code.patch")["train.py"]
    assert (change.added, change.removed, change.digest) == (1000, 2, "")


def test_untracked_python_files_are_named_and_their_content_is_not_kept(here: Path) -> None:
    (here / "new.py").write_text("PRIVATE = 1\n")
    (here / "ignored.py").write_text("")
    (here / "notes.txt").write_text("")
    (here / ".gitignore").write_text("ignored.py\n")
    run = recorded()
    assert run.facts["code/untracked"] == "new.py"
    assert not run.files
    for number in range(30):
        (here / f"m{number:02}.py").write_text("")
    assert str(recorded().facts["code/untracked"]).endswith("m19.py and 11 more")


def test_outside_of_a_repository_and_without_git_a_run_is_recorded_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: Path
) -> None:
    (here / "train.py").write_text("lr = 0.2\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    without_git = recorded()
    monkeypatch.undo()
    monkeypatch.delenv("TRACKHOOKS_PATCH")
    monkeypatch.chdir(tmp_path)
    for run in (without_git, recorded(dir=tmp_path / "runs")):
        assert run.status == "finished"
        assert "git/commit" not in run.info.environment
        assert not run.files


def slow_git(folder: Path, monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    """Let git sleep for a minute if its arguments match a pattern of the shell."""
    where = subprocess.run(["which", "git"], check=True, capture_output=True, text=True).stdout.strip()
    slow = folder / "bin" / "git"
    slow.parent.mkdir()
    slow.write_text(f'#!/bin/sh\ncase "$*" in {words}) exec sleep 60;; esac\nexec {where} "$@"\n')
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow.parent}:/usr/bin:/bin")


def test_of_a_repository_that_is_too_large_the_commit_is_known(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow_git(here.parent, monkeypatch, "*status*")
    monkeypatch.setattr(git_module, "TIMEOUT_S", 0.3)
    commit = git(here, "rev-parse", "HEAD").strip()
    known = recorded().info.environment
    assert {name: value for name, value in known.items() if name.startswith("git/")} == {"git/commit": commit}


def test_a_git_that_does_not_answer_does_not_hold_the_run_up(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "train.py").write_text("lr = 0.2\n")
    slow_git(here.parent, monkeypatch, '*ls-files*|*" diff "*')
    monkeypatch.setattr(uncommitted, "LONGEST_S", 0.1)
    run = recorded()
    assert run.status == "finished"
    assert run.facts == {"code/patch": "not known: git did not list the changes in time"}


def test_a_patch_that_cannot_be_written_is_reported_and_the_run_continues(here: Path) -> None:
    (here / "train.py").write_text("lr = 0.2\n")
    run = trackhooks.run("csv", dir="../runs", delivery="off")
    (run.path / "files").write_text("a file in the place of the folder")
    with pytest.warns(TrackhooksWarning, match="changes of the code are not kept"):
        run.close()
    found = summarize(run.path)
    assert (found.status, found.facts["code/changed"]) == ("finished", "1 file, +1 −2")
    assert not found.files


@pytest.mark.parametrize("value", ["0", "false"])
def test_the_patch_can_be_switched_off(here: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("TRACKHOOKS_PATCH", value)
    (here / "train.py").write_text("lr = 0.2\n")
    (here / "new.py").write_text("")
    run = recorded()
    assert run.info.environment["git/dirty"] is True
    assert not run.facts
    assert not run.files


def test_the_switch_takes_no_other_value(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKHOOKS_PATCH", "maybe")
    with pytest.raises(InvalidValueError, match="TRACKHOOKS_PATCH must be 0 or 1, got 'maybe'"):
        recorded()


def test_a_process_that_resumes_the_run_keeps_its_own_patch(here: Path) -> None:
    (here / "train.py").write_text("lr = 0.2\n")
    first = recorded()
    again = recorded(resume=first.path)
    assert {path.name for path in (first.path / "files").iterdir()} == {"code.patch"}
    assert again.facts["code/patch"] == first.facts["code/patch"]
    (here / "train.py").write_text("lr = 0.3\n")
    last = recorded(resume=first.path)
    assert [file.kept for file in last.files] == ["files/code.patch", "files/code-2.patch"]
    assert "+lr = 0.2" in patch_of(last)
    assert "+lr = 0.3" in (last.path / "files" / "code-2.patch").read_text()


def test_the_patch_reaches_a_tracker_as_a_file(here: Path) -> None:
    (here / "train.py").write_text("lr = 0.2\n")
    seen: list[tuple[str, str]] = []

    class Keeper(trackhooks.Tracker):
        def log_file(self, file: Any, path: Path | None, event: Any) -> None:
            assert path is not None
            seen.append((file.name, path.read_text()))

    with trackhooks.run(Keeper(), dir="../runs", delivery="inline") as run:
        run.log(loss=1.0)
    assert run.wait(30)
    assert [name for name, _ in seen] == ["code.patch"]
    assert "+lr = 0.2" in seen[0][1]


# Secrets

SECRETS: dict[str, Callable[[], tuple[str, str]]] = {
    "an assignment": lambda: ("train.py", 'api_key = "HIDDEN123456"\n'),
    "a key of a known shape": lambda: ("train.py", "x = 'ghp_HIDDEN" + "a1" * 15 + "'\n"),
    "a line of YAML": lambda: ("config.yaml", "model: vit\nhf_token: HIDDEN123\nlr: 1\n"),
    "a block of YAML": lambda: ("config.yaml", "password: |\n  HIDDEN1\n  HIDDEN2\nlr: 1\n"),
    "a private key": lambda: (
        "train.py",
        'KEY = """-----BEGIN PRIVATE KEY-----\nHIDDEN1\nHIDDEN2\n-----END PRIVATE KEY-----"""\nlr = 1\n',
    ),
    "a URL": lambda: ("train.py", "db = 'postgres://me:HIDDEN1@host/db'\n"),
    "a file of secrets": lambda: (".env", "DATABASE=HIDDEN1\nOTHER=HIDDEN2\n"),
    "a file that is named like a secret": lambda: ("credentials.json", '{"user": "HIDDEN1"}\n'),
}


@pytest.mark.parametrize("kind", SECRETS)
@pytest.mark.parametrize("removed", [False, True])
def test_secrets_in_the_patch_are_redacted(here: Path, kind: str, removed: bool) -> None:
    name, content = SECRETS[kind]()
    (here / name).write_text(content if removed else "start\n")
    git(here, "add", ".")
    git(here, "commit", "--quiet", "--message", "second")
    (here / name).write_text("start\n" if removed else content)
    patch = patch_of(recorded())
    assert "HIDDEN" not in patch
    assert "<redacted>" in patch
    assert patches.read(next((here.parent / "runs").glob("*/files/code.patch")))[name].added


def test_the_rest_of_a_patch_with_secrets_is_kept(here: Path) -> None:
    (here / "train.py").write_text(f'{CODE}key = """-----BEGIN RSA PRIVATE KEY-----\nA\nB\n"""\n')
    git(here, "commit", "--quiet", "--all", "--message", "second")
    (here / "train.py").write_text('lr = 0.2\nepochs = 4\npassword = "hidden"\nseed = 1\n')
    patch = patch_of(recorded())
    assert "-lr = 0.1\n" in patch
    assert "+lr = 0.2\n+epochs = 4\n" in patch
    assert "+seed = 1\n" in patch
    assert "hidden" not in patch


@pytest.mark.parametrize(
    ("name", "holds"),
    [
        (".env", True), (".env.local", True), ("server.pem", True), ("id_rsa", True), ("secrets.toml", True),
        ("api_key.txt", True), ("token", True), ("tokenizer.json", False), ("token.py", False), ("train.py", False),
        ("keys.py", False), ("data.yaml", False),
    ],
)  # fmt: skip
def test_files_that_hold_secrets_are_known_by_their_names(name: str, holds: bool) -> None:
    assert patch_secrets.holds_secrets(name) is holds


def test_a_patch_without_secrets_stays_as_it_is() -> None:
    patch = (
        'diff --git "a/a b.py" "b/a b.py"\nindex 1..2 100644\n--- "a/a b.py"\n+++ "b/a b.py"\n@@ -1 +1,2 @@ def f():\n'
        "-a\n\\ No newline at end of file\n+b\n+@@ -1 +1 @@\n"
    )
    assert patch_secrets.without_secrets(patch) == patch
