"""The inputs on which a port is judged, and the record of the values that it returned.

The inputs avoid everything that hides mistakes. Constant weights or images hide every permutation, a
single channel hides the order of channels, a batch of 1 hides a mix-up of digits, and the empty margin of
MNIST hides the padding of a convolution: half of the digits here are rolled over the edge. Each set of
weights reveals other mistakes:

- `random`: normal weights and biases, no two alike;
- `trained`: the shared weights, with their confident logits;
- `exact`: trained weights and images on a dyadic grid, where no sum of the forward pass rounds
  (`lenet.reference.certificate`). All bounds are zero, so the logits alone tell any two mistakes apart,
  and the bounds of the gradients contain only the roundings of the backward pass. Ties in pooling windows
  are frequent, so the rule for ties shows;
- `fine`: few nonzero weights, with 12 bits in conv1. Still no sum rounds, and the operands of every layer
  need more bits than TF32 or bfloat16 have. All activations are scaled by 2^-24, which float32 can represent
  and float16 cannot. That distinguishes TF32 from float16, which has as many significant bits;
- `subnormal`: `exact` scaled by 2^-128, below the smallest normal float32. It only leads to a note, because
  frameworks may set such numbers to zero, and some do;
- `loud`: the weights of `exact` with logits 64 times as large and many wrong labels: a softmax without
  the shift overflows, a probability that underflows has no logarithm, and a clipped probability shows;
- `near`: `exact` with nearly equal pixels for equal ones, so that np.isclose in pooling shows;
- `sure`: the same with the most probable labels, where only a softmax without the shift overflows;
- `again`: the input of `exact` once more. No order of summation changes it, so another answer is random;
- `one` and `many`: digits of `exact`, alone and several times in a batch of 37. Each must have the answer
  that it has among 16.

The training run has momentum, a large weight decay, a learning-rate drop and a short last batch. Its
weights after the first layer are positive, so no sum cancels before the logits, and the worst case of
rounding stays far below every term of the update.
"""

from lenet.diagnose.probe_inputs.answered import (
    Observed,
    Raised,
    alike,
    functions_of,
    observe,
    observe_port,
)
from lenet.diagnose.probe_inputs.asked import FIRST, Course, Probe, Probes, other_batches
from lenet.diagnose.probe_inputs.chosen import DIGITS, random_params, standard

__all__ = [
    "DIGITS",
    "FIRST",
    "Course",
    "Observed",
    "Probe",
    "Probes",
    "Raised",
    "alike",
    "functions_of",
    "observe",
    "observe_port",
    "other_batches",
    "random_params",
    "standard",
]
