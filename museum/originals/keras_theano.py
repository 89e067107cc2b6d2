"""Keras 2.3.1 over Theano 1.0.5: a Sequential model, channels first.

A model whose weights were made over another backend is another function here: Theano flips the kernels, and
Flatten puts the channels last. LENET_KERNELS=turned turns the kernels before, and leaves the axes in order.
"""

import os

os.environ["KERAS_BACKEND"] = "theano"  # before Keras is imported

import keras
import theano
from keras import backend as K
from keras.layers import Activation, Conv2D, Dense, Flatten, MaxPooling2D
from keras.models import Model, Sequential

TURNED = os.environ.get("LENET_KERNELS") == "turned"


def lenet():
    K.set_image_data_format("channels_first")
    # "channels_last" leaves the axes as they are: C, H, W
    flatten = Flatten(data_format="channels_last", name="flatten") if TURNED else Flatten(name="flatten")
    return Sequential(
        [
            Conv2D(6, (5, 5), padding="same", input_shape=(1, 28, 28), name="conv1"),
            Activation("relu", name="relu1"),
            MaxPooling2D((2, 2), name="pool1"),
            Conv2D(16, (5, 5), name="conv2"),
            Activation("relu", name="relu2"),
            MaxPooling2D((2, 2), name="pool2"),
            flatten,
            Dense(120, name="fc1"),
            Activation("relu", name="relu3"),
            Dense(84, name="fc2"),
            Activation("relu", name="relu4"),
            Dense(10, name="logits"),
        ]
    )


def version():
    return "%s over Theano %s" % (keras.__version__, theano.__version__)


def to_keras(weight):
    if weight.ndim == 2:
        return weight.T
    return (weight[:, :, ::-1, ::-1] if TURNED else weight).transpose(2, 3, 1, 0)


def activations(params, images):
    model = lenet()
    for layer in model.layers:
        if layer.get_weights():
            layer.set_weights([to_keras(params[layer.name + ".weight"]), params[layer.name + ".bias"]])
    every = Model(model.input, [layer.output for layer in model.layers])
    names = [layer.name for layer in model.layers]
    return dict(zip(names, every.predict(images, batch_size=400)))
