"""PyTorch's part of sd15.mjs and sdxl.mjs: one way of training as diffusers' scripts configure it. The frozen denoiser is in bfloat16, LoRA of rank 16
in float32 under autocast; AdamW, clipping. Prints one line of JSON: milliseconds a step, and the largest memory that tensors took.
  python3 test/bench/unet/lora_step.py '{"model":"sd15","batch":4,"precision":"fp16","checkpointing":false}'
"""

import json
import sys
import time
import warnings

import torch
from diffusers import UNet2DConditionModel
from peft import LoraConfig

warnings.filterwarnings("ignore")
asked = {"batch": 1, "precision": "fp16", "checkpointing": False, "compile": False, "warm": 4, "steps": 8, **json.loads(sys.argv[1])}
CONFIGS = {
    "sd15": (64, 768, dict(
        sample_size=64, in_channels=4, out_channels=4, block_out_channels=[320, 640, 1280, 1280], layers_per_block=2,
        down_block_types=["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"], up_block_types=["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
        cross_attention_dim=768, attention_head_dim=8)),
    "sdxl": (128, 2048, dict(
        sample_size=128, in_channels=4, out_channels=4, block_out_channels=[320, 640, 1280], layers_per_block=2,
        down_block_types=["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        up_block_types=["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"], cross_attention_dim=2048,
        attention_head_dim=[5, 10, 20], transformer_layers_per_block=[1, 2, 10], use_linear_projection=True,
        addition_embed_type="text_time", addition_time_embed_dim=256, projection_class_embeddings_input_dim=2816)),
}
side, width, config = CONFIGS[asked["model"]]
half = asked["precision"] != "no"
dtype = torch.bfloat16 if half else torch.float32
# float32 as it stands: tf32 has the precision of bfloat16's neighbours.
torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
torch.manual_seed(0)
with torch.device("cuda"):
    unet = UNet2DConditionModel(**config)
unet.requires_grad_(False).to(dtype)
if asked["checkpointing"]:
    unet.enable_gradient_checkpointing()
unet.add_adapter(LoraConfig(r=16, lora_alpha=16, init_lora_weights="gaussian", target_modules=["to_k", "to_q", "to_v", "to_out.0"]))
unet.train()
trained = [p for p in unet.parameters() if p.requires_grad]
for p in trained:
    p.data = p.data.float()
optimizer = torch.optim.AdamW(trained, lr=1e-4)
n = asked["batch"]
latents = torch.randn(n, 4, side, side, device="cuda", dtype=dtype)
noise = torch.randn(n, 4, side, side, device="cuda")
states = torch.randn(n, 77, width, device="cuda", dtype=dtype)
timesteps = torch.randint(1000, (n,), device="cuda")
more = {}
if asked["model"] == "sdxl":
    ids = torch.tensor([[1024.0, 1024, 0, 0, 1024, 1024]] * n, device="cuda", dtype=dtype)
    more = dict(added_cond_kwargs=dict(text_embeds=torch.randn(n, 1280, device="cuda", dtype=dtype), time_ids=ids))
model = torch.compile(unet) if asked["compile"] else unet


def step():
    with torch.autocast("cuda", dtype=torch.bfloat16, enabled=half):
        predicted = model(latents, timesteps, states, **more).sample
    (predicted.float() - noise).square().mean().backward()
    torch.nn.utils.clip_grad_norm_(trained, 1.0)
    optimizer.step()
    optimizer.zero_grad()


for _ in range(asked["warm"]):
    step()
torch.cuda.synchronize()
torch.cuda.reset_peak_memory_stats()
began = time.time()
for _ in range(asked["steps"]):
    step()
torch.cuda.synchronize()
ms = (time.time() - began) / asked["steps"] * 1e3
print(json.dumps({**asked, "ms": round(ms, 1), "gib": round(torch.cuda.max_memory_allocated() / 2**30, 2)}), flush=True)
