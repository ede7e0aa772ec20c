"""A framework of forty lines: fits a line by gradient descent, and tells its listeners what it does."""

import json
import random


def tell(listeners, trainer, event, **values):
    for listener in listeners:
        listener(trainer, event, values)


class Trainer:
    def __init__(self, rate=0.1):
        self.rate, self.slope, self.stop, self.epoch = rate, 0.0, False, 0

    def fit(self, data, epochs, start=0, listeners=()):
        self.stop = False
        tell(listeners, self, "train_start", epochs=epochs, steps=len(data))
        for self.epoch in range(start, epochs):
            tell(listeners, self, "train_epoch_start")
            batches = range(len(data))
            losses = [self.step(batch, random.choice(data), listeners) for batch in batches]
            tell(listeners, self, "train_epoch_end", loss=sum(losses) / len(losses))
            val_loss = self._evaluate(data, listeners)
            tell(listeners, self, "fit_epoch_end", loss=sum(losses) / len(losses), val_loss=val_loss)
            if self.stop:
                break
        tell(listeners, self, "train_end")

    def step(self, batch, pair, listeners):
        tell(listeners, self, "train_batch_start", batch=batch)
        error = self.slope * pair[0] - pair[1]
        self.slope -= self.rate * error * pair[0]
        tell(listeners, self, "train_batch_end", batch=batch, loss=error**2)
        return error**2

    def evaluate(self, data, listeners=()):
        return self._evaluate(data, listeners)

    def _evaluate(self, data, listeners):
        tell(listeners, self, "val_start")
        loss = sum((self.slope * x - y) ** 2 for x, y in data) / len(data)
        tell(listeners, self, "val_end", loss=loss)
        return loss

    def save(self, path):
        path.write_text(json.dumps({"slope": self.slope}))
