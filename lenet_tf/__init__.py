"""LeNet in TensorFlow 2: a Keras model, gradients by `tf.GradientTape`."""
