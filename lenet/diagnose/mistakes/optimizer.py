"""Mistakes of the optimizer: each sets one or two options of the update rule."""

from typing import Any

from lenet.diagnose.mistakes.base import Kind, case
from lenet.network.architecture import LAYERS, PARAM_SHAPES

MOMENTUM = case("pytorch/pytorch", 1099)
DAMPED = case("HIPS/autograd", 289)
NESTEROV = case("ml-explore/mlx", 87)
FACTOR = case("mlcommons/hpc", 22)
DECOUPLED = case("leondgarse/Keras_insightface", 5)
SCHEDULE = case("cjlin1/simpleNN", 3)
UPDATE = "v = mu * v + g + decay * w; w -= rate * v"

ROWS: tuple[tuple[str, str, str, str, dict[str, Any]], ...] = (
    ("momentum missing", "Each step forgets the velocity.", f"{UPDATE}.", MOMENTUM, {"momentum": "none"}),
    (
        "momentum dampened",
        "The gradient is multiplied by 1 − μ, so the velocity is an average instead of a sum.",
        f"{UPDATE}; dampening=0.",
        DAMPED,
        {"momentum": "dampened"},
    ),
    (
        "momentum dampened but for the first step",
        "From the second step on, the gradient is multiplied by 1 − μ.",
        "Set dampening=0.",
        DAMPED,
        {"momentum": "dampened later"},
    ),
    (
        "learning rate inside the velocity",
        "The velocity contains the rates of earlier steps, which matters after the rate drops.",
        f"{UPDATE}; keep the rate outside of the velocity.",
        MOMENTUM,
        {"momentum": "rate inside"},
    ),
    (
        "Nesterov momentum",
        "The step looks ahead along the velocity.",
        "Set nesterov=False.",
        NESTEROV,
        {"momentum": "Nesterov"},
    ),
    (
        "Nesterov momentum with the rate inside",
        "The step looks ahead along a velocity that contains the rate.",
        "Set nesterov=False and keep the rate outside of the velocity.",
        NESTEROV,
        {"momentum": "Nesterov, rate inside"},
    ),
    (
        "velocity one step late",
        "The parameters move by the velocity of the step before.",
        "Update the velocity first, then the parameters.",
        MOMENTUM,
        {"momentum": "late"},
    ),
    (
        "velocity reset each epoch",
        "The velocity is set to zero at the start of each epoch.",
        "Create the optimizer once, before the loop over epochs.",
        MOMENTUM,
        {"reset": "epoch"},
    ),
    (
        "velocity reset at a rate drop",
        "The velocity is set to zero when the rate changes.",
        "Change the rate of the existing optimizer; do not create a new one.",
        MOMENTUM,
        {"reset": "rate"},
    ),
    ("weight decay missing", "No weight decay is applied.", f"{UPDATE}.", FACTOR, {"decay": "none"}),
    (
        "decoupled weight decay",
        "The weights decay directly, as in AdamW, instead of through the velocity.",
        f"{UPDATE}; add the decay to the gradient.",
        DECOUPLED,
        {"decay": "decoupled"},
    ),
    (
        "weight decay without the learning rate",
        "Each step subtracts λ·w from the weights, independent of the rate.",
        f"{UPDATE}.",
        DECOUPLED,
        {"decay": "unscaled"},
    ),
    (
        "weight decay twice as large",
        "λ·Σw² was added to the loss; its gradient is 2·λ·w.",
        "Add λ/2 · Σw² to the loss, or λ·w to the gradient.",
        FACTOR,
        {"decay_factor": 2.0},
    ),
    (
        "weight decay half as large",
        "Half of λ·w is added to the gradient.",
        "Add λ/2 · Σw² to the loss, or λ·w to the gradient.",
        case("tensorpack/tensorpack", 1381),
        {"decay_factor": 0.5},
    ),
    (
        "weight decay with the wrong sign",
        "The decay makes the weights grow.",
        f"{UPDATE}.",
        FACTOR,
        {"decay_factor": -1.0},
    ),
    (
        "no weight decay on biases",
        "Biases have no decay; this recipe decays all parameters.",
        "Apply the decay to all parameters.",
        case("thtrieu/qclass_dl", 3),
        {"decay_on": "weight"},
    ),
    (
        "weight decay on biases alone",
        "Only biases have decay.",
        "Apply the decay to all parameters.",
        case("thtrieu/qclass_dl", 3),
        {"decay_on": "bias"},
    ),
    (
        "learning rate one step late",
        "Each step uses the rate of the step before.",
        "Set the rate before its step.",
        SCHEDULE,
        {"rate": -1},
    ),
    (
        "learning rate one step early",
        "Each step uses the rate of the next step: the scheduler runs before the optimizer.",
        "Call scheduler.step() after optimizer.step().",
        SCHEDULE,
        {"rate": 1},
    ),
    (
        "learning rate never drops",
        "All steps use the first rate.",
        "Use the rate of each batch.",
        case("keras-team/keras", 9938),
        {"rate": None},
    ),
    (
        "learning rate doubled for biases",
        "The rate of biases is doubled, as with lr_mult 2 in Caffe.",
        "Use the same rate for all parameters.",
        case("amoudgl/pygoturn", 12),
        {"bias_rate": 2.0},
    ),
    (
        "biases not trained",
        "Biases keep their initial values.",
        "Pass all parameters to the optimizer.",
        case("amoudgl/pygoturn", 12),
        {"bias_rate": 0.0, "decay_on": "weight"},
    ),
    (
        "short batch divided by the full size",
        "The sum over a short batch is divided by the full batch size.",
        "Divide by the number of digits in the batch.",
        case("catalyst-team/catalyst", 799),
        {"short": "full"},
    ),
    (
        "short batch dropped",
        "The short last batch of an epoch is skipped.",
        "Set drop_last=False.",
        case("thuml/Autoformer", 104),
        {"short": "skipped"},
    ),
    (
        "gradients summed over the batch in training",
        "The loss is summed over the batch; it must be averaged.",
        "Use reduction='mean'.",
        case("PreferredAI/cornac", 537),
        {"summed": True},
    ),
    (
        "gradients accumulated across steps",
        "The gradients are never zeroed: each step also uses those of all steps before.",
        "Zero the gradients in each step: optimizer.zero_grad().",
        case("karpathy/llm.c", 548),
        {"accumulated": True},
    ),
    (
        "nothing is trained",
        "No parameter changes.",
        "Call the optimizer's step with these parameters.",
        case("pytorch/pytorch", 47175),
        {"frozen": "all"},
    ),
    *(
        (
            f"{layer} not trained",
            f"{layer} keeps its initial values.",
            f"Pass {layer} to the optimizer; requires_grad=True, trainable=True.",
            case("pytorch/pytorch", 47175),
            {"frozen": layer},
        )
        for layer in (*(layer.name for layer in LAYERS if layer.affine), *PARAM_SHAPES)
    ),
    (
        "momentum dampened and corrected",
        "The velocity is an average, divided by 1 − μ^t as in Adam.",
        f"{UPDATE}; no bias correction.",
        DAMPED,
        {"momentum": "corrected"},
    ),
    (
        "Nesterov momentum from the second step on",
        "Each step but the first looks ahead along the velocity.",
        "Set nesterov=False.",
        NESTEROV,
        {"momentum": "Nesterov later"},
    ),
    (
        "weight decay after the step",
        "The weights after the step are multiplied by 1 − η·λ, instead of a decay through the velocity.",
        f"{UPDATE}; add the decay to the gradient.",
        DECOUPLED,
        {"decay": "after"},
    ),
    (
        "L1 in place of weight decay",
        "λ·sign(w) is added to the gradient instead of λ·w.",
        f"{UPDATE}; the decay is that of λ/2 · Σw².",
        "",
        {"decay": "L1"},
    ),
    (
        "learning rate multiplied by the batch size",
        "Each step uses η times the number of digits in its batch.",
        "Use the rate of each batch as it is.",
        "",
        {"by_size": True},
    ),
    (
        "gradient of the step before",
        "Each step uses the gradient of the step before; the first step, without one, uses zero.",
        "Use the gradient of the batch at the weights that the step moves.",
        "",
        {"stale": "zero"},
    ),
    (
        "gradient of the step before, none in the first step",
        "Each step uses the gradient of the step before; the first step, without one, does nothing.",
        "Use the gradient of the batch at the weights that the step moves.",
        "",
        {"stale": "none"},
    ),
    (
        "step uphill",
        "The step is added to the parameters, which is gradient ascent.",
        f"{UPDATE}; subtract the step.",
        case("pytorch/pytorch", 47175),
        {"uphill": True},
    ),
)
MISTAKES = tuple((Kind(name, text, remedy, link), options) for name, text, remedy, link, options in ROWS)
