"""Solutions of workshop/08_onnx.ipynb."""

from onnx import helper


def head():
    """Flatten, and three Gemm whose weights are (out, in), two of them with a Relu."""
    node = helper.make_node
    return [
        node("Flatten", ["pool2"], ["flatten"], "flatten", axis=1),
        node("Gemm", ["flatten", "fc1.weight", "fc1.bias"], ["fc1"], "fc1", transB=1),
        node("Relu", ["fc1"], ["relu3"], "relu3"),
        node("Gemm", ["relu3", "fc2.weight", "fc2.bias"], ["fc2"], "fc2", transB=1),
        node("Relu", ["fc2"], ["relu4"], "relu4"),
        node("Gemm", ["relu4", "logits.weight", "logits.bias"], ["logits"], "logits", transB=1),
    ]


def shared_fc1(kernel):
    """(H, W, C, out) to (out, C, H, W), flattened."""
    return kernel.reshape(5, 5, 16, 120).transpose(3, 2, 0, 1).reshape(120, 400)


def _spoilt(at, name, **attributes):
    nodes = head()
    old = nodes[at]
    nodes[at] = helper.make_node(name, old.input, old.output, old.name, **attributes)
    return nodes


WRONG = {
    "head": [
        (lambda: _spoilt(1, "Gemm"), "ONNX's checker"),
        (lambda: _spoilt(2, "LeakyRelu"), "found LeakyRelu 'relu3'"),
        (lambda: _spoilt(1, "Gemm", transB=1, alpha=2.0), "alpha"),
        (lambda: head()[:-1], "ONNX's checker"),
        (lambda: [7], "no list of nodes"),
    ],
    "shared_fc1": [
        (lambda kernel: kernel.T.copy(), "still in H, W, C order"),
        (lambda kernel: kernel.reshape(120, 400), "does not move axes"),
        (
            lambda kernel: kernel.reshape(5, 5, 16, 120).transpose(3, 2, 1, 0).reshape(120, 400),
            "in the wrong place",
        ),
        (lambda kernel: kernel, "shape"),
    ],
}


ANSWERS = {  # to the predictions: the right guess, and the explanation
    "order_of_pads": (
        "top, left, bottom, right",
        "All beginnings, then all ends. (PyTorch's `F.pad` wants left, right, top, bottom; Caffe has "
        "`pad_h` and `pad_w`.)",
    ),
    "checker_accepts": (
        ["pads 3, 3, 1, 1", "AveragePool", "LeakyRelu", "and reshaped to fit"],
        "It knows operators and shapes.",
    ),
    "judge_accepts": (
        [],
        "It compares each operator, its attributes and its weights with the network that you want.",
    ),
    "nodes": (
        18,
        "An exporter translates the operations of its framework, not the layers that you had in mind.",
    ),
    "new_operators": (
        ["Add", "MatMul", "Reshape", "Transpose"],
        "",
    ),
    "same_bits_trained": (
        "no",
        "Each runtime adds up in its own order.",
    ),
    "same_bits_exact": (
        "yes",
        "Nothing rounds, so no order matters.",
    ),
}
