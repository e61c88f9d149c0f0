"""Trains until 99 % of the held-out images are labelled right: `python bench/cold_start.py [NPZ]`.

Prints epochs and accuracy; `bench/trainings.py` takes the time of the whole process.
"""

import sys

import piste
from cases import images
from piste import nn

EPOCHS = 10  # at most


def main() -> None:
    x, y, *held_out = images(sys.argv[1] if len(sys.argv) > 1 else None)
    nn.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 24, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(384, 96), nn.ReLU(), nn.Linear(96, 10),
    )  # fmt: skip

    def enough(trainer: piste.Trainer, history: piste.History) -> None:
        trainer.stop_training = history.val_accuracy[-1] >= 0.99

    optimizer = piste.optim.SGD(0.02, momentum=0.9)
    trainer = piste.Trainer(model, nn.CrossEntropyLoss(), optimizer, seed=0)
    history = trainer.fit(
        x[:, None], y, epochs=EPOCHS, validation_data=(held_out[0][:, None], held_out[1]),
        callbacks=[enough], progress=False,
    )  # fmt: skip
    if history.val_accuracy[-1] < 0.99:
        raise SystemExit(f"{history.val_accuracy[-1]:.4f} after {EPOCHS} epochs")
    print(len(history), history.val_accuracy[-1])


if __name__ == "__main__":
    main()
