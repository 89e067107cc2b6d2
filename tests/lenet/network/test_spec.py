"""The table against the numbers of the design."""

import numpy as np

from lenet.network import architecture


def test_parameter_count_is_61706():
    assert architecture.PARAM_COUNT == 61_706


def test_flops_of_a_digit_are_0_83_million():
    assert (
        architecture.FLOPS == 2 * (784 * 6 * 25 + 100 * 16 * 150 + 400 * 120 + 120 * 84 + 84 * 10) == 833_040
    )


def test_shapes_follow_the_table():
    assert architecture.ACTIVATION_SHAPES["conv1"] == architecture.ACTIVATION_SHAPES["relu1"] == (6, 28, 28)
    assert architecture.ACTIVATION_SHAPES["pool1"] == (6, 14, 14)
    assert architecture.ACTIVATION_SHAPES["conv2"] == (16, 10, 10)
    assert architecture.ACTIVATION_SHAPES["pool2"] == (16, 5, 5)
    assert architecture.ACTIVATION_SHAPES["flatten"] == (400,)
    assert [architecture.ACTIVATION_SHAPES[n] for n in ("fc1", "fc2", "logits")] == [(120,), (84,), (10,)]


def test_parameters_have_the_shared_names_and_shapes():
    assert architecture.PARAM_SHAPES["conv1.weight"] == (6, 1, 5, 5)
    assert architecture.PARAM_SHAPES["fc1.weight"] == (120, 400)
    assert architecture.PARAM_SHAPES["logits.bias"] == (10,)
    assert len(architecture.PARAM_SHAPES) == 10


def test_a_row_of_the_table_has_its_parameters_and_its_operator():
    row = architecture.conv("c", 2, 3, kernel=5, padding=1)
    assert row.param_shapes() == {"c.weight": (3, 2, 5, 5), "c.bias": (3,)}
    assert (row.padding, row.kernel, row.terms) == (1, 5, 50)
    assert row.out_shape((2, 6, 7)) == (3, 4, 5)
    assert architecture.conv("c", 2, 3, kernel=5).out_shape((2, 6, 7)) == (3, 2, 3)
    row = architecture.dense("d", 4, 3)
    assert row.param_shapes() == {"d.weight": (3, 4), "d.bias": (3,)}
    assert row.out_shape((4,)) == (3,)


def test_the_graph_returns_the_last_layer():
    params = {name: np.zeros(shape) for name, shape in architecture.PARAM_SHAPES.items()}
    graph = architecture.LENET.graph(params)
    assert (graph.name, list(graph.outputs)) == ("the network", ["logits"])
