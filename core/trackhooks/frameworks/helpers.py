"""Helpers from the rest of the core for integrations of frameworks.

- `BY_NAME`: the 25 hooks by name.
- `file(path, kind, **details)`: a `File` to record; raises InvalidValueError if it does not exist.
- `flat_params(params)`: hyper-parameters as they are recorded: nested ones flattened, secrets redacted.
- `prefixed(prefix, name)`: the recorded name of a metric.
- `status_of(error)`: the status and the reason that an exception gives to a run.
- `media`, `settings`, `sizes`: a torch module's summary and graph, an optimizer's settings, a module's sizes.
- `at_default`: the names of the settings that the constructor of a class fills in.
- `array_facts(split, data)`, `loader_facts(split, loader)`: facts about data, such as `data/train/fingerprint`, without
  iterating over them; `fingerprint(parts)`: a hash of bytes; `spread(count, most)`: evenly spread indices.
- `Lookups`, `attempt`, `Failure`: read attributes that may raise anything; `flag`: read a switch such as `stop`;
  `is_a`: `isinstance` for objects that may pretend to have another class, or raise.
- `checked_logs`, `checked_params`, `index`: logs, the parameters of a loop, and an index, as they are recorded; they
  raise InvalidValueError.
- `WeakIdentityDict`: a mapping from models, which need not be hashable or comparable, that does not keep them alive.
"""

from __future__ import annotations

from ..errors.foreign import Failure, attempt, is_a
from ..hooks.callback_list import checked_params
from ..hooks.dispatch import checked_logs
from ..hooks.indices import index
from ..hooks.lookups import Lookups
from ..hooks.metric_names import prefixed
from ..hooks.stop_flags import flag
from ..hooks.vocabulary import BY_NAME
from ..loop.torch_model import media, sizes
from ..loop.torch_optimizer import settings
from ..recording.status import status_of
from ..values.data_facts import array_facts, fingerprint, loader_facts, spread
from ..values.defaults import at_default
from ..values.media import file
from ..values.params import flat_params
from ..values.weak_dict import WeakIdentityDict

__all__ = [
    "BY_NAME", "Failure", "Lookups", "WeakIdentityDict", "array_facts", "at_default", "attempt", "checked_logs",
    "checked_params", "file", "fingerprint", "flag", "flat_params", "index", "is_a", "loader_facts", "media",
    "prefixed", "settings", "sizes", "spread", "status_of",
]  # fmt: skip
