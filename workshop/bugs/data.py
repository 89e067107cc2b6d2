"""Bugs between the file and the first layer."""

import numpy as np

from workshop.bugs.gallery import bug, issue

NUMPY = "lenet_numpy.weights.images_to_framework"
TORCH = "lenet_torch.weights.images_to_framework"


@bug(
    "pixels from 0 to 255",
    "numpy",
    NUMPY,
    story="The port reads the bytes of the file itself, and does not divide them by 255.",
    where="image",
    named="pixels not divided by 255",
    case=issue("deepinsight/insightface", 2508),
)
def pixels_0_to_255(right, images):
    return right(images * 255)


@bug(
    "normalised by habit",
    "torch",
    TORCH,
    story="PyTorch tutorials on MNIST normalise the pixels; these weights were trained without that.",
    where="image",
    named="pixels normalised",
    case=issue("onnx/onnx", 1440),
)
def normalised_by_habit(right, images):
    return (right(images) - 0.1307) / 0.3081


@bug(
    "ink and paper exchanged",
    "numpy",
    NUMPY,
    story="Scans are dark on white, MNIST is white on dark, and the images were inverted once too often.",
    where="image",
    named="pixels inverted",
    case=issue("deepinsight/insightface", 2508),
)
def ink_and_paper(right, images):
    return right(1 - images)


@bug(
    "integer division",
    "numpy",
    NUMPY,
    story="Bytes are divided by 255 before they become floats, so every pixel that is not white becomes 0.",
    where="image",
    named="pixels divided as integers",
)
def integer_division(right, images):
    pixels = np.rint(images * 255).astype(np.uint8)
    return right((pixels // 255).astype(images.dtype))


@bug(
    "EMNIST's orientation",
    "tf",
    "lenet_tf.weights.images_to_framework",
    story="EMNIST stores digits transposed; a loader written for EMNIST transposes those of MNIST.",
    where="image",
    named="image transposed",
    case=issue("tensorflow/datasets", 812),
)
def emnist_orientation(right, images):
    return right(images.swapaxes(2, 3))


@bug(
    "flip augmentation left on",
    "torch",
    TORCH,
    story="The training pipeline flips images left to right, which changes digits.",
    where="image",
    named="image flipped left to right",
    case=issue("chrischute/real-nvp", 5),
)
def flip_left_on(right, images):
    return right(images).flip(-1)


@bug(
    "resampled off by a pixel",
    "numpy",
    NUMPY,
    story="A resize counts pixels from another origin, so digits are one column too far to the right.",
    where="image",
    named="image shifted by one pixel right",
    case=issue("pytorch/vision", 2950),
)
def resampled_off_by_one(right, images):
    moved = np.zeros_like(images)
    moved[..., 1:] = images[..., :-1]
    return right(moved)


@bug(
    "header read as pixels",
    "numpy",
    NUMPY,
    story="The offset into the file is off by one, so every pixel is one place too late.",
    where="image",
    named="pixels off by one in the file",
)
def header_as_pixels(right, images):
    return right(np.roll(images.reshape(len(images), -1), 1, axis=1).reshape(images.shape))


@bug(
    "labels from one",
    "numpy",
    "lenet_numpy.train.softmax_cross_entropy",
    story="A data set counts classes from 1; read as MNIST's labels, every class is too large by one.",
    where="loss",
    named="labels too large by one",
    case=issue("pytorch/vision", 2630),
)
def labels_from_one(right, logits, labels):
    return right(logits, (labels + 1) % 10)


@bug(
    "labels rolled",
    "torch",
    "lenet_torch.train.F.cross_entropy",
    story="Images and labels come from two iterators, and one of them is a step ahead.",
    where="loss",
    named="labels of the neighbour",
)
def labels_rolled(right, logits, labels):
    return right(logits, labels.roll(1))
