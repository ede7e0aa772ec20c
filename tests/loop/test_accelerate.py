"""A custom loop whose model, optimizer and data are prepared by accelerate is recorded like any other."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader, TensorDataset

import trackhooks
from trackhooks.storage import journal

pytestmark = pytest.mark.slow


def test_a_prepared_loop_is_recorded_with_the_optimizer_that_was_prepared(tmp_path: Path) -> None:
    torch.manual_seed(0)
    x = torch.randn(12, 4)
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
    net = torch.nn.Linear(4, 1)
    data = DataLoader(TensorDataset(x, x.sum(dim=1, keepdim=True)), batch_size=4)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=0.5, total_iters=100)
    net, optimizer, schedule, data = accelerator.prepare(net, optimizer, schedule, data)
    own: list[float] = []
    steps: list[int] = []
    with trackhooks.run(dir=tmp_path, delivery="off", system=None) as run:
        run.watch(net, optimizer)
        run.add_callback("optimizer_step", lambda _: steps.append(len(own)))
        for _ in run.epochs(2):
            for rows, sums in run.train(data):
                with accelerator.accumulate(net):
                    loss = torch.nn.functional.mse_loss(net(rows), sums)
                    accelerator.backward(loss)
                    optimizer.step()
                    schedule.step()
                    optimizer.zero_grad()
                run.log(loss=loss.detach())
                own.append(loss.item())
    found = journal.read(run.path)
    batches = [event for event in found if event.hook == "on_train_batch_end"]
    assert [event.step for event in batches] == list(range(6))
    assert [event.metrics["train_batch/loss"] for event in batches] == pytest.approx(own)
    assert steps == [1, 2, 4, 5]  # after two batches, and after the last one of an epoch
    settings = {name: value for event in found for name, value in {**event.params, **event.facts}.items()}
    assert settings["optimizer/name"] == "SGD"
    assert settings["data/train/samples"] == 12
    epochs = [event.metrics for event in found if event.hook == "on_fit_epoch_end"]
    assert [epoch["train/loss"] for epoch in epochs] == pytest.approx([sum(own[:3]) / 3, sum(own[3:]) / 3])
    assert [epoch["lr/0"] for epoch in epochs] == pytest.approx([0.05, 0.05])
    assert "zero_grad" not in vars(optimizer.optimizer)
