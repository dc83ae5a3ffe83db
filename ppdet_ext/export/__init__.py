"""Export: a model as a file that runs without this package, in ONNX Runtime, OpenVINO or Paddle Inference.

`run.export` does all of it: `reader.ReaderPlan` says what the model sees, `graph.ExportGraph` is what is traced, `paddle`,
`onnx` and `openvino` write it, `verify` compares it with the model on `pictures`, `folder` describes it.
"""
