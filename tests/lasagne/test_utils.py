from unittest.mock import Mock

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from lasagne import init, utils
from lasagne.backends.modes import get_mode
from lasagne.utils import as_tuple, collect_shared_vars, compute_norms, create_param, unroll_scan


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_floatx(dtype):
    with pytensor.config.change_flags(floatX=dtype):
        for value in (1, [1, 2], np.arange(3), np.float64(0.5)):
            assert utils.floatX(value).dtype == dtype
            assert (utils.floatX(value) == np.asarray(value)).all()


def test_shared_empty():
    for dim in range(4):
        result = utils.shared_empty(dim)
        assert (result.get_value() == np.zeros((1,) * dim)).all()
        assert result.dtype == pytensor.config.floatX
        result.set_value(np.ones((2,) * dim, dtype=pytensor.config.floatX))
    assert utils.shared_empty().ndim == 2
    assert utils.shared_empty(1, "int32").dtype == "int32"


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
@pytest.mark.parametrize("ndim", [2, 3, 4])
def test_hide_masked(dtype, ndim):
    x, mask = pt.tensor(dtype=dtype, shape=(None,) * ndim), pt.bmatrix()
    values = np.random.default_rng(0).integers(1, 9, (2, 3, 4, 5)[:ndim]).astype(dtype)
    masks = np.array([[1, 1, 0], [0, 1, 1]], "int8")
    expected = values * masks.reshape(2, 3, *[1] * (ndim - 2))
    outputs = [utils.hide_masked(x, mask)]
    if dtype != "int32":
        values[masks == 0] = np.nan
        outputs.append(pytensor.grad((outputs[0] ** 2).sum(), x))
    results = pytensor.function([x, mask], outputs)(values, masks)
    assert results[0].dtype == dtype
    assert (results[0] == expected).all()
    assert dtype == "int32" or (results[1] == 2 * expected).all()


def test_as_theano_expression():
    for expression in (pt.matrix(), pytensor.shared(1.0), pt.exp(pt.scalar())):
        assert utils.as_theano_expression(expression) is expression
    for value in (1, 2.5, [1, 2], np.ones((2, 3)), np.float32(3)):
        result = utils.as_theano_expression(value)
        assert isinstance(result, pytensor.graph.basic.Constant)
        assert (result.data == np.asarray(value)).all()


@pytest.mark.parametrize("value", [{}, object(), "text", lambda x: x])
def test_as_theano_expression_fails(value):
    with pytest.raises(TypeError, match="cannot be wrapped"):
        utils.as_theano_expression(value)


def test_collect_shared_vars():
    x, y, z = (pytensor.shared(0.0, name=name) for name in "xyz")
    # The order is kept, duplicates are removed.
    assert collect_shared_vars([x, y, z]) == [x, y, z]
    assert collect_shared_vars([z, x, y, x]) == [z, x, y]
    # A single variable or expression may be given.
    assert collect_shared_vars(x) == [x]
    assert collect_shared_vars((z + x) * y) == [z, x, y]
    # Depth first, from left to right.
    assert collect_shared_vars([(z + x) * y]) == [z, x, y]
    assert collect_shared_vars([x + pt.log(y * (z + 1)), z]) == [x, y, z]
    assert collect_shared_vars([pt.log(z * (y + 1)), x, y * z]) == [z, y, x]
    # Constants and other variables do not appear.
    assert collect_shared_vars([pt.matrix() + 1, pt.constant(2)]) == []
    assert collect_shared_vars([]) == []


def test_one_hot():
    indices = np.random.RandomState(1).randint(0, 10, 20)
    expected = np.eye(10)[indices]
    assert (utils.one_hot(indices, 10).eval() == expected).all()
    assert (utils.one_hot(indices).eval() == expected[:, : indices.max() + 1]).all()
    x = pt.ivector()
    result = utils.one_hot(x, m=12)
    assert result.dtype == pytensor.config.floatX
    assert result.eval({x: indices.astype("int32")}).shape == (20, 12)
    assert (utils.one_hot(indices.astype(float), 10).eval() == expected).all()


@pytest.mark.parametrize("shape", [(), (3, 4), (2, 3, 4)])
def test_one_hot_of_any_shape(shape):
    indices = np.random.RandomState(1).randint(0, 10, shape)
    assert np.array_equal(utils.one_hot(indices, 10).eval(), np.eye(10)[indices])


@pytest.mark.parametrize("backend", [None, "jax"])
def test_one_hot_of_indices_out_of_range(backend):
    x = pt.lvector()
    mode = "FAST_COMPILE" if backend is None else get_mode(backend)
    rows = pytensor.function([x], utils.one_hot(x, 3), mode=mode)(np.array([-1, 0, 2, 3]))
    assert np.array_equal(np.isnan(rows).any(axis=1), [True, False, False, True])
    assert np.array_equal(rows[1:3], [[1, 0, 0], [0, 0, 1]])


def test_int_types():
    assert all(isinstance(each, utils.int_types) for each in (1, np.int8(1), np.uint64(1)))
    assert not any(isinstance(each, utils.int_types) for each in (1.0, np.float32(1), "1", None))


def test_unique():
    assert utils.unique([1, 5, 3, 2, 3, 3, 2, 1]) == [1, 5, 3, 2]
    assert utils.unique(iter("abca")) == ["a", "b", "c"]


def test_as_tuple():
    assert as_tuple(3, 2) == (3, 3)
    assert as_tuple([1, 2], 2) == (1, 2)
    assert as_tuple((1, 2), 2, int) == (1, 2)
    assert as_tuple(None, 1) == (None,)
    assert as_tuple(2.0, 3, (int, float)) == (2.0, 2.0, 2.0)


def test_as_tuple_fails():
    with pytest.raises(ValueError, match="iterable with length 4, got \\[1, 2, 3\\]"):
        as_tuple([1, 2, 3], 4)
    with pytest.raises(TypeError, match="iterable of int, got 'asdf'"):
        as_tuple("asdf", 4, int)
    with pytest.raises(TypeError, match="iterable of int or float"):
        as_tuple(["a", "b"], 2, (int, float))


def test_inspect_kwargs():
    assert utils.inspect_kwargs(lambda a, b, c=42, bar="asdf": None) == ["c", "bar"]
    assert utils.inspect_kwargs(lambda a, *args, c=1, d, **kwargs: None) == ["c"]
    assert utils.inspect_kwargs(lambda: None) == []


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((4,), ()),
        ((4, 5), (0,)),
        ((4, 5, 6), (1, 2)),
        ((4, 5, 6, 7), (1, 2, 3)),
        ((4, 5, 6, 7, 2), (1, 2, 3, 4)),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_compute_norms(shape, axes, dtype):
    array = np.random.RandomState(1).normal(size=shape).astype(dtype)
    expected = np.sqrt((array**2).sum(axis=axes)) if axes else np.abs(array)
    result = compute_norms(array)
    assert isinstance(result, np.ndarray)
    assert result.dtype == dtype
    assert np.allclose(result, expected)
    symbolic = compute_norms(pytensor.shared(array))
    assert symbolic.dtype == dtype
    assert np.allclose(symbolic.eval(), expected)


def test_compute_norms_axes():
    array = np.random.RandomState(1).normal(size=(3, 4, 5, 6))
    expected = np.sqrt((array**2).sum(axis=(0, 2)))
    assert np.allclose(compute_norms(array, norm_axes=(0, 2)), expected)
    assert np.allclose(compute_norms(pt.constant(array), norm_axes=[0, 2]).eval(), expected)


def test_compute_norms_fails():
    with pytest.raises(RuntimeError, match="Unsupported type"):
        compute_norms([[1, 2], [3, 4]])
    for ndim in (0, 6):
        with pytest.raises(ValueError, match="Unsupported tensor dimensionality"):
            compute_norms(np.ones((1,) * ndim))


def test_clip_gradient():
    x = pt.vector(dtype="float32")
    losses = [(5 * x).sum(), *((5 * utils.clip_gradient(x, bound)).sum() for bound in (1, 3.5, 9))]
    grads = [pytensor.grad(loss, x) for loss in losses]
    assert all(grad.dtype == "float32" for grad in grads)
    function = pytensor.function([x], [*losses, *grads])
    results = function(np.array([1, -2], dtype="float32"))
    assert results[:4] == [-5] * 4
    assert [list(grad) for grad in results[4:]] == [[5, 5], [1, 1], [3.5, 3.5], [5, 5]]
    assert utils.clip_gradient(x, 1).owner.op == utils.clip_gradient(x, 1).owner.op
    assert utils.clip_gradient(x, 1).owner.op != utils.clip_gradient(x, 2).owner.op
    with pytest.raises(ValueError, match="clip_upper_bound"):
        utils.clip_gradient(x, -1)


def test_create_param_from_an_array():
    for array in (np.array([[1, 2, 3], [4, 5, 6]]), np.ones((2, 3), dtype="float32")):
        result = create_param(array, (2, 3), name="W")
        assert isinstance(result, type(pytensor.shared(array)))
        assert (result.get_value() == array).all()
        assert result.dtype == array.dtype
        assert result.name == "W"
        array += 1
        assert (result.get_value() != array).all()


def test_create_param_from_a_number():
    for number in (1, 2.5, np.float32(3)):
        result = create_param(number, ())
        assert result.get_value() == number
        assert result.ndim == 0
    with pytest.raises(ValueError, match=r"has shape \(\), should be \(2, 3\)"):
        create_param(1, (2, 3))


def test_create_param_from_an_expression():
    shared = pytensor.shared(np.ones((2, 3)))
    for param in (shared, shared + 1, pt.matrix()):
        assert create_param(param, (2, 3), name="W") is param
        assert param.name == "W"
        assert create_param(param, (2, 3), name="V").name == "W"


def test_create_param_from_a_callable():
    array = np.array([[1, 2, 3], [4, 5, 6]])
    factory = Mock(return_value=array)
    assert (create_param(factory, (2, 3)).get_value() == array).all()
    factory.assert_called_with((2, 3))
    shared = pytensor.shared(array)
    assert create_param(lambda shape: shared, [2, 3]) is shared
    expression = pt.matrix()
    assert create_param(lambda shape: expression, (2, 3), name="W") is expression
    assert create_param(lambda shape: 5, ()).get_value() == 5
    assert create_param(init.Constant(3.0), (2, 3)).get_value().tolist() == [[3.0] * 3] * 2


@pytest.mark.parametrize("shape", [(10, 1, 20), (1, 2), (3, 1), (2, 3)])
def test_create_param_knows_its_shape(shape):
    for spec in (np.zeros, np.zeros(shape, "float32")):
        result = create_param(spec, shape)
        assert result.broadcastable == tuple(dim == 1 for dim in shape)
        assert result.type.shape == shape


@pytest.mark.parametrize("given", [lambda spec: spec, lambda spec: lambda shape: spec])
def test_create_param_fails_on_another_shape(given):
    array = np.ones((2, 3))
    with pytest.raises(ValueError, match=r"parameter W: .*shape \(2, 3\), should be \(3, 2\)"):
        create_param(given(array), (3, 2), name="W")
    with pytest.raises(ValueError, match=r"parameter W: .*has 2 dimensions, should be 3"):
        create_param(given(pt.matrix()), (1, 2, 3), name="W")
    with pytest.raises(ValueError, match="has 2 dimensions, should be 1"):
        create_param(given(pytensor.shared(array)), (2,))
    known = pt.matrix(shape=(2, None))
    assert create_param(given(known), (2, 3)) is known
    with pytest.raises(ValueError, match=r"has shape \(2, None\), should be \(3, 2\)"):
        create_param(given(known), (3, 2))


def test_create_param_fails_on_another_type():
    for spec in ({}, None, "text", [[1, 2]], np.array(["text"])):
        with pytest.raises(TypeError, match="parameter W: the provided"):
            create_param(spec, (1, 2), name="W")
        with pytest.raises(TypeError, match="returned by the provided callable"):
            create_param(lambda shape, spec=spec: spec, (1, 2))
    with pytest.raises(TypeError):
        create_param(pytensor.shared(np.random.default_rng(1)), ())


@pytest.mark.parametrize("shape", [(-1, -1), (0, 0), (2, 0)])
def test_create_param_fails_on_nonpositive_dimensions(shape):
    with pytest.raises(ValueError, match="non-positive"):
        create_param(np.empty, shape, name="W")


@pytest.mark.parametrize(
    "value",
    [
        np.ones(3, "float32"),
        np.ones(3, "float64"),
        np.ones(3, "float16"),
        np.ones(3, "int64"),
        [1, 1.0, True],
        np.array([np.nan, np.inf, 1]),
        np.full(3, 1e-300),
        np.ones(6)[::2],
    ],
)
def test_check_param_value(value):
    param = pytensor.shared(np.zeros(3, "float32"), name="W")
    result = utils.check_param_value(param, value)
    assert result.dtype == "float32"
    np.testing.assert_array_equal(result, np.asarray(value, "float32"))
    assert param.get_value().tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.ones(2), r"W has shape \(3,\), .* shape \(2,\)"),
        (1.0, r"has shape \(3,\), .* shape \(\)"),
        (np.ones(3, complex), "W is of dtype float32, .* of dtype complex128"),
        (np.array([b"1", b"2", b"3"]), r"of dtype \|S1"),
        (np.array(["1", "2", "3"]), "of dtype <U1"),
        (np.zeros(3, "datetime64[s]"), r"of dtype datetime64\[s\]"),
        (np.ones(3, bool), "of dtype bool"),
        (np.array([1, 2, None]), "of dtype object"),
        (np.zeros(3, "f4,f4"), "of dtype "),
        ([[1], [1, 2], [3]], "W: the value is no array"),
        (np.array([0, 1e300, 0]), "W: .* float64 holds numbers that are too large for float32"),
        (np.array([-1e39, 1, np.inf]), "too large for float32"),
    ],
)
def test_check_param_value_fails(value, message):
    param = pytensor.shared(np.zeros(3, "float32"), name="W")
    with pytest.raises(ValueError, match=message):
        utils.check_param_value(param, value)


def test_check_param_value_of_other_kinds():
    count = pytensor.shared(np.zeros(2, "int8"), name="count")
    assert utils.check_param_value(count, np.array([1, 127])).dtype == "int8"
    for value, message in (([1, 128], "too large for int8"), ([1.0, 2.0], "dtype float64")):
        with pytest.raises(ValueError, match=message):
            utils.check_param_value(count, np.array(value))
    flag = pytensor.shared(np.zeros(2, "bool"), name="flag")
    assert utils.check_param_value(flag, [True, False]).tolist() == [True, False]
    with pytest.raises(ValueError, match="dtype int64"):
        utils.check_param_value(flag, np.array([0, 1]))
    half = pytensor.shared(np.zeros(2, "float16"), name="half")
    with pytest.raises(ValueError, match="int64 holds numbers that are too large for float16"):
        utils.check_param_value(half, np.array([0, 70_000]))
    phase = pytensor.shared(np.zeros(2, "complex64"), name="phase")
    assert utils.check_param_value(phase, [1.5, 2]).tolist() == [1.5, 2]
    assert utils.check_param_value(phase, [1j, 2]).tolist() == [1j, 2]


def test_unroll_scan():
    a = pt.scalar("a", dtype="float64")
    result = unroll_scan(
        fn=lambda step, prior_result, a: prior_result * a,
        sequences=pt.arange(2),
        outputs_info=[1.0],
        non_sequences=[a],
        n_steps=2,
    )
    assert np.allclose(result[-1].eval({a: 10}), [10, 100])


def test_unroll_scan_several_outputs():
    a, b = pt.scalars("a", "b")

    def multiply_and_divide(step, product, quotient, a, b):
        return product * a, quotient / b

    result = unroll_scan(multiply_and_divide, [pt.arange(2)], [1.0, 1.0], [a, b], 2)
    function = pytensor.function([a, b], result)
    assert np.allclose(function(10, 10), [[10, 100], [0.1, 0.01]])


@pytest.mark.parametrize("backwards", [False, True])
def test_unroll_scan_is_scan(backwards):
    x, y = pt.matrix(), pt.vector()

    def step(x_t, y_t, h, c):
        return [h * c + x_t, h.sum() * y_t]

    states = [pt.ones(3), pt.constant(0.5)]
    states = [pt.cast(state, pytensor.config.floatX) for state in states]
    unrolled = unroll_scan(step, [x, y], states, [], 4, go_backwards=backwards)
    looped = pytensor.scan(
        step, [x, y], states, n_steps=4, go_backwards=backwards, return_updates=False
    )
    random = np.random.RandomState(1)
    arrays = [random.normal(size=(4, 3)), random.normal(size=4)]
    function = pytensor.function([x, y], [*unrolled, *looped], allow_input_downcast=True)
    h1, c1, h2, c2 = function(*arrays)
    assert np.allclose(h1, h2)
    assert np.allclose(c1, c2)


@pytest.mark.slow
@pytest.mark.parametrize("backend", [None, "jax", "numba"])
def test_unroll_scan_of_another_length(backend):
    """As with a scan, what is beyond `n_steps` is not used, and what is too short is an error."""
    x = pt.vector(dtype="float64")
    (sums,) = unroll_scan(lambda x, s: x + s, x, [pt.zeros(())], [], 3, go_backwards=True)
    mode = "FAST_COMPILE" if backend is None else get_mode(backend)
    function = pytensor.function([x], sums, mode=mode)
    assert np.array_equal(function(np.array([1.0, 2, 4, 8])), [4, 6, 7])
    for n in (0, 2):
        with pytest.raises(ValueError, match=f"n_steps=3 .* shorter: {n}"):
            function(np.ones(n))


def test_unroll_scan_of_a_known_length_that_is_too_short():
    with pytest.raises(ValueError, match=r"n_steps=3 .* shorter: 2"):
        unroll_scan(lambda x, s: x + s, pt.arange(2), [pt.zeros(())], [], 3)


def test_unroll_scan_without_sequences():
    result = unroll_scan(lambda x: 2 * x, [], pt.constant(1.0), [], 3)
    assert result[0].eval().tolist() == [2, 4, 8]


def test_unroll_scan_needs_a_step():
    with pytest.raises(ValueError, match="n_steps=0"):
        unroll_scan(lambda x: x, [], [pt.scalar()], [], 0)


def test_create_param_of_another_precision():
    with pytensor.config.change_flags(floatX="float32"):
        for spec in (np.full((2,), 0.1), lambda shape: np.full(shape, 0.1)):
            param = create_param(spec, (2,), "W")
            assert param.dtype == "float32"
            assert (param.get_value() == np.float32(0.1)).all()
        assert create_param(0.5, (), "W").dtype == "float32"
        assert create_param(np.zeros(2, "int8"), (2,), "W").dtype == "int8"
        shared = pytensor.shared(np.zeros(2))
        assert create_param(shared, (2,), "W") is shared
        with pytest.raises(ValueError, match=r"parameter W: the provided .* too large for float32"):
            create_param(np.array([1e300, 0]), (2,), "W")
