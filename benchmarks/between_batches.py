"""What the hooks of a batch cost between two real batches, when the caches are cold, beside their floor there.

Run: python benchmarks/between_batches.py [--rounds 60] [--metrics 1,3,30] [--loops torch,keras,named]
     [--against CHECKOUT] [--json]

A model trains with one thread, 2 to 4 ms a batch. After each batch comes one of the candidates, in turns of 20 batches:
nothing; the floor (encode, checksum, one `os.write`); the hooks. So all of them meet the same machine and the same
caches. The loops: one of PyTorch with `run.train` and `run.log`, where the metrics are floats or tensors on the CPU; a
`fit` of Keras; and a loop that fires the hooks by name. The ratio is that of the medians, less those of nothing, which
is what the clock and the `for` loop take. Tensors have a floor with `item()`.

`--against` measures another checkout of trackhooks in the same run, in the loops of PyTorch.
"""

from __future__ import annotations

import importlib
import os
import statistics
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ["TRACKHOOKS_DELIVERY"] = "off"

from measuring import arguments
from results import Results

BLOCK = 20
"""How many batches a candidate has in turn; the first of them does not count."""
SAMPLES = 64
NOTHING, FLOOR, TENSOR_FLOOR = "nothing", "floor", "floor, tensors"

LOOPS = {
    "torch": "PyTorch, `run.train` and `run.log`",
    "keras": "Keras, `fit`",
    "named": "Hooks by name, in a loop of PyTorch",
}

Logs = dict[str, Any]
Call = Callable[[Logs], None]


def nothing(plain: Iterator[int]) -> Call:
    """The next step of a `for` loop."""

    def call(logs: Logs) -> None:
        next(plain)

    return call


def floor(folder: Path, plain: Iterator[int], tensors: bool = False) -> Call:
    """Encode, checksum, one write."""
    encode, crc32 = importlib.import_module("msgspec").msgpack.Encoder().encode, zlib.crc32
    file = os.open(folder / f"floor-{tensors}", os.O_CREAT | os.O_WRONLY | os.O_APPEND)

    def call(logs: Logs) -> None:
        step = next(plain)
        if tensors:
            logs = {name: value.item() for name, value in logs.items()}
        payload = encode(
            {"hook": "on_train_batch_end", "index": step, "time": time.time(), "step": step, "metrics": logs}
        )
        os.write(file, crc32(payload).to_bytes(4, "little") + payload)

    return call


def logged(run: Any, batch: Any) -> Call:
    """`run.log` in a loop over `run.train`, to the start of the next batch."""
    epochs = iter(run.epochs(1))
    next(epochs)
    batches = iter(run.train([batch] * 1_000_000))
    next(batches)

    def call(logs: Logs, log: Callable[..., None] = run.log, keep: Any = epochs) -> None:
        log(**logs)
        next(batches)

    return call


def named(run: Any) -> Call:
    """Both hooks of a batch, fired by name in a loop of its own."""
    fire = run.run_callbacks
    fire("on_train_start")
    fire("on_train_epoch_start", epoch=0)
    steps = iter(range(1_000_000_000))

    def call(logs: Logs) -> None:
        step = next(steps)
        fire("on_train_batch_end", None, logs, batch=step)
        fire("on_train_batch_start", batch=step + 1)

    return call


def imported(checkout: Path | None) -> Any:
    """`trackhooks` of this or another checkout, afresh: what was imported before stays with those who have it."""
    for name in [
        name for name in sys.modules if name.split(".")[0] in ("trackhooks", "trackhooks_integrations")
    ]:
        del sys.modules[name]
    added = [] if checkout is None else [str(checkout / "core"), str(checkout / "integrations")]
    sys.path[:0] = added
    try:
        return importlib.import_module("trackhooks")
    finally:
        sys.path[:] = sys.path[len(added) :]


class Spent:
    """The nanoseconds of each candidate's batches."""

    def __init__(self, candidates: list[str]) -> None:
        self._candidates = candidates
        self.of: dict[str, list[int]] = {name: [] for name in candidates}

    def turn(self, batch: int) -> str:
        """Whose turn it is after this batch."""
        return self._candidates[batch // BLOCK % len(self._candidates)]

    def add(self, batch: int, nanoseconds: int) -> None:
        """Of one batch. The first round and the first batch of a turn only warm up."""
        if batch >= BLOCK * len(self._candidates) and batch % BLOCK:
            self.of[self.turn(batch)].append(nanoseconds)

    def medians(self) -> Iterator[tuple[str, float, float]]:
        """Each candidate, its median in microseconds, and how often that is the floor's."""
        of = {name: statistics.median(times) / 1000 for name, times in self.of.items()}
        for name, median in of.items():
            base = of[TENSOR_FLOOR if "tensors" in name else FLOOR]
            yield name, median, (median - of[NOTHING]) / (base - of[NOTHING])


def network() -> tuple[Callable[[], Any], Any]:
    """One training step of a small net, which returns the loss, and the batch that it takes."""
    import torch

    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 16, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(16, 16, 3, padding=1), torch.nn.ReLU(),
        torch.nn.Flatten(), torch.nn.Linear(1024, 10),
    )  # fmt: skip
    optimizer = torch.optim.Adam(net.parameters())
    x, y = torch.rand(SAMPLES, 1, 8, 8), torch.randint(0, 10, (SAMPLES,))

    def step() -> Any:
        optimizer.zero_grad()
        loss: Any = torch.nn.functional.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step, (x, y)


def in_torch(folder: Path, metrics: int, rounds: int, against: Path | None, by_name: bool) -> Spent:
    """A loop of PyTorch; by name, or with `run.train`, where the metrics are floats or tensors."""
    step, batch = network()
    plain = iter(range(1_000_000_000))
    calls = {NOTHING: nothing(plain), FLOOR: floor(folder, plain)}
    if not by_name:
        calls[TENSOR_FLOOR] = floor(folder, plain, tensors=True)
    runs = []
    for place, version in enumerate([None] if against is None else [None, against]):
        trackhooks = imported(version)
        for kind in ("floats",) if by_name else ("floats", "tensors"):
            runs.append(trackhooks.run(dir=folder, name=f"{metrics}-{place}-{by_name}-{kind}"))
            what = f"hooks, {kind}{', other checkout' if version else ''}"
            calls[what] = named(runs[-1]) if by_name else logged(runs[-1], batch)
    names = [f"metric_{number}" for number in range(metrics)]
    spent = Spent(list(calls))
    for number in range(rounds * BLOCK * len(calls)):
        turn = spent.turn(number)
        loss = step()
        logs = dict.fromkeys(names, loss if "tensors" in turn else loss.item())
        call = calls[turn]
        start = time.perf_counter_ns()
        call(logs)
        spent.add(number, time.perf_counter_ns() - start)
    for run in runs:
        run.close()
    return spent


def in_keras(folder: Path, metrics: int, rounds: int) -> Spent:
    """A `fit` of Keras, whose callback gives each batch to the candidate whose turn it is."""
    import keras
    import numpy as np

    run = imported(None).run(dir=folder, name=f"{metrics}-keras")
    plain = iter(range(1_000_000_000))
    ours, spent = run.keras, Spent([NOTHING, FLOOR, "hooks, floats"])
    ends = {NOTHING: nothing(plain), FLOOR: floor(folder, plain)}
    names = [f"metric_{number}" for number in range(metrics)]

    class Turns(keras.callbacks.Callback):  # type: ignore[misc]  # Keras is not typed
        def __getattribute__(self, name: str) -> Any:
            others = name.startswith(("on_", "set_")) and "train_batch" not in name
            return getattr(ours, name) if others else super().__getattribute__(name)

        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            self.took = 0
            if spent.turn(batch) not in ends:
                start = time.perf_counter_ns()
                ours.on_train_batch_begin(batch, logs)
                self.took = time.perf_counter_ns() - start

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            end, logs = ends.get(spent.turn(batch)), dict.fromkeys(names, float(logs["loss"]))
            start = time.perf_counter_ns()
            if end is None:
                ours.on_train_batch_end(batch, logs)
            else:
                end(logs)
            spent.add(batch, self.took + time.perf_counter_ns() - start)

    layers = keras.layers
    model = keras.Sequential(
        [layers.Input((8, 8, 1)), layers.Conv2D(16, 3, padding="same", activation="relu"), layers.Flatten(),
         layers.Dense(10)]
    )  # fmt: skip
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    batches = rounds * BLOCK * 3
    x, y = np.random.rand(SAMPLES, 8, 8, 1).astype("float32"), np.random.randint(0, 10, SAMPLES)
    again = (pair for pair in [(x, y)] * batches)
    model.fit(again, steps_per_epoch=batches, epochs=1, verbose=0, callbacks=[Turns()])
    run.close()
    return spent


def main() -> None:
    """Measures and prints."""
    parser = arguments(__doc__, 60, f"turns of {BLOCK} batches of each candidate")
    parser.add_argument("--metrics", default="1,3,30", help="how many metrics are logged, one after another")
    parser.add_argument("--loops", default="torch,keras,named", help="which of them")
    parser.add_argument("--against", type=Path, help="another checkout, which is measured as well")
    chosen = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    results = Results("between_batches", chosen.json)
    for loop in chosen.loops.split(","):
        rows: list[tuple[str, ...]] = []
        ratios: dict[int, float] = {}
        for metrics in map(int, chosen.metrics.split(",")):
            with tempfile.TemporaryDirectory() as directory:
                spent = measure(loop, Path(directory), metrics, chosen.rounds, chosen.against)
            rows += [(str(metrics), what, f"{us:.1f}", f"{ratio:.2f}") for what, us, ratio in spent.medians()]
            ratios[metrics] = next(ratio for what, _, ratio in spent.medians() if what == "hooks, floats")
        results.table(LOOPS[loop], ("metrics", "", "median µs", "× floor"), rows)
        if loop == "torch":
            claim = "hooks of a batch with one `run.log`, times the floor there"
            results.promise("Between real batches", claim, next(iter(ratios.values())), at_most=1.5, unit="×")
    results.end()


def measure(loop: str, folder: Path, metrics: int, rounds: int, against: Path | None) -> Spent:
    """One loop with so many metrics."""
    if loop == "keras":
        return in_keras(folder, metrics, rounds)
    return in_torch(folder, metrics, rounds, against, loop == "named")


if __name__ == "__main__":
    main()
