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
        self.step, self.total = 0, {}
        return super()._make_optimizer(recipe, velocity)

    def _train_step(self, images, labels, rate):
        loss, gradient = self._gradients(images, labels)
        for name, w in self._model.params.items():
            self.rule(self, w, self._optimizer.velocity[name], gradient[name], rate, name, len(labels))
        self.step += 1
        return loss


def rule(mu=MU, decay=DECAY, gain=1.0):
    def step(port, w, v, g, rate, name, count):
        v[...] = mu * v + gain * (g + decay * w)
        w -= rate * v

    return step


def rate_inside(port, w, v, g, rate, name, count):
    v[...] = MU * v + rate * (g + DECAY * w)
    w -= v


def never_drops(port, w, v, g, rate, name, count):
    v[...] = MU * v + g + DECAY * w
    w -= RECIPE.learning_rate * v


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


RULES = [  # one for each way in which a rule leaves the right one; others are tested in `plain`
    (rule(mu=0), 2, "momentum missing"),
    (rate_inside, 5, "learning rate inside the velocity"),
    (never_drops, 5, "learning rate never drops"),
    (short_dropped, 3, "short batch dropped"),
    (accumulated, 2, "gradients accumulated across steps"),
    (conv2_left_out, 1, "conv2 not trained"),
    (velocity_reset(3, 6), 4, "velocity reset each epoch"),
]
