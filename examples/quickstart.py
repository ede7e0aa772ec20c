"""Train a PyTorch classifier on real data, log it with one line, and compare two learning rates.

Run: python examples/quickstart.py
The data are scikit-learn's digits: 1797 images of 8×8 pixels, which ship inside of the package.
"""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

import trackhooks

TRACKERS = ("csv", "tensorboard", "mlflow", "wandb")  # W&B needs no account: without one it stays offline
EPOCHS = 10


def loaders() -> tuple[DataLoader, DataLoader]:
    """The digits as batches to train on and batches to validate on."""
    images, labels = load_digits(return_X_y=True)
    data = TensorDataset(torch.tensor(images, dtype=torch.float32) / 16, torch.tensor(labels))
    train, validation = random_split(data, [0.8, 0.2], generator=torch.Generator().manual_seed(0))
    return DataLoader(train, batch_size=64, shuffle=True), DataLoader(validation, batch_size=256)


def train(lr: float) -> trackhooks.Run:
    """Trains one classifier; the lines with `run` are all that the tracking takes."""
    torch.manual_seed(0)
    train_batches, validation_batches = loaders()
    net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.SGD(net.parameters(), lr=lr)
    criterion = nn.CrossEntropyLoss()

    with trackhooks.run(
        *TRACKERS,
        project="digits",
        name=f"lr={lr}",
        params={"lr": lr, "epochs": EPOCHS},
        wandb={"dir": "runs"},  # one folder for both runs, so that W&B's dashboard compares them
    ) as run:
        run.watch(net, optimizer)
        for _epoch in run.epochs(EPOCHS):
            net.train()
            for x, y in run.train(train_batches):
                optimizer.zero_grad()
                scores = net(x)
                loss = criterion(scores, y)
                loss.backward()
                optimizer.step()
                run.log(loss=loss, accuracy=(scores.argmax(1) == y).float().mean())
            net.eval()
            with torch.no_grad():
                for x, y in run.validate(validation_batches):
                    scores = net(x)
                    accuracy = (scores.argmax(1) == y).float().mean()
                    run.log({"loss": criterion(scores, y), "accuracy": accuracy}, weight=len(x))
            checkpoint = run.path / "last.pt"
            torch.save(net.state_dict(), checkpoint)
            run.log_model(checkpoint, aliases=["last"])
    return run


if __name__ == "__main__":
    runs = [train(lr) for lr in (0.01, 0.1)]
    print(trackhooks.compare([run.path for run in runs]))

    print("\nThe dashboards get both runs now; with MLflow that takes some seconds.")
    for run in runs:
        run.wait(60)
    print("Then see for yourself:")
    for tracker in TRACKERS:
        print(f"  {tracker:12} {runs[-1].url(tracker)}")
