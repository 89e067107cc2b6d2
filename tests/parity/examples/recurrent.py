"""Uses of LSTM, GRU and RNN."""

from typing import Any

import numpy as np

from parity.operators.recurrent import GRU, LSTM, RNN, Recurrent
from tests.parity.examples.example import Example

T, B, IN, H = 4, 3, 4, 5


def _use(
    kind: type[Recurrent],
    lengths: tuple[int, ...] = (),
    initial: bool = True,
    bias: bool = True,
    peepholes: bool = False,
    **attributes: Any,
) -> Example:
    d = 2 if attributes.get("direction") == "bidirectional" else 1
    gates, states = kind.GATES, 2 if kind is LSTM else 1
    batch_first = bool(attributes.get("layout"))

    def make(rng: np.random.Generator) -> list[np.ndarray | None]:
        def draw(*shape: int) -> np.ndarray:
            return (rng.standard_normal(shape) / 2).astype(np.float32)

        start = (B, d, H) if batch_first else (d, B, H)
        made: list[np.ndarray | None] = [
            draw(B, T, IN) if batch_first else draw(T, B, IN),
            draw(d, gates * H, IN),
            draw(d, gates * H, H),
            draw(d, 2 * gates * H) if bias else None,
            np.array(lengths, np.int32) if lengths else None,
            *(draw(*start) if initial else None for _ in range(states)),
        ]
        return [*made, draw(d, 3 * H)] if peepholes else made

    attributes["hidden_size"] = H
    return Example(kind(**attributes), attributes, make)


EXAMPLES = [
    *(
        _use(kind, lengths, direction=direction)
        for kind in (RNN, GRU, LSTM)
        for direction in ("forward", "reverse", "bidirectional")
        for lengths in ((), (4, 2, 3))
    ),
    *(_use(kind, initial=False, bias=False) for kind in (RNN, GRU, LSTM)),
    *(_use(kind, clip=0.3) for kind in (RNN, GRU, LSTM)),
    _use(GRU, linear_before_reset=1),
    _use(GRU, linear_before_reset=1, direction="bidirectional"),
    _use(LSTM, peepholes=True),
    _use(LSTM, peepholes=True, direction="bidirectional", clip=0.5),
    _use(LSTM, input_forget=1),
    *(
        _use(RNN, activations=(name,))
        for name in ("Relu", "LeakyRelu", "Elu", "Softsign", "Softplus", "Sigmoid")
    ),
    _use(RNN, activations=("Affine",), activation_alpha=(0.3,), activation_beta=(0.45,)),
    _use(RNN, activations=("ScaledTanh",), activation_alpha=(0.3,), activation_beta=(0.45,)),
    _use(GRU, activations=("HardSigmoid", "LeakyRelu"), activation_alpha=(0.3, 0.4), activation_beta=(0.45,)),
    _use(LSTM, activations=("HardSigmoid", "Tanh", "Relu")),
    # onnxruntime has no kernel for these; ONNX's reference evaluator has.
    _use(RNN, layout=1),
    _use(GRU, layout=1),
    _use(LSTM, layout=1, direction="bidirectional"),
]
