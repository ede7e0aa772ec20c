"""Train a small YOLO to find circles and squares, evaluate it, export it; one line has all of it recorded.

Run: python examples/ultralytics_train.py
The pictures are drawn here, and the weights start at random: nothing is downloaded. It takes about a minute.
"""

import random
from pathlib import Path

from PIL import Image, ImageDraw
from ultralytics import YOLO

import trackhooks

trackhooks.enable("csv", "tensorboard", project="shapes")  # the line

SIZE = 64


def draw_shapes(folder: Path, part: str, count: int) -> None:
    """Draws pictures with one shape each, and writes their labels: class, centre and size as parts of the picture."""
    images, labels = folder / "images" / part, folder / "labels" / part
    images.mkdir(parents=True, exist_ok=True)
    labels.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        side = random.randint(SIZE // 3, SIZE // 2)
        left, top = random.randint(0, SIZE - side), random.randint(0, SIZE - side)
        kind = number % 2
        picture = Image.new("RGB", (SIZE, SIZE), "white")
        pen = ImageDraw.Draw(picture)
        draw = pen.rectangle if kind else pen.ellipse
        draw((left, top, left + side, top + side), fill=random.choice(["red", "green", "blue"]))
        picture.save(images / f"{number}.png")
        box = (left + side / 2, top + side / 2, side, side)
        (labels / f"{number}.txt").write_text(f"{kind} " + " ".join(f"{place / SIZE:.4f}" for place in box))


random.seed(0)
data = Path("shapes").absolute()
draw_shapes(data, "train", 64)
draw_shapes(data, "val", 16)
places = f"path: {data}\ntrain: images/train\nval: images/val\n"
(data / "shapes.yaml").write_text(f"{places}names: [circle, square]\n")

model = YOLO("yolo11n.yaml")
model.train(
    data=data / "shapes.yaml", project=data, epochs=10, imgsz=SIZE, batch=8, nbs=8, optimizer="AdamW", lr0=0.002,
    warmup_epochs=1, mosaic=0.0, workers=0, pretrained=False, amp=False,
)  # fmt: skip

metrics = model.val(data=data / "shapes.yaml", project=data, imgsz=SIZE)
print(f"mAP50 on the validation pictures: {metrics.box.map50:.3f}")
for result in model.predict(data / "images" / "val", imgsz=SIZE, stream=True, verbose=False):
    print(f"{Path(result.path).name}: {len(result.boxes)} found")
model.export(format="torchscript", imgsz=SIZE)
