"""`Opening`: how runs are opened in W&B: offline or online, once in a process, as the training's and not as ours."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shlex
import sys
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from trackhooks.errors import log
from trackhooks.event import RunInfo

_FLUSH_S = 0.1
"""How often W&B writes what it was given; its own 15 seconds would be a long wait for a `flush`."""
_TIMEOUT_S = 5
_LONGEST_TAG = 64
_ONLINE = ("online", "shared")
_one_at_a_time = threading.Lock()

_open: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()
"""By its folder, what this process has open in W&B, which takes a run only once: a new attempt goes on with it."""


def import_wandb() -> Any:
    """W&B, with a service of its own: that of a training which uses W&B itself would end with the training."""
    if "wandb" not in sys.modules:
        os.environ.pop("WANDB_SERVICE", None)
    import wandb

    return wandb


class Opening:
    """Opens runs.

    Args:
        entity: None for W&B's own settings, as everywhere here.
        project: instead of the run's.
        job_type: such as `"train"`.
        mode: `"online"`, `"offline"`, `"shared"` or `"disabled"`.
        folder: where W&B makes its `wandb`, instead of in the run's own folder.
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
        """As W&B's settings have it; offline where W&B would ask for an account."""
        wandb = import_wandb()
        mode: str = self._given_mode or wandb.setup().settings.mode
        if mode == "online" and wandb.run is None and not _has_account():
            log.warning(
                "wandb: no account here, so runs are kept offline. Later: wandb login; wandb sync <folder>"
            )
            return "offline"
        return mode

    @property
    def destination(self) -> str:
        """What it opens runs in: offline and online are two things, and so are projects."""
        online = self.mode in _ONLINE
        where = import_wandb().setup().settings.base_url if online else self.mode
        return f"{where}/{self._entity or ''}/{self._project or ''}"

    def open(self, run: RunInfo) -> Any:
        """The W&B run with the id of this one, new or resumed, or left open by an attempt that failed.

        Raises:
            OSError: the server does not answer.
            wandb.Error: it does not know the account, or W&B cannot open the run.
        """
        found = _open.get(run.path)
        if found is None:
            self._reach_server()
            found = self._init(run)
        return found

    def _init(self, run: RunInfo) -> Any:
        wandb = import_wandb()
        project = self._project or run.project
        with _one_at_a_time, _arguments_of(run), _starting_over(run):
            opened = _open[run.path] = wandb.init(
                id=run.id,
                resume="allow",
                reinit="create_new",  # any number of runs at once, none of them `wandb.run`
                entity=self._entity,
                project=re.sub(r"[/\\#?%:]", "-", project)[:128] if project else None,
                name=run.name,
                notes=run.notes,
                tags=[tag[:_LONGEST_TAG] for tag in run.tags if tag] or None,
                group=run.group or run.parent,
                job_type=self._job_type,
                mode=self.mode,
                dir=self._folder or (None if os.environ.get("WANDB_DIR") else run.path),
                settings=_settings(run),
            )
        return opened

    def _reach_server(self) -> None:
        """Asks the server who we are: W&B itself would ask for a minute and a half.

        Raises:
            OSError: it does not answer.
            wandb.errors.AuthenticationError: it does not know the account.
        """
        import requests  # W&B's own means

        if self.mode not in _ONLINE:
            return
        wandb = import_wandb()
        with contextlib.suppress(requests.exceptions.SSLError):  # it answers, and W&B may be told to trust it
            requests.head(wandb.setup().settings.base_url, timeout=_TIMEOUT_S)
        try:
            wandb.Api(timeout=_TIMEOUT_S)
        except wandb.errors.AuthenticationError as error:
            hint = "Check WANDB_API_KEY, or run: wandb login --relogin"
            raise wandb.errors.AuthenticationError(f"{error}. {hint}") from error

    def close(self, run: RunInfo, opened: Any, exit_code: int) -> None:
        """Ends the W&B run; online, W&B returns when the server has everything."""
        _open.pop(run.path, None)
        opened.finish(exit_code)
        if self.mode in _ONLINE:
            for log in self._logs(run):
                _synced(log).touch()

    def is_behind(self, run: RunInfo) -> bool:
        """Whether a process that was killed may have given W&B what the server has not got.

        W&B uploads some seconds behind, and not at all once the process is gone.
        """
        if self.mode not in _ONLINE or run.path in _open:
            return False
        logs = self._logs(run)
        return not (logs and all(_synced(log).exists() for log in logs))

    def _logs(self, run: RunInfo) -> list[Path]:
        home = Path(self._folder or os.environ.get("WANDB_DIR") or run.path)
        return list(home.glob(f"*wandb/run-*-{run.id}/run-{run.id}.wandb"))


def _has_account() -> bool:
    """Whether W&B has been told an account, as `wandb.login` finds it: that one asks the server for the user's name."""
    from wandb.sdk.wandb_login import _login

    found: bool = _login(prompt=False, verify=False, _silent=True)[0]
    return found


def _synced(log: Path) -> Path:
    """The mark of `wandb sync`: the server has all of this."""
    return log.with_name(f"{log.name}.synced")


@contextlib.contextmanager
def _arguments_of(run: RunInfo) -> Iterator[None]:
    """`sys.argv` as the training's: W&B takes the arguments from there, and from nowhere else."""
    own = sys.argv
    if run.pid != os.getpid():
        sys.argv = [*own[:1], *shlex.split(str(run.environment.get("arguments", "")))]
    try:
        yield
    finally:
        sys.argv = own


@contextlib.contextmanager
def _starting_over(run: RunInfo) -> Iterator[None]:
    """An `init` that failed leaves the run's id taken while W&B's service lives: it ends, if nobody else needs it."""
    try:
        yield
    except BaseException:
        if not _open and run.pid != os.getpid():
            import_wandb().teardown()
        raise


def _settings(run: RunInfo) -> Any:
    """The training's program, host, commit and process, instead of this one's."""
    known = {
        "program": run.environment.get("program"),
        "program_relpath": run.environment.get("program"),
        "host": run.environment.get("host"),
        "git_commit": run.environment.get("git/commit"),
        "git_remote_url": run.environment.get("git/remote"),
    }
    return import_wandb().Settings(
        **{name: value for name, value in known.items() if value},
        disable_git=True,  # what is checked out now may be another commit
        console="off",
        quiet=True,
        symlink=False,
        x_stats_pid=run.pid,
        x_stats_track_process_tree=True,
        x_disable_stats=not _is_alive(run),
        x_transaction_log_flush_interval=_FLUSH_S,
    )


def _is_alive(run: RunInfo) -> bool:
    """Whether the training's process is there to be measured."""
    try:
        return abs(psutil.Process(run.pid).create_time() - run.pid_created) < 1
    except psutil.Error:
        return False
