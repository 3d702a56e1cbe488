"""torch's fused AdamW and bitsandbytes' AdamW8bit on the shapes of optimizers.mjs, which calls this; milliseconds as JSON.

    python optimizers_torch.py cpu|cuda
"""
import json
import sys
import time
import warnings

import torch

warnings.filterwarnings("ignore")
device = sys.argv[1]
torch.set_num_threads(2)


def measure(make, shapes, repeats):
    params = [torch.nn.Parameter(torch.randn(*s, device=device) * 0.1) for s in shapes]
    for p in params:
        p.grad = torch.randn_like(p) * 0.01
    optimizer = make(params)
    times = []
    for i in range(repeats + 5):
        if device == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        # On a GPU many in a row, waited for once, as optimizers.mjs does.
        in_row = 100 if device == "cuda" else 1
        for _ in range(in_row):
            optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()
        if i >= 5:
            times.append((time.perf_counter() - start) / in_row)
    return sorted(times)[len(times) // 2] * 1000


def adamw(params):
    return torch.optim.AdamW(params, lr=1e-3, weight_decay=1e-2, fused=True)


def adamw8bit(params):
    import bitsandbytes

    return bitsandbytes.optim.AdamW8bit(params, lr=1e-3, weight_decay=1e-2)


one = [(100_000_000 if device == "cuda" else 4_194_304,)]
many = [(4, 320)] * 512
out = {"one": measure(adamw, one, 20), "many": measure(adamw, many, 50)}
try:
    out["one8bit"] = measure(adamw8bit, one, 10)
except Exception as error:  # not installed here
    out["note"] = str(error).splitlines()[0]
if device == "cuda":
    # Copying as many floats from one place to another, bytes read and written: the bandwidth to be compared with.
    a, b = torch.randn(100_000_000, device=device), torch.empty(100_000_000, device=device)
    times = []
    for i in range(25):
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(100):
            b.copy_(a)
        torch.cuda.synchronize()
        times.append((time.perf_counter() - start) / 100)
    out["copy"] = 800e6 / sorted(times)[12] / 1e9
print(json.dumps(out))
