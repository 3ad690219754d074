"""Files that leave a run: bundles, ONNX files, towers, and files for test servers."""
