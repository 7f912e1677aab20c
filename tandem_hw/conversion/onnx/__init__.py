"""Ordinary networks from ONNX files."""
