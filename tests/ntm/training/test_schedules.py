import pytest

from ntm.training.schedules import make_schedule


def test_constant():
    assert [make_schedule("constant")(step) for step in (0, 10**6)] == [1.0, 1.0]


def test_exponential():
    factor = make_schedule("exponential", options={"decay": 0.25, "every": 100})
    assert [factor(step) for step in (0, 50, 100, 200)] == pytest.approx([1, 0.5, 0.25, 0.0625])


def test_steps():
    factor = make_schedule("steps", options={"decay": 0.5, "every": 10})
    assert [factor(step) for step in (0, 9, 10, 25)] == [1, 1, 0.5, 0.25]


def test_cosine():
    factor = make_schedule("cosine", options={"total": 100, "last": 0.2})
    assert [factor(step) for step in (0, 50, 100, 500)] == pytest.approx([1, 0.6, 0.2, 0.2])
    # At these steps a cosine that went on would be back at its top, and on its way down
    assert [factor(step) for step in (101, 150, 200, 250)] == pytest.approx([0.2] * 4)
    # Below the middle: half a cosine is no straight line
    assert factor(25) == pytest.approx(0.2 + 0.8 * (1 + 0.5**0.5) / 2)


def test_warmup():
    factor = make_schedule("constant", warmup=3)
    assert [factor(step) for step in range(5)] == pytest.approx([0.25, 0.5, 0.75, 1, 1])
    factor = make_schedule("steps", warmup=3, options={"decay": 0.5, "every": 2})
    assert [factor(step) for step in range(5)] == pytest.approx([0.25, 0.5, 0.375, 0.5, 0.25])
    assert [make_schedule("constant")(step) for step in range(2)] == [1.0, 1.0]


def test_unknown_names():
    with pytest.raises(ValueError, match=r"unknown schedule 'sine': expected one of constant"):
        make_schedule("sine")
    with pytest.raises(ValueError, match=r"schedule 'cosine'.*'peak'"):
        make_schedule("cosine", options={"peak": 1})


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("exponential", {"every": 0}, "every must be a finite number above 0, not 0"),
        ("exponential", {"decay": float("nan")}, "decay must be a finite number above 0, not nan"),
        ("steps", {"every": -1}, "every must be a finite number above 0, not -1"),
        ("steps", {"decay": 0}, "decay must be a finite number above 0, not 0"),
        ("cosine", {"total": 0}, "total must be a finite number above 0, not 0"),
        ("cosine", {"last": -0.1}, r"last must be a finite number of at least 0, not -0\.1"),
    ],
)
def test_options_out_of_range(name, options, message):
    with pytest.raises(ValueError, match=message):
        make_schedule(name, options=options)


def test_a_warmup_out_of_range():
    with pytest.raises(ValueError, match="warmup must be an integer of at least 0, not -5"):
        make_schedule("constant", warmup=-5)
