"""Running exported models without Paddle: `Predictor(folder)`, in ONNX Runtime or OpenVINO (docs/runtime.md)."""
