"""ONNX files from the ports, and the runtimes that run them."""
