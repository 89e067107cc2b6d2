"""ONNX out of each port, and the runtimes that run it."""
