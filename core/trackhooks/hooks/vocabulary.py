"""The two callback vocabularies in one table: every hook, its Keras name, its arguments, and when it fires.

The 25 names of Ultralytics are the canonical ones, because they are the superset. This is the loop, with each hook
in its place and followed by its Keras name, if it has one::

    on_pretrain_routine_start
    <the model, the data and the optimizer are built>
    on_pretrain_routine_end
    on_train_start                                      # on_train_begin
    for epoch in range(epochs):
        on_train_epoch_start                            # on_epoch_begin
        for batch in train_data:
            on_train_batch_start                        # on_train_batch_begin
            <forward, backward>
            optimizer_step
            on_before_zero_grad
            on_train_batch_end                          # on_train_batch_end
        on_train_epoch_end
        on_val_start                                    # on_test_begin
        for batch in val_data:
            on_val_batch_start                          # on_test_batch_begin
            <forward>
            on_val_batch_end                            # on_test_batch_end
        on_val_end                                      # on_test_end
        on_model_save                                   # when the loop saves a checkpoint
        on_fit_epoch_end                                # on_epoch_end
    on_train_end                                        # on_train_end
    teardown                                            # also after an exception

    on_params_update                                    # whenever weights are replaced: loaded, averaged

    on_predict_start                                    # on_predict_begin
    for batch in data:
        on_predict_batch_start                          # on_predict_batch_begin
        <forward>
        on_predict_postprocess_end
        on_predict_batch_end                            # on_predict_batch_end
    on_predict_end                                      # on_predict_end

    on_export_start
    <the model is converted and written>
    on_export_end

Sources: the Ultralytics callbacks page and its ``callbacks/base.py``; ``keras.callbacks.Callback``.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from ..event import Event

Source = Literal["trainer", "validator", "predictor", "exporter"]
Axis = Literal["step", "epoch"]


class Hook(NamedTuple):
    """One row of the table."""

    name: str
    """The canonical name, which is that of Ultralytics. A function is registered by it and gets one object."""
    source: Source
    """The kind of object that the function gets."""
    keras: str | None
    """The Keras name, or None if Keras does not have this event."""
    keras_args: tuple[str, ...]
    """The arguments of a Keras callback's method."""
    when: str
    """When it fires."""
    axis: Axis = "epoch"
    """What its metrics are plotted over: training batches or epochs."""
    journaled: bool = True
    """Whether it is always recorded in the journal, rather than only on request."""


_LOGS = ("logs",)
_EPOCH = ("epoch", "logs")
_BATCH = ("batch", "logs")

HOOKS: Final = (
    Hook("on_pretrain_routine_start", "trainer", None, (), "before the model, data and optimizer are built"),
    Hook(
        "on_pretrain_routine_end", "trainer", None, (), "when the model, data and optimizer have been built"
    ),
    Hook("on_train_start", "trainer", "on_train_begin", _LOGS, "before the first epoch"),
    Hook("on_train_epoch_start", "trainer", "on_epoch_begin", _EPOCH, "before the first batch of an epoch"),
    Hook(
        "on_train_batch_start",
        "trainer",
        "on_train_batch_begin",
        _BATCH,
        "before a training batch",
        "step",
        False,
    ),
    Hook("optimizer_step", "trainer", None, (), "when the optimizer has stepped", "step", False),
    Hook("on_before_zero_grad", "trainer", None, (), "before the gradients are cleared", "step", False),
    Hook("on_train_batch_end", "trainer", "on_train_batch_end", _BATCH, "after a training batch", "step"),
    Hook(
        "on_train_epoch_end",
        "trainer",
        None,
        (),
        "after the last training batch of an epoch, before its validation",
    ),
    Hook(
        "on_fit_epoch_end",
        "trainer",
        "on_epoch_end",
        _EPOCH,
        "at the end of an epoch, after its validation",
    ),
    Hook("on_model_save", "trainer", None, (), "when a checkpoint has been saved"),
    Hook("on_train_end", "trainer", "on_train_end", _LOGS, "after the last epoch"),
    Hook("on_params_update", "trainer", None, (), "when weights were replaced: loaded, averaged", "step"),
    Hook("teardown", "trainer", None, (), "when the training is cleaned up, also after an exception"),
    Hook("on_val_start", "validator", "on_test_begin", _LOGS, "before a validation or an evaluation"),
    Hook(
        "on_val_batch_start",
        "validator",
        "on_test_batch_begin",
        _BATCH,
        "before a validation batch",
        "step",
        False,
    ),
    Hook(
        "on_val_batch_end",
        "validator",
        "on_test_batch_end",
        _BATCH,
        "after a validation batch",
        "step",
        False,
    ),
    Hook("on_val_end", "validator", "on_test_end", _LOGS, "after a validation or an evaluation"),
    Hook("on_predict_start", "predictor", "on_predict_begin", _LOGS, "before a prediction", "step"),
    Hook(
        "on_predict_batch_start",
        "predictor",
        "on_predict_batch_begin",
        _BATCH,
        "before a batch is predicted",
        "step",
        False,
    ),
    Hook(
        "on_predict_postprocess_end",
        "predictor",
        None,
        (),
        "when the raw outputs of a batch have become results",
        "step",
        False,
    ),
    Hook(
        "on_predict_batch_end",
        "predictor",
        "on_predict_batch_end",
        _BATCH,
        "after a batch is predicted",
        "step",
        False,
    ),
    Hook("on_predict_end", "predictor", "on_predict_end", _LOGS, "after a prediction", "step"),
    Hook("on_export_start", "exporter", None, (), "before a model is exported", "step"),
    Hook("on_export_end", "exporter", None, (), "when the exported file has been written", "step"),
)
"""The 25 hooks, in the order of the Ultralytics document."""

BY_NAME: Final = {hook.name: hook for hook in HOOKS}
"""Canonical name → row."""

FROM_KERAS: Final = {hook.keras: hook.name for hook in HOOKS if hook.keras}
"""Keras name → canonical name: the 14 events."""

KERAS_ALIASES: Final = {"on_batch_begin": "on_train_batch_begin", "on_batch_end": "on_train_batch_end"}
"""The aliases that Keras keeps for compatibility: its base class calls them from the event."""

KERAS_SETTERS: Final = ("set_model", "set_params")
"""Methods that a Keras list calls before its events. They only store a value."""

COLLIDING: Final = frozenset(FROM_KERAS).intersection(BY_NAME)
"""The names that are in both vocabularies, with different arguments."""

LOG: Final = "log"
"""The `hook` of an event that the user logged directly. It is not a hook of either vocabulary."""


def axis_of(event: Event) -> Axis:
    """Return the axis over which the metrics of an event are plotted.

    Outside of epochs that is always the step, and so it is for an event that has a batch: a validation between the
    batches of an epoch.
    """
    hook = BY_NAME.get(event.hook)
    return "epoch" if hook is not None and hook.axis == "epoch" and event.batch < 0 <= event.epoch else "step"
