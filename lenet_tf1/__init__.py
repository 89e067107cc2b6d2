"""LeNet in TensorFlow 1: a static graph and a session, gradients by `tf.gradients`.

TensorFlow appeared in November 2015. Its main idea is the static graph: Python describes the computation
once, with placeholders for the data, and a session then runs any part of it on any device. The code is
written as in 2016, with `tensorflow.compat.v1`, which is still part of TensorFlow 2.
"""
