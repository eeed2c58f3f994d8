"""A Neural Turing Machine, trained from scratch, learns."""

import pytest

from ntm.experiments.settings import make_settings

pytestmark = pytest.mark.usefixtures("float32")


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_copying_is_learnt_in_seconds_and_generalises(seed):
    settings = make_settings(
        "copy",
        seed=seed,
        task_options={"size": 4, "max_length": 5},
        model_options={"num_units": 50, "memory_slots": 20, "memory_width": 8},
        learning_rate=3e-4,
    )
    trainer = settings.make_trainer()
    assert trainer.train(5000, progress=False) == "solved"
    assert trainer.evaluate(num_sequences=500)["bits"] < 0.01
    assert trainer.evaluate({"length": 10})["wrong_bits"] < 0.5
    assert trainer.skipped == []
