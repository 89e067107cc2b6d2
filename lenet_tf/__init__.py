"""LeNet in TensorFlow 2: a Keras model, gradients by `tf.GradientTape`.

TensorFlow 2 (Google, 2019) stood for the turn from graphs that are built first to operations that run
at once, with Keras as the way to write a model, and `tf.function` to have the graph back.
"""
