"""Lasagne 0.1 over Theano 0.8.2: layers that hold their parameters, each built on the layer before.

Conv2DLayer flips its kernels, as Theano does. LENET_KERNELS=turned turns them before.
"""

import os

import lasagne
import numpy as np
import theano
import theano.tensor as T
from lasagne.layers import (
    Conv2DLayer,
    DenseLayer,
    FlattenLayer,
    InputLayer,
    MaxPool2DLayer,
    NonlinearityLayer,
    get_output,
)
from lasagne.nonlinearities import linear, rectify

TURNED = os.environ.get("LENET_KERNELS") == "turned"


def to_lasagne(weight):
    if weight.ndim == 2:
        return np.ascontiguousarray(weight.T)
    return np.ascontiguousarray(weight[:, :, ::-1, ::-1] if TURNED else weight)


def lenet(x, params):
    def given(name):
        return {
            "W": to_lasagne(params[name + ".weight"]),
            "b": params[name + ".bias"],
            "nonlinearity": linear,
        }

    y = {}
    image = InputLayer((None, 1, 28, 28), x)
    y["conv1"] = Conv2DLayer(image, 6, 5, pad=2, **given("conv1"))
    y["relu1"] = NonlinearityLayer(y["conv1"], rectify)
    y["pool1"] = MaxPool2DLayer(y["relu1"], 2)
    y["conv2"] = Conv2DLayer(y["pool1"], 16, 5, **given("conv2"))
    y["relu2"] = NonlinearityLayer(y["conv2"], rectify)
    y["pool2"] = MaxPool2DLayer(y["relu2"], 2)
    y["flatten"] = FlattenLayer(y["pool2"])
    y["fc1"] = DenseLayer(y["flatten"], 120, **given("fc1"))
    y["relu3"] = NonlinearityLayer(y["fc1"], rectify)
    y["fc2"] = DenseLayer(y["relu3"], 84, **given("fc2"))
    y["relu4"] = NonlinearityLayer(y["fc2"], rectify)
    y["logits"] = DenseLayer(y["relu4"], 10, **given("logits"))
    return y


def version():
    return "%s over Theano %s" % (lasagne.__version__, theano.__version__)


def activations(params, images):
    x = T.tensor4("x")
    layers = lenet(x, params)
    names = sorted(layers)
    run = theano.function([x], get_output([layers[name] for name in names]))
    return dict(zip(names, run(images)))
