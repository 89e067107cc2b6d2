"""ONNX files: written by every exporter, run in every runtime, read and refused."""
