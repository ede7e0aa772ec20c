"""`Uncommitted`: the changes of the code that are in no commit, as they are when a run starts.

git lists them while the program continues. They are recorded at one of the next hooks, or at the end of the run: the
patch as the file `files/code.patch`, and facts about it:

| fact | meaning |
|---|---|
| `code/patch` | the start of the SHA-256 hash of the patch, or why there is none |
| `code/changed` | the number of files that were changed, and of lines that were added and removed |
| `code/untracked` | Python files and notebooks that git does not track; their content is not kept |
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, NamedTuple

from ..errors import InvalidValueError
from ..errors.secrets import redact_text
from ..event import File, Scalar
from ..storage import patches, run_folder
from ..values import media
from ..values.digests import sha256
from . import git
from .patch_secrets import without_secrets
from .recorder import Recorder

MOST = 1 << 20
"""The size of the largest patch that is kept, in bytes."""
LONGEST_S = 2.0
"""How long the end of a run waits for git, from the start of the run on."""
_GIVEN_UP_S = 60.0
_MOST_UNTRACKED = 20
_MOST_FILES = 1000
"""The largest number of changed files that are listed."""
_NO_COMMIT = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
"""The tree without files, which git knows in every repository that uses SHA-1."""
_DIFF = ("diff", "--no-ext-diff", "--no-textconv", "--no-color", "--no-renames", "-U3", "--submodule=short",
         "--ignore-submodules=none", "--numstat", "--patch")  # fmt: skip
_UNTRACKED = (
    "ls-files",
    "-z",
    "--full-name",
    "--others",
    "--exclude-standard",
    "--",
    ":(top)*.py",
    ":(top)*.ipynb",
)


class _Patch(NamedTuple):
    facts: dict[str, Scalar]
    text: str


class Uncommitted:
    """Two commands of git, and what they print.

    Args:
        where: a folder of the repository.
        environment: the environment of the run, which says whether there are uncommitted changes.

    Raises:
        OSError: git cannot be started.
    """

    def __init__(self, where: str, environment: Mapping[str, Scalar]) -> None:
        self._commit = environment.get("git/commit")
        base = "HEAD" if self._commit else _NO_COMMIT
        self._untracked = git.Background(where, *_UNTRACKED)
        self._diff: git.Background | None = None
        try:
            if environment["git/dirty"]:
                self._diff = git.Background(where, *_DIFF, base, "--")
        except OSError:
            self._untracked.close()
            raise

    @classmethod
    def of(cls, where: str | None, environment: Mapping[str, Scalar]) -> Uncommitted | None:
        """Start to list the changes; None outside of a repository, or if git cannot be started."""
        if where is None or "git/dirty" not in environment:
            return None
        try:
            return cls(where, environment)
        except OSError:
            return None

    @property
    def is_ready(self) -> bool:
        """Whether the changes are known, or never will be."""
        is_late = self._untracked.seconds > _GIVEN_UP_S
        return is_late or all(command.has_ended for command in self._commands)

    @property
    def _commands(self) -> list[git.Background]:
        return [command for command in (self._diff, self._untracked) if command is not None]

    def record(self, run: Recorder) -> None:
        """Record the changes. Waits for git, but no longer than `LONGEST_S` from the start of the run on."""
        found, files = _Patch({}, ""), list[File]()
        try:
            found = self._found()
            files = _files(run, found.text)
        except (OSError, InvalidValueError) as error:  # a full disk, or the folder was removed
            run.report(f"run {run.name!r}: the uncommitted changes of the code are not kept: {error}.")
        finally:
            self.discard()
        if found.facts:
            run.record({}, facts=found.facts, files=files)

    def discard(self) -> None:
        """Stop the commands, and delete what they have printed."""
        for command in self._commands:
            command.close()

    def _found(self) -> _Patch:
        left = LONGEST_S - self._untracked.seconds
        facts: dict[str, Scalar] = {}
        text = ""
        if self._diff is not None:
            facts, text = self._patch(self._diff) if self._diff.wait(left) else _unknown()
        if self._untracked.wait(LONGEST_S - self._untracked.seconds):
            facts |= _untracked(self._untracked.output)
        return _Patch(facts, text)

    def _patch(self, diff: git.Background) -> _Patch:
        with diff.output as output:
            stats = list(_stats(output))
            patch, digest, size = _read(output)
        if not stats:
            return _Patch({}, "")
        what = f"the commit {self._commit}" if self._commit else "an empty repository"
        head = [
            f"# Uncommitted changes to {what}. Secrets are redacted. To apply them: git apply {patches.NAME}"
        ]
        if patch is None:
            head = [f"# Uncommitted changes to {what}. They are not kept, because they have {size} bytes."]
        else:
            digest = sha256(patch.encode()).hexdigest()
        lines = [patches.stat_line(*stat) for stat in stats[:_MOST_FILES]]
        facts: dict[str, Scalar] = {"code/patch": digest[:12], "code/changed": _changed(stats)}
        return _Patch(facts, "\n".join([*head, *lines, patch or ""]))


def _unknown() -> _Patch:
    return _Patch({"code/patch": "not known: git did not list the changes in time"}, "")


def _stats(output: IO[bytes]) -> Iterator[tuple[str, str, str]]:
    """Yield the numbers of lines that were added and removed, and the name of each file, until an empty line."""
    for line in output:
        parts = line.decode(errors="replace").rstrip("\n").split("\t", 2)
        if len(parts) < 3:
            return
        yield parts[0], parts[1], redact_text(parts[2])


def _read(output: IO[bytes]) -> tuple[str | None, str, int]:
    """Return the rest without secrets, or None if it is too large; the hash of all of it, and its size in bytes."""
    content = output.read(MOST + 1)
    if len(content) <= MOST:
        return without_secrets(content.decode(errors="replace")), "", len(content)
    digest, size = sha256(), 0
    while content:
        digest.update(content)
        size += len(content)
        content = output.read(MOST)
    return None, digest.hexdigest(), size


def _changed(stats: list[tuple[str, str, str]]) -> str:
    added, removed = (sum(int(stat[side]) for stat in stats if stat[side].isdigit()) for side in (0, 1))
    return f"{len(stats)} file{'s' * (len(stats) > 1)}, +{added} −{removed}"


def _untracked(output: IO[bytes]) -> dict[str, Scalar]:
    names = output.read(MOST).decode(errors="replace").split("\0")[:-1]
    more = f" and {len(names) - _MOST_UNTRACKED} more" if len(names) > _MOST_UNTRACKED else ""
    return {"code/untracked": ", ".join(names[:_MOST_UNTRACKED]) + more} if names else {}


def _files(run: Recorder, text: str) -> list[File]:
    """Write the patch to the folder of the run. A process that resumes the run writes another one if it differs.

    Raises:
        OSError: it cannot be written.
        InvalidValueError: it was removed.
    """
    if not text:
        return []
    folder, data = run.path / "files", text.encode(errors="replace")
    folder.mkdir(exist_ok=True)
    path = _place(folder, data)
    if not path.exists():
        run_folder.write_atomically(path, data)
    return [media.file(path, "file", name=patches.NAME, kept=f"files/{path.name}")]


def _place(folder: Path, data: bytes) -> Path:
    """Return the path of the patch: that of the same content, or one that is not taken."""
    path, number = folder / patches.NAME, 1
    while path.exists() and path.read_bytes() != data:
        number += 1
        path = folder / f"code-{number}.patch"
    return path
