"""Theano 1.0.5: shared variables, expressions of them, and a function that Theano compiles."""

import numpy as np
import theano
import theano.tensor as T
from theano.tensor.nnet import conv2d, relu
from theano.tensor.signal.pool import pool_2d

DENSE = ("fc1.weight", "fc2.weight", "logits.weight")  # (in, out) in Theano


class LeNet(object):
    def __init__(self, params):
        values = {name: w.T if name in DENSE else w for name, w in params.items()}
        self.params = {name: theano.shared(np.ascontiguousarray(w), name) for name, w in values.items()}
        x = T.tensor4("x")
        self.layers = self.build(x)
        self.run = theano.function([x], list(self.layers.values()))

    def conv(self, name, x, **border):
        w, b = self.params[name + ".weight"], self.params[name + ".bias"]
        # Without filter_flip=False, Theano computes a true convolution: it flips the kernels.
        return conv2d(x, w, filter_flip=False, **border) + b.dimshuffle("x", 0, "x", "x")

    def dense(self, name, x):
        return T.dot(x, self.params[name + ".weight"]) + self.params[name + ".bias"]

    def build(self, x):
        y = {}
        y["conv1"] = self.conv("conv1", x, border_mode=2)
        y["relu1"] = relu(y["conv1"])
        y["pool1"] = pool_2d(y["relu1"], (2, 2), ignore_border=True)
        y["conv2"] = self.conv("conv2", y["pool1"])
        y["relu2"] = relu(y["conv2"])
        y["pool2"] = pool_2d(y["relu2"], (2, 2), ignore_border=True)
        y["flatten"] = y["pool2"].flatten(2)
        y["fc1"] = self.dense("fc1", y["flatten"])
        y["relu3"] = relu(y["fc1"])
        y["fc2"] = self.dense("fc2", y["relu3"])
        y["relu4"] = relu(y["fc2"])
        y["logits"] = self.dense("logits", y["relu4"])
        return y


def version():
    return theano.__version__


def activations(params, images):
    net = LeNet(params)
    return dict(zip(net.layers, net.run(images)))
