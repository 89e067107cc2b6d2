"""LeNet in Caffe: the network is a text file, run by OpenCV.

Caffe (Y. Jia et al., "Caffe: Convolutional Architecture for Fast Feature Embedding", ACM MM 2014) came
out of Berkeley in December 2013 and stood for models as data: a network is a protobuf message, written
down in `deploy.prototxt` and `train_val.prototxt`, trained as `solver.prototxt` says by one command
without a line of code, and passed on as a `.caffemodel`, the same message with the weights in it. It
made the model zoo. Its last release is 1.0, of 2017; OpenCV 4 still imports its files for inference.
`python -m lenet_caffe` writes these files, and makes shared weights of a `.caffemodel`.
"""
