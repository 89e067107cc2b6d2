"""The order of axes of every tensor of a Keras model, as its layers declare it.

A layer with a `data_format` declares it for what it reads and returns. Layers that keep the axes in their
order, such as Add and BatchNormalization, hand it on, in both directions. It is never concluded from a shape.
"""

from typing import Any

from parity.errors import UserError

# Layers and operations of Keras that return the axes of what they read, in their order.
KEEPING = {
    *("Activation", "ReLU", "LeakyReLU", "PReLU", "ELU", "Softmax", "Identity", "Rescaling", "Normalization"),
    *(
        "Dropout",
        "SpatialDropout1D",
        "SpatialDropout2D",
        "SpatialDropout3D",
        "GaussianDropout",
        "GaussianNoise",
    ),
    *(
        "AlphaDropout",
        "ActivityRegularization",
        "BatchNormalization",
        "LayerNormalization",
        "GroupNormalization",
    ),
    *(
        "RMSNormalization",
        "UnitNormalization",
        "Add",
        "Subtract",
        "Multiply",
        "Divide",
        "TrueDivide",
        "Average",
    ),
    *("Maximum", "Minimum", "Concatenate", "Dense", "UpSampling1D", "Cropping1D", "Relu", "Relu6", "Sigmoid"),
    *(
        "Silu",
        "HardSigmoid",
        "HardSilu",
        "HardSwish",
        "Tanh",
        "Gelu",
        "LogSoftmax",
        "Elu",
        "Selu",
        "LeakyRelu",
    ),
    *("Celu", "Softplus", "Softsign", "LogSigmoid", "Mish", "Exp", "Log", "Sqrt", "Rsqrt", "Square"),
    *("Power", "Abs", "Absolute", "Negative", "Clip", "Cast"),
}
# Their data_format tells of other axes than the first (items), the last or second (channels), and between.
OTHERS = {"Flatten", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D", "TimeDistributed"}
# A mean over time is taken of sequences (N, T, C) too, which graphs have in the same order.
OTHERS |= {"GlobalAveragePooling1D", "GlobalMaxPooling1D"}
AXES = {3: ("NWC", "NCW"), 4: ("NHWC", "NCHW"), 5: ("NDHWC", "NCDHW")}


class Layouts:
    """The layouts of the tensors of a functional model and of the models nested in it.

    Attributes:
        calls: {id of a layer: the nodes of these models in which it is called}.
    """

    def __init__(self, model: Any) -> None:
        self._parent: dict[int, int] = {}
        self._declared: dict[int, set[str]] = {}
        self._kept: list[Any] = []  # tensors, whose ids are in use
        self.calls: dict[int, list[Any]] = {}
        self._read(model)

    def axes(self, tensor: Any) -> str | None:
        """How to transpose a tensor: "NHWC->NCHW"; "" if channels come first; None if nothing declares it.

        Raises:
            UserError: layers declare both.
        """
        found = self._declared.get(self._root(tensor), set())
        if len(found) > 1:
            raise UserError(
                f"layers declare channels_first and channels_last for one tensor, {tensor.name!r}"
            )
        rank = len(tensor.shape)
        if not found or rank not in AXES:
            return None
        return "->".join(AXES[rank]) if found == {"channels_last"} else ""

    def _read(self, model: Any) -> None:
        for node in (one for level in model._nodes_by_depth.values() for one in level):
            operation, inputs, outputs = node.operation, node.input_tensors, node.output_tensors
            self.calls.setdefault(id(operation), []).append(node)
            within = functional(operation)
            if within is not None:
                self._read(within)
                for outer, inner in zip([*inputs, *outputs], [*within.inputs, *within.outputs], strict=True):
                    self._join([outer, inner])
            elif is_keras(operation, KEEPING):
                rank = max(len(one.shape) for one in outputs)
                self._join([one for one in (*inputs, *outputs) if len(one.shape) == rank])
            form = getattr(operation, "data_format", None)
            if form is not None and not is_keras(operation, OTHERS):
                for one in (*inputs, *outputs):
                    if len(one.shape) in AXES:
                        self._declared.setdefault(self._root(one), set()).add(form)

    def _join(self, tensors: list[Any]) -> None:
        roots = {self._root(one) for one in tensors}
        if not roots:
            return
        first = roots.pop()
        for root in roots:
            self._parent[root] = first
            self._declared.setdefault(first, set()).update(self._declared.pop(root, set()))

    def _root(self, tensor: Any) -> int:
        """The id that stands for all tensors with the layout of this one."""
        at = id(tensor)
        if at not in self._parent:
            self._parent[at] = at
            self._kept.append(tensor)
        while self._parent[at] != at:
            at = self._parent[at]
        return at


def functional(model: Any) -> Any:
    """The functional model of a model that is made of layers; None for anything else."""
    import keras

    if isinstance(model, keras.Sequential):
        model = getattr(model, "_functional", None)
    return model if isinstance(model, keras.Model) and hasattr(model, "_nodes_by_depth") else None


def is_keras(operation: Any, names: set[str]) -> bool:
    """Whether it is of one of these classes of Keras, or of a subclass."""
    classes = type(operation).__mro__
    return any(one.__name__ in names and one.__module__.startswith("keras.") for one in classes)
