import torch
from threadpoolctl import threadpool_limits

torch.set_num_threads(1)  # the networks here are too small to gain from more
threadpool_limits(1)
