"""LeNet in TensorFlow 1: a static graph and a session, gradients by `tf.gradients`.

TensorFlow came out in November 2015 and stands for the graph: Python describes the computation once,
with placeholders where the data will be, and a session then runs any part of the description, on any
device. Written as in 2016, against `tensorflow.compat.v1`, which TensorFlow 2 still brings.
"""
