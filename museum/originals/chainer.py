"""Chainer 7.8.1: links in a Chain, and functions that record the graph as they run ("define by run")."""

import chainer
import chainer.functions as F
import chainer.links as L


class LeNet(chainer.Chain):
    def __init__(self):
        super(LeNet, self).__init__()
        with self.init_scope():
            self.conv1 = L.Convolution2D(1, 6, 5, pad=2)
            self.conv2 = L.Convolution2D(6, 16, 5)
            self.fc1 = L.Linear(400, 120)
            self.fc2 = L.Linear(120, 84)
            self.logits = L.Linear(84, 10)

    def forward(self, x):
        y = {}
        y["conv1"] = self.conv1(x)
        y["relu1"] = F.relu(y["conv1"])
        y["pool1"] = F.max_pooling_2d(y["relu1"], 2)
        y["conv2"] = self.conv2(y["pool1"])
        y["relu2"] = F.relu(y["conv2"])
        y["pool2"] = F.max_pooling_2d(y["relu2"], 2)
        y["flatten"] = F.reshape(y["pool2"], (len(x), -1))
        y["fc1"] = self.fc1(y["flatten"])
        y["relu3"] = F.relu(y["fc1"])
        y["fc2"] = self.fc2(y["relu3"])
        y["relu4"] = F.relu(y["fc2"])
        y["logits"] = self.logits(y["relu4"])
        return y


def version():
    return chainer.__version__


def model_of(params):
    model = LeNet()
    for path, parameter in model.namedparams():  # "/conv1/W"
        name = path[1:].replace("/W", ".weight").replace("/b", ".bias")
        parameter.array[...] = params[name]
    return model


def activations(params, images):
    with chainer.using_config("train", False), chainer.no_backprop_mode():
        return {name: y.array for name, y in model_of(params)(images).items()}
