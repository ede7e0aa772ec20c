"""The core of trackhooks: which hooks there are, who listens to them, and how they are fired.

- `vocabulary`: the table of all hooks, in the words of Ultralytics and of Keras
- `callback_list`: `CallbackList`, the registry of callbacks
- `dispatch`: the one path on which a hook is fired; `keras_events` are its entries for Keras loops
- `shared_logs`: the logs that Keras objects get, converted as Keras converts them
- `callback`, `builtin`: the base class of callbacks, and the two that a list can add
- `loop_state`, `views`: what a callback sees of a loop that speaks the other vocabulary
- `metric_names`, `metric_goals`: the names of metrics in both vocabularies, and which values are better
"""
