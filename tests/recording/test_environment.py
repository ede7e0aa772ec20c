"""The environment of a run: packages, hardware and variables, without importing or initializing anything."""

from __future__ import annotations

import gc
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

from trackhooks.recording import environment, hardware, packages


def module(name: str, **attributes: object) -> ModuleType:
    made = ModuleType(name)
    vars(made).update(attributes)
    return made


def imported(monkeypatch: pytest.MonkeyPatch, *modules: ModuleType) -> dict[str, str]:
    """The versions, if these modules and no others have been imported."""
    for name in set(sys.modules) - set(sys.stdlib_module_names):
        if "." not in name or name == "torch.version":
            monkeypatch.delitem(sys.modules, name)
    for made in modules:
        monkeypatch.setitem(sys.modules, made.__name__, made)
    found = packages.versions()
    monkeypatch.undo()
    return found


def test_known_packages_have_an_entry_and_the_others_are_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    modules = [
        module("torch", __version__="2.9.0"),
        module("monai", __version__="1.5"),
        module("attr", __version__="25.1"),
        module("_hidden", __version__="1"),
        module("unversioned"),
        module("json", __version__="2.0.9"),
    ]
    assert imported(monkeypatch, *modules) == {"package/torch": "2.9.0", "packages": "attr 25.1, monai 1.5"}


def test_the_cuda_of_torch_is_known_from_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    found = imported(monkeypatch, module("torch.version", cuda="13.0", hip=None))
    assert found == {"package/cuda": "13.0"}
    assert imported(monkeypatch, module("torch.version", cuda=None, hip="7.0")) == {"package/rocm": "7.0"}


def test_odd_modules_do_no_harm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(name: str) -> None:
        raise RuntimeError(name)

    (tmp_path / "lazy_package.py").write_text("raise AssertionError('was loaded')")
    monkeypatch.syspath_prepend(tmp_path)
    spec = importlib.util.find_spec("lazy_package")
    assert spec is not None
    assert spec.loader is not None
    spec.loader = importlib.util.LazyLoader(spec.loader)
    lazy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(lazy)
    monkeypatch.setitem(sys.modules, "lazy_package", lazy)
    monkeypatch.setitem(sys.modules, "removed", None)
    monkeypatch.setitem(sys.modules, "number", 1.5)
    monkeypatch.setitem(sys.modules, "computed", module("computed", __getattr__=refuse))
    monkeypatch.setitem(sys.modules, "tuples", module("tuples", __version__=(1, 2)))
    found = packages.versions()["packages"]
    assert not {"lazy_package", "removed", "number", "computed", "tuples"} & set(
        found.replace(",", "").split()
    )


def test_hundreds_of_packages_are_cut_off_between_two(monkeypatch: pytest.MonkeyPatch) -> None:
    many = [module(f"package{number:04}", __version__="1.0") for number in range(1000)]
    found = imported(monkeypatch, *many)["packages"]
    assert 3900 < len(found) <= 4000
    assert found.endswith(" 1.0")


def test_thousands_of_modules_set_off_no_garbage_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5000):
        monkeypatch.setitem(sys.modules, f"large.part{number}", module(f"large.part{number}"))
    threshold, collected = gc.get_threshold(), []
    gc.collect()
    gc.callbacks.append(collect := lambda phase, details: collected.append(details))
    gc.set_threshold(700, 10, 10)  # those of Python
    try:
        packages.versions()
    finally:
        gc.set_threshold(*threshold)
        gc.callbacks.remove(collect)
    assert collected == []


def test_the_versions_of_the_packages_of_this_process_are_recorded() -> None:
    import numpy as np

    assert environment.capture()["package/numpy"] == np.__version__


def test_variables_that_change_the_results_are_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)
    found = environment.capture()
    assert found["variable/CUDA_VISIBLE_DEVICES"] == "2,3"
    assert "variable/PYTHONHASHSEED" not in found


def test_the_machine_is_described() -> None:
    found = hardware.hardware()
    assert found["cpus"] == os.cpu_count()
    memory = found["memory_gib"]
    assert isinstance(memory, float)
    assert memory > 0.1
    if sys.platform == "linux":
        assert found["cpus/usable"] == len(os.sched_getaffinity(0))


def test_the_processor_is_named_as_the_kernel_does(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text(
        "processor\t: 0\nmodel\t\t: 17\nmodel name\t: AMD EPYC 9654 96-Core Processor\nstepping\t: 1\n"
    )
    assert hardware.cpu_model(info) == "AMD EPYC 9654 96-Core Processor"
    info.write_text("processor\t: 0\nBogoMIPS\t: 50.00\n")  # as on ARM
    assert hardware.cpu_model(info) is None
    assert hardware.cpu_model(tmp_path / "missing") is None


def test_gpus_are_counted_by_their_models(tmp_path: Path) -> None:
    models = ["NVIDIA H100 80GB HBM3", "NVIDIA H100 80GB HBM3", "NVIDIA A100-SXM4-40GB"]
    for number, model in enumerate(models):
        information = tmp_path / "gpus" / f"0000:0{number}:00.0" / "information"
        information.parent.mkdir(parents=True)
        information.write_text(f"Model: \t\t {model}\nIRQ:   \t\t 42\nGPU UUID: \t GPU-1\n")
    (tmp_path / "version").write_text(
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build  (dvs)  Tue Sep 23\n"
        "GCC version:  gcc version 12.3.0 (Ubuntu 12.3.0-1ubuntu1~22.04)\n"
    )
    assert hardware.gpus(tmp_path) == "2 × NVIDIA H100 80GB HBM3, NVIDIA A100-SXM4-40GB"
    assert hardware.driver(tmp_path) == "580.95.05"


def test_without_the_driver_there_is_no_gpu(tmp_path: Path) -> None:
    assert hardware.gpus(tmp_path) is None
    assert hardware.driver(tmp_path) is None
