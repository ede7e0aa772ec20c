"""Pictures: what is logged is what one sees, or a warning says how the values were read."""

from __future__ import annotations

import io
import math
from typing import Any

import keras
import numpy as np
import pytest
import torch
from PIL import Image

import trackhooks
from trackhooks import InvalidValueError, Run, TrackhooksWarning
from trackhooks.values.pictures import png

GREY = np.arange(0, 240, dtype=np.uint8).reshape(12, 20)
COLOURS = np.stack([GREY, GREY[::-1], GREY[:, ::-1]], axis=2)
WIDE = GREY.astype(np.uint16) * 257


def shown(image: Any) -> Any:
    """The pixels of the PNG. A warning is an error."""
    return np.asarray(Image.open(io.BytesIO(png(image))))


def reported(image: Any) -> tuple[Any, list[str]]:
    messages: list[str] = []
    data = png(image, messages.append)
    return np.asarray(Image.open(io.BytesIO(data))), messages


RIGHT: dict[str, tuple[Any, Any]] = {
    "uint8": (GREY, GREY),
    "bool": (GREY > 100, (GREY > 100) * 255),
    "ints": (GREY.astype(np.int64), GREY),
    "list": (GREY.tolist(), GREY),
    "floats from 0 to 1": (GREY / 255, GREY),
    "float16": ((GREY / 255).astype(np.float16), GREY),
    "floats from -1 to 1": (GREY / 127.5 - 1, GREY),
    "floats from 0 to 255": (GREY.astype(np.float32), GREY),
    "uint16": (WIDE, GREY),
    "uint16 with values of bytes": (GREY.astype(np.uint16), GREY),
    "big-endian": (WIDE.astype(">u2"), GREY),
    "one brightness": (np.full((2, 2), 0.5), np.full((2, 2), 128)),
    "black": (np.zeros((2, 2)), np.zeros((2, 2))),
    "NaN is black": (np.array([[math.nan, 1.0]]), [[0, 255]]),
    "infinities": (np.array([[-math.inf, 0.5, math.inf]]), [[0, 128, 255]]),
    "rounded beyond the range": (np.array([[-1e-6, 1 + 1e-6]]), [[0, 255]]),
    "colours": (COLOURS / 255, COLOURS),
    "channels first": (COLOURS.transpose(2, 0, 1), COLOURS),
    "one picture of a batch": (COLOURS.transpose(2, 0, 1)[None], COLOURS),
    "one channel": (GREY[None], GREY),
    "one channel last": (GREY[..., None], GREY),
    "tensor": (torch.tensor(COLOURS.transpose(2, 0, 1) / 255), COLOURS),
    "normalised tensor": (torch.tensor(GREY / 127.5 - 1), GREY),
    "bfloat16": (
        torch.tensor(GREY.astype(np.float32), dtype=torch.bfloat16),
        torch.tensor(GREY).bfloat16().int(),
    ),
    "half": (torch.tensor(GREY / 255).half(), GREY),
    "with gradients": (torch.zeros(3, 4, 4, requires_grad=True), np.zeros((4, 4, 3))),
    "uint16 tensor": (torch.tensor(WIDE), GREY),
    "small tensor": (torch.ones(3, 4, 4), np.full((4, 4, 3), 255)),
    "Keras": (keras.ops.convert_to_tensor(GREY / 255), GREY),
    "a variable of Keras": (keras.Variable(GREY / 255), GREY),
    "Keras bfloat16": (keras.ops.convert_to_tensor(GREY, "bfloat16"), torch.tensor(GREY).bfloat16().int()),
    "Pillow": (Image.fromarray(COLOURS), COLOURS),
    "Pillow F from 0 to 1": (Image.fromarray((GREY / 255).astype(np.float32)), GREY),
    "Pillow F from 0 to 255": (Image.fromarray(GREY.astype(np.float32)), GREY),
    "Pillow I": (Image.fromarray(GREY.astype(np.int32)), GREY),
    "Pillow I;16": (Image.fromarray(WIDE), GREY),
}


@pytest.mark.parametrize("kind", RIGHT)
def test_a_picture_looks_as_it_is(kind: str) -> None:
    image, expected = RIGHT[kind]
    assert np.array_equal(shown(image), np.asarray(expected))


@pytest.mark.parametrize(
    ("image", "values"),
    [
        (np.array([[-2.0, 2.5]]), "from -2 to 2.5"),
        (np.array([[-0.1, 0.9]]), "from -0.1 to 0.9"),
        (np.array([[0.0, 1.5]]), "from 0 to 1.5"),
        (np.array([[0.0, 1000.0]]), "from 0 to 1000"),
        (np.array([[-128, 127]], dtype=np.int8), "from -128 to 127"),
        (np.array([[-1, 300]]), "from -1 to 300"),
        (np.array([[0, 4095]], dtype=np.uint16), "from 0 to 4095"),
        (np.array([[0, 2**31]]), "from 0 to 2.14748e[+]09"),
        (Image.fromarray(np.array([[-5, 70_000]], dtype=np.int32)), "from -5 to 70000"),
        (Image.fromarray(np.array([[-5.0, 7.0]], dtype=np.float32)), "from -5 to 7"),
        (torch.tensor([[-5.0, 7.0]]), "from -5 to 7"),
    ],
)
def test_another_range_is_shown_as_a_whole_with_a_warning_that_has_it(image: Any, values: str) -> None:
    pixels, (message,) = reported(image)
    assert pixels.tolist() == [[0, 255]]
    assert values.replace("[+]", "+") in message
    assert "integers from 0 to 255 or floats from 0 to 1" in message


def test_a_range_is_reported_once_for_each_name(run: Run) -> None:
    odd = np.array([[-2.0, 2.5]])
    for name in ("a", "b"):
        with pytest.warns(TrackhooksWarning, match=f"picture '{name}': .*from -2 to 2.5"):
            run.log_image(name, odd)
    run.log_image("a", odd)  # a second warning would be an error
    assert len(trackhooks.journal.read(run.path)) == 3


def test_a_strict_run_refuses_a_range_that_is_not_known(tmp_path: Any) -> None:
    run = trackhooks.run(dir=tmp_path, delivery="off", strict=True)
    with run, pytest.raises(InvalidValueError, match=r"from -2 to 2\.5"):
        run.log_image("a", np.array([[-2.0, 2.5]]))


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "CMYK", "HSV", "YCbCr"]
)
def test_a_picture_of_pillow_looks_as_it_is_in_every_mode(mode: str) -> None:
    whole = Image.new("RGBA", (3, 2), (255, 255, 255, 255))
    via = {"RGBa": "RGBA", "La": "LA", "PA": "P", "HSV": "RGB", "YCbCr": "RGB", "CMYK": "RGB"}.get(
        mode, "RGBA"
    )
    picture = whole.convert(via).convert(mode)
    found = np.asarray(Image.open(io.BytesIO(png(picture))).convert("RGBA"))
    assert np.array_equal(found, np.asarray(whole))


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I;16L"])
def test_a_picture_of_16_bits_is_not_saturated(mode: str) -> None:
    data = WIDE.astype(">u2" if mode.endswith("B") else "<u2").tobytes()
    assert np.array_equal(shown(Image.frombytes(mode, (20, 12), data)), GREY)


def test_the_pictures_of_a_batch_are_logged_one_by_one(run: Run) -> None:
    with pytest.raises(
        InvalidValueError, match=r"got \(2, 3, 8, 8\)\. Log the pictures of a batch one by one"
    ):
        run.log_image("a", torch.zeros(2, 3, 8, 8))
