"""Whether ONNX files of several exporters can be packed, and run on the engine, and answer as before."""
