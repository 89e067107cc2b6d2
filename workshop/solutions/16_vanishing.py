"""Solutions of workshop/16_vanishing.ipynb, and answers that are not right."""

import numpy as np


def tanh_1998_backward(dy, y):
    """A·S·(1 − (y/A)²)·dy."""
    return dy * 1.7159 * 2 / 3 * (1 - (y / 1.7159) ** 2)


def reasons(module, optimizer, parameters):
    """The first reason that holds, from the outside in."""
    known = {id(p) for p in module.parameters()}
    stepped = {id(p) for group in optimizer.param_groups for p in group["params"]}
    found = {}
    for name, p in parameters.items():
        if id(p) not in known:
            found[name] = "not registered"
        elif not p.requires_grad:
            found[name] = "frozen"
        elif id(p) not in stepped:
            found[name] = "not in the optimizer"
        elif p.grad is None:
            found[name] = "no gradient"
        elif not p.grad.any():
            found[name] = "zero gradient"
    return found


def _without(*ignored):
    return lambda *args: {k: why for k, why in reasons(*args).items() if why not in ignored}


def _gradients_alone(module, optimizer, parameters):
    return {name: "no gradient" for name, p in parameters.items() if p.grad is None}


def _small(module, optimizer, parameters):
    small = {
        name: "zero gradient" for name, p in parameters.items() if p.grad is not None and p.grad.norm() < 1
    }
    return small | reasons(module, optimizer, parameters)


def _optimizer_first(module, optimizer, parameters):
    stepped = {id(p) for group in optimizer.param_groups for p in group["params"]}
    outside = {name: "not in the optimizer" for name, p in parameters.items() if id(p) not in stepped}
    return reasons(module, optimizer, parameters) | outside


def _by_name(module, optimizer, parameters):
    known = dict(module.named_parameters())
    return reasons(module, optimizer, {name: p for name, p in parameters.items() if name not in known}) | (
        reasons(module, optimizer, {name: known[name] for name in parameters if name in known})
    )


def _zero_if(is_zero):
    """Another test of the gradient than that all of it is zero."""

    def answer(module, optimizer, parameters):
        zero = {k: "zero gradient" for k, p in parameters.items() if p.grad is not None and is_zero(p.grad)}
        return zero | reasons(module, optimizer, parameters)

    return answer


def _frozen_last(module, optimizer, parameters):
    stepped = {id(p) for group in optimizer.param_groups for p in group["params"]}
    found = reasons(module, optimizer, parameters)
    swap = [name for name, why in found.items() if why == "frozen" and id(parameters[name]) not in stepped]
    return found | dict.fromkeys(swap, "not in the optimizer")


WRONG = {
    "tanh_1998_backward": [
        (lambda dy, y: dy * (1 - y**2), "tanh(z), at y"),
        (lambda dy, y: dy * 1.7159 * (1 - (y / 1.7159) ** 2), "S is missing"),
        (lambda dy, y: dy * 1.7159 * 2 / 3 * (1 - np.tanh(2 / 3 * y) ** 2), "not z"),
        (lambda dy, y: 1.7159 * 2 / 3 * (1 - (y / 1.7159) ** 2), "dy is missing"),
        (lambda dy, y: dy * 1.7159 * 0.6667 * (1 - (y / 1.7159) ** 2), "dz"),
        (lambda dy, y: tanh_1998_backward(dy, y).astype(np.float32), "float32"),
    ],
    "reasons": [
        (_gradients_alone, "kept every bit"),
        (_without("not registered"), "in a list: conv1.weight kept every bit"),
        (_without("not in the optimizer"), "replaced: logits.weight kept every bit"),
        (_without("zero gradient"), "closed: conv1.weight kept every bit"),
        (_small, "has changed"),
        (_optimizer_first, "expected 'not registered'"),
        (_by_name, "beside the module: fc2.weight is said to be"),
        (_zero_if(lambda g: g.sum() == 0), "odd gradients: conv1.bias has changed"),
        (_zero_if(lambda g: g.abs().max() < 1e-7), "odd gradients: conv2.bias has changed"),
        (_frozen_last, "expected 'frozen'"),
        (lambda *args: list(reasons(*args)), "expected a dict"),
    ],
}


ANSWERS = {  # to the predictions: the right guess, and the explanation
    "sigmoid_factor": (
        0.235,
        "The sigmoid's slope is at most 1/4, so that 30 layers leave about 1e-19 of the gradient.",
    ),
    "relu_factor": (
        0.71,
        "Half of the gates are open: E[f'²] = 1/2, and the factor is its root. With the variance 2/n it "
        "is 1 at every depth, for tanh with about 1/n. The initial scale is part of the network.",
    ),
    "relu_4_last_over_first": (
        3e-5,
        "On the way back each layer multiplies by √2: the gradient explodes towards the first layer.",
    ),
    "relu_over_sigmoid": (
        74,
        "Four activations lie between the loss and conv1, each with a slope of at most 1/4.",
    ),
    "learn": (
        ["ReLU", "tanh", "1.7159 tanh"],
        "With these initial weights the sigmoid's first layers get next to nothing. The loss stays at "
        "log 10, as for "
        "a dead network, but the gradient is not zero: it is only small. Of the three that learn, "
        "ReLU is the slowest here: PyTorch's initial variance 1/(3n) gives it a factor of 0.4 for each "
        "layer.",
    ),
    "closed_units": (
        14,
        "No gradient of their own weights can open them again: it is zero, and weight decay alone has moved "
        "them, towards zero. (conv1 and conv2 still learn through other units: an input that changes may.)",
    ),
    "not_zero": (
        5,
        "Behind the closed layer all digits are zeros. `fc1` multiplies its weights by them, so that "
        "they get no "
        "gradient; from `fc1`'s biases on, parameters learn the best answer that does not look at the image.",
    ),
    "complain": (
        0,
        "Each is a right program, of another training than was meant.",
    ),
    "halve_the_loss": (
        ["in a list", "detached", "frozen", "replaced"],
        "The other layers learn to live with the stuck ones. A closed layer passes nothing on, so nobody "
        "can.",
    ),
    "moved_by_decay": (
        ["closed"],
        "A gradient of zero and no gradient are not the same: PyTorch's optimizers skip a parameter "
        "whose `grad` is "
        "None, and decay one whose gradient is zero.",
    ),
}
