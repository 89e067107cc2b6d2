"""CNTK 2.7: functions of parameters and of an input variable; the batch axis is never written."""

import cntk as C
import numpy as np


def conv(name, x, params, padding):
    w, b = params[name + ".weight"], params[name + ".bias"]
    y = C.convolution(C.parameter(init=w, shape=w.shape), x, auto_padding=[False, padding, padding])
    return y + C.parameter(init=b.reshape(-1, 1, 1), shape=(len(b), 1, 1))


def dense(name, x, params):
    w, b = np.ascontiguousarray(params[name + ".weight"].T), params[name + ".bias"]
    return C.times(x, C.parameter(init=w, shape=w.shape)) + C.parameter(init=b, shape=b.shape)


def pool(x):
    return C.pooling(x, C.MAX_POOLING, (2, 2), (2, 2))


def lenet(x, params):
    y = {}
    y["conv1"] = conv("conv1", x, params, padding=True)
    y["relu1"] = C.relu(y["conv1"])
    y["pool1"] = pool(y["relu1"])
    y["conv2"] = conv("conv2", y["pool1"], params, padding=False)
    y["relu2"] = C.relu(y["conv2"])
    y["pool2"] = pool(y["relu2"])
    y["flatten"] = C.reshape(y["pool2"], (400,))
    y["fc1"] = dense("fc1", y["flatten"], params)
    y["relu3"] = C.relu(y["fc1"])
    y["fc2"] = dense("fc2", y["relu3"], params)
    y["relu4"] = C.relu(y["fc2"])
    y["logits"] = dense("logits", y["relu4"], params)
    return y


def version():
    return C.__version__


def activations(params, images):
    C.device.try_set_default_device(C.device.cpu())
    x = C.input_variable((1, 28, 28))
    layers = lenet(x, params)
    every = C.combine(list(layers.values()))
    found = every.eval({x: images})
    return {name: np.ascontiguousarray(found[y]) for name, y in zip(layers, every.outputs)}
