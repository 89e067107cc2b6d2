"""Solutions of workshop/19_pretrained.ipynb, and answers that are not right."""


def step(w, v, g, free, rate, momentum, decay):
    """What is frozen is not in the step at all: neither decay nor velocity reach it."""
    new_v = {name: momentum * v[name] + g[name] + decay * w[name] if name in free else v[name] for name in w}
    return {name: w[name] - rate * new_v[name] if name in free else w[name] for name in w}, new_v


def to_state_dict(arrays):
    """HWIO to OIHW, (in, out) to (out, in); the rows of fc1 from (H, W, C) to (C, H, W)."""
    found = {}
    for key, array in arrays.items():
        layer, part = key.split("/")
        name = f"{layer}.{'weight' if part == 'kernel' else 'bias'}"
        if array.ndim == 4:
            array = array.transpose(3, 2, 0, 1)
        elif name == "fc1.weight":
            array = array.reshape(5, 5, 16, 120).transpose(3, 2, 0, 1).reshape(120, 400)
        elif array.ndim == 2:
            array = array.T
        found[name] = array
    return found


def _zeroed(w, v, g, free, rate, momentum, decay):
    """The gradient is set to zero, the rest of the step is done."""
    return step(
        w, v, {name: g[name] * (name in free) for name in w}, set(w), rate, momentum, 0 * decay + decay
    )


def _velocity_goes_on(w, v, g, free, rate, momentum, decay):
    moved, _ = step(w, v, g, free, rate, momentum, decay)
    return moved, {name: momentum * v[name] + g[name] + decay * w[name] for name in w}


def _rate_inside(w, v, g, free, rate, momentum, decay):
    v = {
        name: momentum * v[name] + rate * (g[name] + decay * w[name]) if name in free else v[name]
        for name in w
    }
    return {name: w[name] - v[name] if name in free else w[name] for name in w}, v


def _only_the_free(w, v, g, free, rate, momentum, decay):
    return tuple({name: one[name] for name in free} for one in step(w, v, g, free, rate, momentum, decay))


def _in_place(w, v, g, free, rate, momentum, decay):
    for name in free:
        v[name] *= momentum
        v[name] += g[name] + decay * w[name]
        w[name] -= rate * v[name]
    return w, v


def _transposed(arrays):
    found = to_state_dict(arrays)
    return found | {"fc1.weight": arrays["fc1/kernel"].T}


def _mirrored(arrays):
    found = to_state_dict(arrays)
    return found | {f"{layer}.weight": arrays[f"{layer}/kernel"].T for layer in ("conv1", "conv2")}


def _reshaped(arrays):
    return {
        name: arrays[key].reshape(w.shape)
        for key, (name, w) in zip(arrays, to_state_dict(arrays).items(), strict=True)
    }


WRONG = {
    "step": [
        (_zeroed, "is frozen, and moved"),
        (_velocity_goes_on, "its velocity changed"),
        (_rate_inside, "the velocity of"),
        (_in_place, "changes its arguments"),
        (_only_the_free, "the frozen ones as well"),
    ],
    "to_state_dict": [
        (_transposed, "H, W, C order"),
        (_mirrored, "mirrored"),
        (_reshaped, "a reshape does not move axes"),
        (lambda arrays: arrays, "PyTorch's names"),
    ],
}


ANSWERS = {  # to the predictions: the right guess, and the explanation
    "more_with_10": (
        "the digits",
        "No way is clearly better with so few: the means of the ways lie closer together than the draws of "
        "one way.",
    ),
    "worst_with_1000": (
        "last layer alone",
        "The other layers were made to tell 0 to 4 apart, and a linear layer behind them cannot make up for "
        "it. The other three ways end near each other.",
    ),
    "ahead": (
        ["300 steps"],
        "The pretrained network is sure of the wrong classes, and its first steps unlearn. Which of the two "
        "is better depends on the number of steps: compare at the end of a training that you would use.",
    ),
    "old_digits": (
        "below 5 %",
        "The kernels are still there, to the bit. But the dense layers have seen no 0 to 4, and learnt that "
        "these never occur.",
    ),
    "keep_every_bit": (
        ["requires_grad=False", "learning rate 0"],
        "A gradient of zero is a gradient: weight decay and momentum still move the weight. The optimizer "
        "skips parameters whose gradient is None.",
    ),
    "refused": (
        5,
        "All five kernels have another shape in Keras. The biases have one axis and fit.",
    ),
    "wrong_order": (
        0.13,
        "`fc1` gets every value, at another place. No shape tells.",
    ),
    "after_tuning": (
        0.95,
        "Fine-tuning repairs most of what the migration broke; the rest looks like a weak model. Judge a "
        "migrated file before the first step.",
    ),
    "loss_of_fit": (
        "mean over digits",
        "Each batch counts by its digits, at the weights that it met. The mean over batches counts the short "
        "last batch too much.",
    ),
    "accuracy_after": (
        0.63,
        "What `fit` prints is an average over an epoch in which the weights improved. Validation comes after "
        "it: in a first epoch it can look better than training.",
    ),
    "within_bound": (
        "1/16",
        "Keras keeps the learning rate as a float32 variable, in a float64 model too. 0.05 is rounded to "
        "24 bits, 1/16 is not. Everything else agrees with the reference.",
    ),
    "leave_the_path": (
        ["sum for mean", "momentum, rate drops"],
        "With the sum, the short batch takes a shorter step. Keras' velocity contains the rate: the same "
        "rule only while the rate is constant.",
    ),
}
