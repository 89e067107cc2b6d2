"""MXNet 1.9.1: a Symbol, bound to an executor.

As installed, MXNet fuses layers, and the outputs of a convolution and of its ReLU, both asked for, come back
without the ReLU. MXNET_SUBGRAPH_BACKEND=NONE turns the fusion off.
"""

import mxnet as mx


def lenet():
    x = mx.sym.Variable("data")
    y = {}
    y["conv1"] = mx.sym.Convolution(x, kernel=(5, 5), pad=(2, 2), num_filter=6, name="conv1")
    y["relu1"] = mx.sym.Activation(y["conv1"], act_type="relu")
    y["pool1"] = mx.sym.Pooling(y["relu1"], pool_type="max", kernel=(2, 2), stride=(2, 2))
    y["conv2"] = mx.sym.Convolution(y["pool1"], kernel=(5, 5), num_filter=16, name="conv2")
    y["relu2"] = mx.sym.Activation(y["conv2"], act_type="relu")
    y["pool2"] = mx.sym.Pooling(y["relu2"], pool_type="max", kernel=(2, 2), stride=(2, 2))
    y["flatten"] = mx.sym.Flatten(y["pool2"])
    y["fc1"] = mx.sym.FullyConnected(y["flatten"], num_hidden=120, name="fc1")
    y["relu3"] = mx.sym.Activation(y["fc1"], act_type="relu")
    y["fc2"] = mx.sym.FullyConnected(y["relu3"], num_hidden=84, name="fc2")
    y["relu4"] = mx.sym.Activation(y["fc2"], act_type="relu")
    y["logits"] = mx.sym.FullyConnected(y["relu4"], num_hidden=10, name="logits")
    return y


def version():
    return mx.__version__


def activations(params, images):
    layers = lenet()
    names = sorted(layers)
    every = mx.sym.Group([layers[name] for name in names])
    executor = every.simple_bind(mx.cpu(), grad_req="null", data=images.shape)
    for name, array in executor.arg_dict.items():  # "conv1_weight"
        array[:] = images if name == "data" else params[name.replace("_", ".")]
    return dict(zip(names, (y.asnumpy() for y in executor.forward(is_train=False))))
