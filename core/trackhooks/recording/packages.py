"""The versions of the packages that a program has imported."""

from __future__ import annotations

import sys

_NAMED = (
    "torch", "torchvision", "torchaudio", "torchmetrics", "triton", "keras", "tensorflow", "jax", "jaxlib",
    "ultralytics", "numpy", "scipy", "sklearn", "pandas", "polars", "transformers", "tokenizers", "datasets",
    "accelerate", "peft", "lightning", "pytorch_lightning", "timm", "albumentations", "cv2", "PIL", "xgboost",
    "lightgbm", "catboost", "optuna", "ray",
)  # fmt: skip
"""Packages that change the results of a training: each has its own entry."""
_OTHERS = "packages"
_LONGEST = 4000


def versions() -> dict[str, str]:
    """Return the versions of what the program has imported so far, without importing anything.

    Well-known packages of machine learning have an entry `package/torch`. All other modules with a `__version__` are in
    one string, `packages`. `package/cuda` (or `package/rocm`) is the one that PyTorch was built for.
    """
    # Only the names are copied: thousands of pairs would set off the collection of garbage, which takes milliseconds.
    names = [name for name in list(sys.modules) if "." not in name and name not in sys.stdlib_module_names]
    found = {name: version for name in names if (version := _version(sys.modules.get(name)))}
    named = {f"package/{name}": found.pop(name) for name in _NAMED if name in found} | _accelerator()
    others = sorted((name, version) for name, version in found.items() if not name.startswith("_"))
    return named | ({_OTHERS: _joined([f"{name} {version}" for name, version in others])} if others else {})


def _version(module: object) -> str | None:
    """Return the version of a module as it is in its namespace: a module may compute attributes, or load itself."""
    try:
        found = object.__getattribute__(module, "__dict__").get("__version__")
    except AttributeError:  # not a module: a program may put anything there
        return None
    return str.__str__(found) if isinstance(found, str) else None


def _accelerator() -> dict[str, str]:
    """Return what PyTorch was built for, if it has been imported. The accelerator is not touched."""
    torch = vars(sys.modules["torch.version"]) if "torch.version" in sys.modules else {}
    found = {"package/cuda": torch.get("cuda"), "package/rocm": torch.get("hip")}
    return {name: version for name, version in found.items() if isinstance(version, str)}


def _joined(entries: list[str]) -> str:
    """Join as many entries as a tag of MLflow can hold."""
    text = ", ".join(entries)
    return text if len(text) <= _LONGEST else text[: text.rindex(", ", 0, _LONGEST)]
