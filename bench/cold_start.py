"""Trains to 99 % of the held-out images labelled right: `python bench/cold_start.py NPZ`.

Prints epochs and accuracy; `bench/trainings.py` takes the time of the whole process.
"""

import math
import sys

import piste
from cases import images
from piste import nn

EPOCHS, BATCH = 3, 64


def main() -> None:
    x, y, *held_out = images(sys.argv[1])
    nn.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 24, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(384, 96), nn.ReLU(), nn.Linear(96, 10),
    )  # fmt: skip

    batches = math.ceil(len(x) / BATCH)
    trainer = piste.Trainer(
        model, nn.CrossEntropyLoss(), piste.optim.SGD(0.1, momentum=0.9), seed=0,
        schedule=piste.optim.OneCycleLR(0.1, epochs=EPOCHS, steps_per_epoch=batches),
    )  # fmt: skip
    trainer.fit(x[:, None], y, epochs=EPOCHS, batch_size=BATCH, progress=False)
    _, accuracy = trainer.evaluate(held_out[0][:, None], held_out[1])
    if accuracy < 0.99:
        raise SystemExit(f"{accuracy:.4f} after {EPOCHS} epochs")
    print(EPOCHS, accuracy)


if __name__ == "__main__":
    main()
