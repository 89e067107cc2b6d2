"""BVLC Caffe 1.0.0, by pycaffe, on the three prototxt files of lenet_caffe/, here in the working folder."""

import caffe
import numpy as np
from caffe.proto import caffe_pb2
from google.protobuf import text_format

PARTS = ("weight", "bias")  # the order of a layer's blobs, which have no names


def version():
    return caffe.__version__


def fill(net, params):
    """Write shared weights into the blobs of a net: Caffe's layout is the shared one."""
    for layer, blobs in net.params.items():
        for part, blob in zip(PARTS, blobs):
            blob.data[...] = params[layer + "." + part]


def read(net, which):
    """The "data" or the "diff" of all blobs."""
    return {
        layer + "." + part: np.array(getattr(blob, which))
        for layer, blobs in net.params.items()
        for part, blob in zip(PARTS, blobs)
    }


def activations(params, images):
    caffe.set_mode_cpu()
    net = caffe.Net("deploy.prototxt", caffe.TEST)
    fill(net, params)
    net.blobs["data"].reshape(*images.shape)
    net.blobs["data"].data[...] = images
    net.forward()
    return {name: np.array(y.data) for name, y in net.blobs.items() if name not in ("data", "prob")}


def solver_of(batches):
    """Caffe's solver by solver.prototxt, fed by hand in place of a database."""
    net, solver = caffe_pb2.NetParameter(), caffe_pb2.SolverParameter()
    for name, message in (("train_val.prototxt", net), ("solver.prototxt", solver)):
        with open(name) as file:
            text_format.Merge(file.read(), message)
    layers = [layer for layer in net.layer if layer.type != "Data"]
    del net.layer[:]
    data = net.layer.add(name="data", type="Input", top=["data", "label"])
    size = len(batches[0][1])
    data.input_param.shape.add(dim=[size, 1, 28, 28])
    data.input_param.shape.add(dim=[size])
    net.layer.extend(layers)
    solver.ClearField("net")
    solver.net_param.CopyFrom(net)
    for field in ("test_iter", "test_interval", "snapshot_prefix"):
        solver.ClearField(field)
    rates = [rate for _, _, rate in batches]
    solver.stepvalue[0] = next(k for k, rate in enumerate(rates) if rate != rates[0])
    with open("by_hand.prototxt", "w") as file:
        file.write(text_format.MessageToString(solver))
    return caffe.SGDSolver("by_hand.prototxt")


def steps(params, batches, momentum, weight_decay):
    """The weights after each step, and the velocity, which the solver leaves in the blobs' diff. Momentum and
    weight decay are those of solver.prototxt."""
    caffe.set_mode_cpu()
    solver = solver_of(batches)
    fill(solver.net, params)
    for images, labels, _ in batches:
        solver.net.blobs["data"].data[...] = images
        solver.net.blobs["label"].data[...] = labels
        solver.step(1)
        yield read(solver.net, "data"), read(solver.net, "diff")
