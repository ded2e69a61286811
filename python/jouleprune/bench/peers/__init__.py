"""Adapters of other libraries, each run by the interpreter that has the library installed.

This package is loaded there by ``jouleprune.bench.peer_client`` without jouleprune and without torch: numpy and the
library are all it may import.
"""

#: Name on the command line: module of the adapter.
ADAPTERS = {
    "deepsparse": "deepsparse_peer",
    "libxsmm": "libxsmm_peer",
    "mnn": "mnn_peer",
    "mnn-sparse": "mnn_sparse_peer",
    "onnxruntime": "onnxruntime_peer",
    "openvino": "openvino_peer",
    "sparseprop": "sparseprop_peer",
}
