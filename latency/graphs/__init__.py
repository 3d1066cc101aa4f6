"""A network as what a runtime takes: module, ONNX graph, int8 graph. Knows no clock and no table."""
