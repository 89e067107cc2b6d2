"""The table against the numbers of the design."""

from lenet import spec


def test_parameter_count_is_61706():
    assert spec.PARAM_COUNT == 61_706


def test_flops_of_a_digit_are_0_83_million():
    assert spec.FLOPS == 2 * (784 * 6 * 25 + 100 * 16 * 150 + 400 * 120 + 120 * 84 + 84 * 10) == 833_040


def test_shapes_follow_the_table():
    assert spec.ACTIVATION_SHAPES["conv1"] == spec.ACTIVATION_SHAPES["relu1"] == (6, 28, 28)
    assert spec.ACTIVATION_SHAPES["pool1"] == (6, 14, 14)
    assert spec.ACTIVATION_SHAPES["conv2"] == (16, 10, 10)
    assert spec.ACTIVATION_SHAPES["pool2"] == (16, 5, 5)
    assert spec.ACTIVATION_SHAPES["flatten"] == (400,)
    assert [spec.ACTIVATION_SHAPES[n] for n in ("fc1", "fc2", "logits")] == [(120,), (84,), (10,)]


def test_parameters_have_the_shared_names_and_shapes():
    assert spec.PARAM_SHAPES["conv1.weight"] == (6, 1, 5, 5)
    assert spec.PARAM_SHAPES["fc1.weight"] == (120, 400)
    assert spec.PARAM_SHAPES["logits.bias"] == (10,)
    assert len(spec.PARAM_SHAPES) == 10
