"""One callback hears every loop: a real Keras callback stops a PyTorch loop, and a function stops a Keras fit.

Run: KERAS_BACKEND=torch python examples/one_callback_every_loop.py
"""

from __future__ import annotations

from typing import Any

import keras
from sklearn.datasets import load_digits

import trackhooks


def stop_when_good(trainer: Any) -> None:
    """Written as for Ultralytics: it gets an object with `epoch`, `metrics`, `stop`, …"""
    print(f"epoch {trainer.epoch}: loss {trainer.metrics['train/loss']:.3f}")
    trainer.stop = trainer.metrics["train/loss"] < 0.5


def in_pytorch_style() -> int:
    """Keras' EarlyStopping ends a custom loop."""
    with trackhooks.run("csv", name="own-loop") as run:
        run.callbacks.append(keras.callbacks.EarlyStopping(monitor="loss", mode="min", patience=2))
        for epoch in run.epochs(100):
            for _batch in run.train(range(5)):
                run.log(loss=max(1.0 - 0.2 * epoch, 0.4))
    return epoch + 1


def in_keras() -> int:
    """The function ends a Keras fit."""
    x, y = load_digits(return_X_y=True)
    model = keras.Sequential(
        [keras.Input((64,)), keras.layers.Dense(32, "relu"), keras.layers.Dense(10, "softmax")]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    with trackhooks.run("csv", name="keras") as run:
        run.add_callback("on_fit_epoch_end", stop_when_good)
        history = model.fit(x / 16, y, epochs=100, verbose=0, callbacks=[run.keras])
    return len(history.epoch)


if __name__ == "__main__":
    print(f"Keras' EarlyStopping stopped the loop after {in_pytorch_style()} of 100 epochs.")
    print(f"The function stopped the fit after {in_keras()} of 100 epochs.")
    print(trackhooks.compare(["runs/own-loop", "runs/keras"]))
