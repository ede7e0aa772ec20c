"""`Opening`: open runs in W&B, offline or online, with the program and host of the training."""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import shlex
import shutil
import sys
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trackhooks.errors import log
from trackhooks.event import RunInfo
from trackhooks.tracker_tools import is_alive

from .names import as_project, as_tag
from .reasons import REMEDY

_FLUSH_S = 0.1
"""How often W&B writes to its file. With its default of 15 seconds, `flush` would have to wait that long."""
_TIMEOUT_S = 5
_ONLINE = ("online", "shared")
_one_at_a_time = threading.Lock()

_open: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()
"""Folder of a run → its W&B run, for the runs that this process has open. W&B opens a run only once per process."""


def import_wandb() -> Any:
    """Import W&B, with a separate service process: the one of the training would end with the training.

    NumPy is imported first. Otherwise W&B lets it be loaded when it is first used, and if another thread imports it at
    that moment, it stays broken.
    """
    if "wandb" not in sys.modules:
        os.environ.pop("WANDB_SERVICE", None)
        with contextlib.suppress(ImportError):
            importlib.import_module("numpy")
    import wandb

    return wandb


class Opening:
    """Open runs. For every argument, None means W&B's own setting.

    Args:
        entity: the user or team.
        project: the project, instead of the run's.
        job_type: the type of the run, such as `"train"`.
        mode: `"online"`, `"offline"`, `"shared"` or `"disabled"`.
        folder: the folder in which W&B creates its `wandb`, instead of the run's own folder.
    """

    def __init__(
        self,
        entity: str | None,
        project: str | None,
        job_type: str | None,
        mode: str | None,
        folder: Path | None,
    ) -> None:
        self._entity, self._project, self._job_type = entity, project, job_type
        self._given_mode, self._folder = mode, folder

    @functools.cached_property
    def mode(self) -> str:
        """The mode from the option or W&B's settings, but offline if there is no account."""
        wandb = import_wandb()
        mode: str = self._given_mode or wandb.setup().settings.mode
        if mode == "online" and wandb.run is None and not _has_account():
            log.warning(
                "wandb: no account found, so runs are kept offline."
                " To upload them later: wandb login; wandb sync <folder>"
            )
            return "offline"
        return mode

    @property
    def destination(self) -> str:
        """The server or mode, the entity and the project."""
        place = self.server if self.mode in _ONLINE else self.mode
        return f"{place}/{self._entity or ''}/{self._project or ''}"

    @property
    def server(self) -> str:
        """The address of the server."""
        address: str = import_wandb().setup().settings.base_url
        return address

    def open(self, run: RunInfo) -> Any:
        """Return the W&B run with the id of this run: new, resumed, or still open after an attempt that failed.

        Raises:
            OSError: the server does not answer.
            wandb.Error: the server rejects the account, or W&B cannot open the run.
        """
        found = _open.get(run.path)
        if found is None:
            self._reach_server()
            found = self._init(run)
        return found

    def _init(self, run: RunInfo) -> Any:
        wandb = import_wandb()
        with _one_at_a_time, _arguments_of(run), self._nothing_left_on_failure(run):
            opened = _open[run.path] = wandb.init(
                id=run.id,
                resume="allow",
                reinit="create_new",  # any number of runs at once, none of them `wandb.run`
                entity=self._entity,
                project=as_project(self._project or run.project),
                name=run.name,
                notes=run.notes,
                tags=[as_tag(tag) for tag in run.tags if tag] or None,
                group=run.group or run.parent,
                job_type=self._job_type,
                mode=self.mode,
                dir=self._folder or (None if os.environ.get("WANDB_DIR") else run.path),
                settings=_settings(run),
            )
        return opened

    @contextlib.contextmanager
    def _nothing_left_on_failure(self, run: RunInfo) -> Iterator[None]:
        """Undo an `init` that fails: W&B has made a folder by then, and its service keeps the run's id reserved."""
        before = set(self._folders(run))
        try:
            yield
        except BaseException:
            if not _open and run.pid != os.getpid():
                import_wandb().teardown()
            for made in set(self._folders(run)) - before:
                shutil.rmtree(made, ignore_errors=True)
            raise

    def _reach_server(self) -> None:
        """Check that the server answers and accepts the account. W&B itself would try for a minute and a half.

        Raises:
            OSError: the server does not answer.
            wandb.errors.AuthenticationError: the server rejects the account.
        """
        import requests  # W&B depends on it

        if self.mode not in _ONLINE:
            return
        with contextlib.suppress(requests.exceptions.SSLError):  # it answers, and W&B may be set to trust it
            requests.head(self.server, timeout=_TIMEOUT_S)
        wandb = import_wandb()
        try:
            wandb.Api(timeout=_TIMEOUT_S)
        except wandb.errors.AuthenticationError as error:
            raise wandb.errors.AuthenticationError(f"{error}. {REMEDY}") from error

    def close(self, run: RunInfo, opened: Any, exit_code: int) -> None:
        """Close the W&B run. Online, this returns when the server has received everything."""
        _open.pop(run.path, None)
        opened.finish(exit_code)
        if self.mode in _ONLINE:
            for log in self._logs(run):
                _synced(log).touch()

    def is_behind(self, run: RunInfo) -> bool:
        """Return whether the server may be missing rows that a killed process has logged.

        W&B uploads with a delay of some seconds, and not at all after the process has died.
        """
        if self.mode not in _ONLINE or run.path in _open:
            return False
        logs = self._logs(run)
        return not (logs and all(_synced(log).exists() for log in logs))

    def _folders(self, run: RunInfo) -> list[Path]:
        """Return the folders that W&B has made for this run, one by each process, in the mode of this one."""
        home = Path(self._folder or os.environ.get("WANDB_DIR") or run.path)
        start = "run" if self.mode in _ONLINE else "offline-run"
        return list(home.glob(f"*wandb/{start}-*-{run.id}"))

    def _logs(self, run: RunInfo) -> list[Path]:
        return [log for folder in self._folders(run) for log in folder.glob(f"run-{run.id}.wandb")]


def _has_account() -> bool:
    """Return whether W&B has an account, like `wandb.login`, which would also ask the server for the user's name.

    A key that does not have the form of one counts: it is rejected when the run is opened.
    """
    from wandb.errors import AuthenticationError
    from wandb.sdk.wandb_login import _login

    try:
        found: bool = _login(prompt=False, verify=False, _silent=True)[0]
    except AuthenticationError:
        return True
    return found


def _synced(log: Path) -> Path:
    """Return the path of the mark by which `wandb sync` recognises that the server has the whole file."""
    return log.with_name(f"{log.name}.synced")


@contextlib.contextmanager
def _arguments_of(run: RunInfo) -> Iterator[None]:
    """Set `sys.argv` to that of the training: W&B has no other way to get the arguments."""
    own = sys.argv
    if run.pid != os.getpid():
        sys.argv = [*own[:1], *shlex.split(str(run.environment.get("arguments", "")))]
    try:
        yield
    finally:
        sys.argv = own


def _settings(run: RunInfo) -> Any:
    """Return settings with the program, host, commit and process of the training, instead of this process."""
    known = {
        "program": run.environment.get("program"),
        "program_relpath": run.environment.get("program"),
        "host": run.environment.get("host"),
        "git_commit": run.environment.get("git/commit"),
        "git_remote_url": run.environment.get("git/remote"),
    }
    return import_wandb().Settings(
        **{name: value for name, value in known.items() if value},
        disable_git=True,  # another commit may be checked out by now
        console="off",
        quiet=True,
        symlink=False,
        x_stats_pid=run.pid,
        x_stats_track_process_tree=True,
        x_disable_stats=not is_alive(run.pid, run.pid_created),
        x_transaction_log_flush_interval=_FLUSH_S,
    )
