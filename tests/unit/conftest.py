"""One thread per process, set before torch is imported: the tests' tensors are tiny, and tests run side by side."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
