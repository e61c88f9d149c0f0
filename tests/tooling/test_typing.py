"""Types as a user's own checker sees them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import piste
import pytest

pytest.importorskip("mypy")
PACKAGES = Path(piste.__file__).parents[1]
README = Path(__file__).parents[2] / "README.md"

SCRIPT = """
from typing import Any, assert_type

import numpy as np
import numpy.typing as npt

import piste
from piste import functional as F
from piste import nn
from piste.data import Dataset, load_digits, load_npz


def block(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, channels, 3, padding="same"), nn.ReLU())


def report(trainer: piste.Trainer, history: piste.History) -> None:
    assert_type(history.loss, list[float])
    assert_type(trainer.optimizer, piste.optim.Optimizer)


def main(data: Dataset) -> float:
    model = nn.Sequential(block(1), nn.Residual(block(1)), nn.Flatten(), nn.Linear(64, 10))
    optimizer = piste.optim.SGD(0.1, momentum=0.9, groups=[{"params": ["0"], "lr": 0.01}])
    trainer = piste.Trainer(model, nn.CrossEntropyLoss(label_smoothing=0.1), optimizer, seed=1)
    assert_type(trainer.step(data.x_train, data.y_train), float)
    history = trainer.fit(
        data.x_train, data.y_train.tolist(), epochs=2, batch_size="full",
        validation_data=(data.x_test, data.y_test), callbacks=[report],
    )
    assert_type(history, piste.History)
    assert_type(trainer.predict(data.x_test), npt.NDArray[np.floating[Any]])
    assert_type(model.state_dict(), dict[str, npt.NDArray[Any]])
    try:
        trainer.save("weights")
    except piste.DivergenceError as error:
        assert_type(error.step, int)
    again = piste.Trainer.load("weights")
    loss, accuracy = again.evaluate(data.x_test, data.y_test)
    y = F.relu(F.conv2d(np.ones((1, 1, 4, 4)), np.ones((1, 1, 3, 3)), padding=1))
    assert_type(y, npt.NDArray[np.floating[Any]])
    return loss + accuracy


main(load_digits())
main(load_npz("file.npz"))
"""

MISTAKES = {
    "piste.Trainer(nn.ReLU(), nn.MSELoss())": "call-arg",
    "nn.Conv2d('1', 2, 3)": "arg-type",
    "nn.Linear(1)": "call-arg",
    "piste.optim.SGD(rate=0.1)": "call-arg",
    "trainer.fit(x, y, batch_size='half')": "arg-type",
    "trainer.fit(x, y, 3)": "call-arg",
    "loss: str = trainer.step(x, y)": "assignment",
    "piste.nothing": "attr-defined",
}


def check(folder, text):
    script = folder / "script.py"
    script.write_text(text)
    environment = dict(os.environ)
    if PACKAGES.name != "site-packages":  # a development tree: mypy does not look there by itself
        environment["MYPYPATH"] = str(PACKAGES)
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", script.name]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_a_users_script_passes_strict(tmp_path):
    result = check(tmp_path, SCRIPT)
    assert result.returncode == 0, result.stdout + result.stderr


def test_mistakes_are_found(tmp_path):
    lines = ["import numpy as np", "import piste", "from piste import nn", "x = y = np.ones(3)"]
    lines.append("trainer = piste.Trainer(nn.ReLU(), nn.MSELoss(), piste.optim.SGD(0.1))")
    result = check(tmp_path, "\n".join([*lines, *MISTAKES]))
    found = dict(re.findall(r"script.py:(\d+): error: .*\[([\w-]+)\]", result.stdout))
    expected = {str(len(lines) + 1 + i): code for i, code in enumerate(MISTAKES.values())}
    assert found == expected, result.stdout


def test_the_readmes_snippets_pass_strict(tmp_path):
    snippets = re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    for snippet in snippets:
        result = check(tmp_path, snippet)
        assert result.returncode == 0, result.stdout + result.stderr


def test_the_package_says_that_it_is_typed():
    assert (Path(piste.__file__).parent / "py.typed").exists()
    assert (Path(piste.__file__).parent / "_core.pyi").exists()
