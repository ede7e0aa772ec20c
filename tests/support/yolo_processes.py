"""A trainer that Ultralytics launches in two processes without a GPU: they are connected by gloo.

Ultralytics' own code launches them, hands the callbacks over and trains; what is changed is only what asks for CUDA:
the gradients are not averaged, and the best checkpoint is not evaluated at the end.
"""

from __future__ import annotations

from typing import Any

import torch.distributed
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.utils import LOCAL_RANK


class TwoProcesses(DetectionTrainer):  # type: ignore[misc]
    """A detection's trainer in two processes."""

    @property
    def ddp(self) -> bool:
        """Whether this process only launches the others."""
        return bool(LOCAL_RANK == -1)

    @ddp.setter
    def ddp(self, value: bool) -> None: ...

    @property
    def world_size(self) -> int:
        """How many are launched; in each of them, one."""
        return 2 if self.ddp else 1

    @world_size.setter
    def world_size(self, value: int) -> None: ...

    def _do_train(self, *args: Any) -> None:
        torch.distributed.init_process_group("gloo")
        try:
            super()._do_train(*args)
        finally:
            torch.distributed.destroy_process_group()

    def final_eval(self) -> None:
        """Would look for the GPU of this process."""
