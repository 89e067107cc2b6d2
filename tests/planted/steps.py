"""Mistakes of the optimizer, planted in the step of the NumPy port."""

from lenet.diagnose.probe_inputs import standard
from lenet_numpy.port import Port as NumpyPort

RECIPE = standard().course.recipe
MU, DECAY = RECIPE.momentum, RECIPE.weight_decay


class Stepped(NumpyPort):
    """The NumPy port with another rule for the step: rule(port, w, v, g, rate, name, count)."""

    def __init__(self, rule, dtype="float32"):
        super().__init__("numpy", dtype)
        self.rule = rule

    def _make_optimizer(self, recipe, velocity):
        self.step, self.last, self.total = 0, None, {}
        return super()._make_optimizer(recipe, velocity)

    def _train_step(self, images, labels, rate):
        loss, gradient = self._gradients(images, labels)
        for name, w in self._model.params.items():
            self.rule(self, w, self._optimizer.velocity[name], gradient[name], rate, name, len(labels))
        self.step, self.last = self.step + 1, rate
        return loss


def rule(mu=MU, decay=DECAY, gain=1.0, scale=lambda n: 1.0):
    def step(port, w, v, g, rate, name, count):
        v[...] = mu * v + gain * (scale(count) * g + decay * w)
        w -= rate * v

    return step


def rate_inside(port, w, v, g, rate, name, count):
    v[...] = MU * v + rate * (g + DECAY * w)
    w -= v


def nesterov(port, w, v, g, rate, name, count):
    g = g + DECAY * w
    v[...] = MU * v + g
    w -= rate * (g + MU * v)


def decoupled(port, w, v, g, rate, name, count):
    v[...] = MU * v + g
    w -= rate * (v + DECAY * w)


def weights_alone_decay(port, w, v, g, rate, name, count):
    v[...] = MU * v + g + (DECAY * w if name.endswith("weight") else 0)
    w -= rate * v


def rate_late(port, w, v, g, rate, name, count):
    v[...] = MU * v + g + DECAY * w
    w -= (port.last or rate) * v


def never_drops(port, w, v, g, rate, name, count):
    v[...] = MU * v + g + DECAY * w
    w -= RECIPE.learning_rate * v


def biases_faster(port, w, v, g, rate, name, count):
    v[...] = MU * v + g + DECAY * w
    w -= rate * v * (2 if name.endswith("bias") else 1)


def short_dropped(port, w, v, g, rate, name, count):
    if count == RECIPE.batch_size:
        rule()(port, w, v, g, rate, name, count)


def accumulated(port, w, v, g, rate, name, count):
    port.total[name] = port.total.get(name, 0) + g
    rule()(port, w, v, port.total[name], rate, name, count)


def velocity_reset(*steps):
    def step(port, w, v, g, rate, name, count):
        if port.step in steps:
            v[...] = 0
        rule()(port, w, v, g, rate, name, count)

    return step


def conv2_left_out(port, w, v, g, rate, name, count):
    if not name.startswith("conv2"):
        rule()(port, w, v, g, rate, name, count)


RULES = [
    (rule(mu=0), 2, "momentum missing"),
    (rule(gain=1 - MU), 1, "momentum dampened"),
    (rate_inside, 5, "learning rate inside the velocity"),
    (nesterov, 1, "Nesterov momentum"),
    (decoupled, 2, "decoupled weight decay"),
    (rule(decay=2 * DECAY), 1, "weight decay twice as large"),
    (rule(decay=0), 1, "weight decay missing"),
    (weights_alone_decay, 1, "no weight decay on biases"),
    (rate_late, 5, "learning rate one step late"),
    (never_drops, 5, "learning rate never drops"),
    (biases_faster, 1, "learning rate doubled for biases"),
    (rule(scale=lambda n: n / RECIPE.batch_size), 3, "short batch divided by the full size"),
    (rule(scale=lambda n: n), 1, "gradients summed over the batch in training"),
    (short_dropped, 3, "short batch dropped"),
    (accumulated, 2, "gradients accumulated across steps"),
    (conv2_left_out, 1, "conv2 not trained"),
    (velocity_reset(3, 6), 4, "velocity reset each epoch"),
    (velocity_reset(4), 5, "velocity reset at a rate drop"),
]
