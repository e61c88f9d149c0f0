"""The cases in PyTorch, eager, with images and weights in NHWC."""

import backend_torch
import torch

backend_torch.memory_format = torch.channels_last
prepare, set_threads = backend_torch.prepare, backend_torch.set_threads
version = backend_torch.version
