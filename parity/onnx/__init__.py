"""Reads ONNX files as graphs of operators."""

from parity.onnx.reading import read_onnx

__all__ = ["read_onnx"]
