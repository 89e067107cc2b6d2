"""TensorFlow 0.12.1: an interactive session, and helpers for variables, as the tutorials of 2016 had them."""

import tensorflow as tf


def version():
    return tf.__version__


def conv2d(x, W, padding):
    return tf.nn.conv2d(x, W, strides=[1, 1, 1, 1], padding=padding)


def max_pool_2x2(x):
    return tf.nn.max_pool(x, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="SAME")


def variable(value):
    return tf.Variable(tf.constant(value))


def to_tensorflow(name, array):
    if array.ndim == 4:
        return array.transpose(2, 3, 1, 0)  # OIHW to HWIO
    if name == "fc1.weight":  # it reads maps that were flattened in H, W, C order
        array = array.reshape(-1, 16, 5, 5).transpose(0, 2, 3, 1).reshape(array.shape)
    return array.T


def to_shared(name, h):
    if h.ndim == 4:
        return h.transpose(0, 3, 1, 2)
    if name == "flatten":
        return h.reshape(-1, 5, 5, 16).transpose(0, 3, 1, 2).reshape(len(h), -1)
    return h


def inference(x, params):
    W = {name: variable(to_tensorflow(name, array)) for name, array in params.items()}
    h = {}
    h["conv1"] = conv2d(x, W["conv1.weight"], "SAME") + W["conv1.bias"]
    h["relu1"] = tf.nn.relu(h["conv1"])
    h["pool1"] = max_pool_2x2(h["relu1"])
    h["conv2"] = conv2d(h["pool1"], W["conv2.weight"], "VALID") + W["conv2.bias"]
    h["relu2"] = tf.nn.relu(h["conv2"])
    h["pool2"] = max_pool_2x2(h["relu2"])
    h["flatten"] = tf.reshape(h["pool2"], [-1, 400])
    h["fc1"] = tf.matmul(h["flatten"], W["fc1.weight"]) + W["fc1.bias"]
    h["relu3"] = tf.nn.relu(h["fc1"])
    h["fc2"] = tf.matmul(h["relu3"], W["fc2.weight"]) + W["fc2.bias"]
    h["relu4"] = tf.nn.relu(h["fc2"])
    h["logits"] = tf.matmul(h["relu4"], W["logits.weight"]) + W["logits.bias"]
    return h


def activations(params, images):
    with tf.Graph().as_default():
        session = tf.InteractiveSession(config=tf.ConfigProto(intra_op_parallelism_threads=1))
        x = tf.placeholder(tf.float32, shape=[None, 28, 28, 1])
        layers = inference(x, params)
        tf.global_variables_initializer().run()
        feed = {x: images.transpose(0, 2, 3, 1)}
        found = {name: to_shared(name, h.eval(feed_dict=feed)) for name, h in layers.items()}
        session.close()
    return found
