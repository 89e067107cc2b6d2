"""TensorFlow 1.15.5: variables and placeholders of a graph, and a session that runs it."""

import tensorflow as tf


def version():
    return tf.__version__


def weight(value):
    return tf.get_variable("weight", initializer=tf.constant(value))


def bias(value):
    return tf.get_variable("bias", initializer=tf.constant(value))


def conv(name, x, params, padding):
    kernel = params[name + ".weight"].transpose(2, 3, 1, 0)  # OIHW to HWIO
    with tf.variable_scope(name):
        y = tf.nn.conv2d(x, weight(kernel), strides=[1, 1, 1, 1], padding=padding)
        return tf.nn.bias_add(y, bias(params[name + ".bias"]))


def dense(name, x, params):
    kernel = params[name + ".weight"]
    if name == "fc1":  # it reads maps that were flattened in H, W, C order
        kernel = kernel.reshape(-1, 16, 5, 5).transpose(0, 2, 3, 1).reshape(kernel.shape)
    with tf.variable_scope(name):
        return tf.nn.xw_plus_b(x, weight(kernel.T), bias(params[name + ".bias"]))


def pool(x):
    return tf.nn.max_pool(x, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="VALID")


def inference(x, params):
    y = {}
    y["conv1"] = conv("conv1", x, params, "SAME")
    y["relu1"] = tf.nn.relu(y["conv1"])
    y["pool1"] = pool(y["relu1"])
    y["conv2"] = conv("conv2", y["pool1"], params, "VALID")
    y["relu2"] = tf.nn.relu(y["conv2"])
    y["pool2"] = pool(y["relu2"])
    y["flatten"] = tf.reshape(y["pool2"], [-1, 400])
    y["fc1"] = dense("fc1", y["flatten"], params)
    y["relu3"] = tf.nn.relu(y["fc1"])
    y["fc2"] = dense("fc2", y["relu3"], params)
    y["relu4"] = tf.nn.relu(y["fc2"])
    y["logits"] = dense("logits", y["relu4"], params)
    return y


def to_shared(name, y):
    if y.ndim == 4:
        return y.transpose(0, 3, 1, 2)
    if name == "flatten":
        return y.reshape(-1, 5, 5, 16).transpose(0, 3, 1, 2).reshape(len(y), -1)
    return y


def activations(params, images):
    one = tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
    with tf.Graph().as_default(), tf.Session(config=one) as session:
        x = tf.placeholder(tf.float32, [None, 28, 28, 1])
        layers = inference(x, params)
        session.run(tf.global_variables_initializer())
        names = sorted(layers)
        outputs = session.run([layers[name] for name in names], {x: images.transpose(0, 2, 3, 1)})
    return {name: to_shared(name, y) for name, y in zip(names, outputs)}
