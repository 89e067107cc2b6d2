"""LeNet in Caffe: the network is a text file, run by OpenCV.

Caffe (Y. Jia et al., "Caffe: Convolutional Architecture for Fast Feature Embedding", ACM MM 2014) was
released by Berkeley in December 2013. Its main idea is models as data: a network is a protobuf message in
`deploy.prototxt` and `train_val.prototxt`. A command trains it by `solver.prototxt`, without code, and the
result is a `.caffemodel`, the same message with weights. Caffe introduced the model zoo. Its last release
is 1.0, of 2017; OpenCV 4 still imports its files for inference. `python -m lenet_caffe` writes these files,
and converts a `.caffemodel` to shared weights.
"""
