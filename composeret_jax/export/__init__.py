"""What leaves a run: bundles, ONNX files, towers, and files for test servers."""
