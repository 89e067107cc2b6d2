"""LeNet in TensorFlow 2: a Keras model, gradients by `tf.GradientTape`.

TensorFlow 2 (Google, 2019) changed from graphs that are built first to operations that run at once. Models
are written with Keras, and `tf.function` turns a Python function into a graph.
"""
