"""The main job's work beside PyTorch's on the same processor, in alternating turns: a LoRA step of batch 8, a step of a guided walk and decoding of 8 pictures.

    npm run build && python test/bench/main_job.py [device [turns [N]]]        N of each in a turn; needs torch, diffusers and peft

PyTorch has the base of presets/emoji/base as diffusers opens it, channels last, as many threads as processors, LoRA by peft on the same layers, latents and
texts computed beforehand, AdamW, clipping to 1. Prints medians of all turns and their ratios. Each waits while the other works.
"""
import json
import os
import subprocess
import sys
import time
import warnings

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from peft import LoraConfig
from transformers import CLIPTextModel, CLIPTokenizer

warnings.filterwarnings("ignore")
device = sys.argv[1] if len(sys.argv) > 1 else "wasm"
turns = int(sys.argv[2]) if len(sys.argv) > 2 else 3
each = int(sys.argv[3]) if len(sys.argv) > 3 else 8
torch.manual_seed(0)
torch.set_num_threads(len(os.sched_getaffinity(0)))
here = os.path.dirname(os.path.abspath(__file__))
base = os.path.join(here, "../../presets/emoji/base")
PICTURES = 8

tokenizer = CLIPTokenizer.from_pretrained(base, subfolder="tokenizer")
text_encoder = CLIPTextModel.from_pretrained(base, subfolder="text_encoder", torch_dtype=torch.float32).requires_grad_(False)
vae = AutoencoderKL.from_pretrained(base, subfolder="vae", torch_dtype=torch.float32).requires_grad_(False)
unet = UNet2DConditionModel.from_pretrained(base, subfolder="unet", torch_dtype=torch.float32).requires_grad_(False)
scheduler = DDIMScheduler.from_pretrained(base, subfolder="scheduler")
vae.to(memory_format=torch.channels_last)
# The layers of presets/emoji.ts.
targets = r".*(to_q|to_k|to_v|to_out\.0|ff\.net\.0\.proj|ff\.net\.2|proj_in|proj_out|conv1|conv2|conv_shortcut|conv_in|conv_out|samplers\.0\.conv|time_emb_proj)"
unet.add_adapter(LoraConfig(r=8, lora_alpha=8, target_modules=targets))
unet.to(memory_format=torch.channels_last)
trained = [p for p in unet.parameters() if p.requires_grad]
optimizer = torch.optim.AdamW(trained, lr=2e-3)


def texts(prompts):
    tokens = tokenizer(prompts, padding="max_length", max_length=tokenizer.model_max_length, truncation=True, return_tensors="pt").input_ids
    with torch.no_grad():
        return text_encoder(tokens)[0]


side = unet.config.sample_size
latents = torch.randn(PICTURES, unet.config.in_channels, side, side).contiguous(memory_format=torch.channels_last)
states = texts(["red apple"] * PICTURES)
both = texts([""] * PICTURES + ["red apple"] * PICTURES)


def step():
    noise = torch.randn_like(latents)
    t = torch.randint(0, 1000, (PICTURES,))
    noisy = scheduler.add_noise(latents, noise, t)
    predicted = unet(noisy, t, states).sample
    loss = torch.nn.functional.mse_loss(predicted, noise)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(trained, 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return loss.item()


@torch.no_grad()
def sample():
    twice = torch.cat([latents, latents])
    away, to = unet(twice, torch.tensor(500), both).sample.chunk(2)
    return scheduler.step(away + 2 * (to - away), 500, latents).prev_sample


@torch.no_grad()
def decode():
    return vae.decode(latents / vae.config.scaling_factor).sample


work = {"step": step, "sample": sample, "decode": decode}
scheduler.set_timesteps(25)
ours = subprocess.Popen(["node", os.path.join(here, "main-job.mjs"), device], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def turn_of_ours(what):
    ours.stdin.write(f"{what} {each}\n")
    ours.stdin.flush()
    return json.loads(ours.stdout.readline())


def turn_of_theirs(what):
    times = []
    for _ in range(each):
        began = time.perf_counter()
        work[what]()
        times.append(1000 * (time.perf_counter() - began))
    return times


median = lambda times: sorted(times)[len(times) // 2]
print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; steploom on {device}; {turns} turns of {each}, milliseconds (medians)")
for what in work:
    # What is compiled and laid out the first time.
    turn_of_ours(what)
    turn_of_theirs(what)
    pairs = [(turn_of_ours(what), turn_of_theirs(what)) for _ in range(turns)]
    own, their = (median([t for pair in pairs for t in pair[which]]) for which in (0, 1))
    print(f"{what:8s} PyTorch {their:7.1f}   steploom {own:7.1f}   ratio {own / their:.2f}")
ours.stdin.close()
ours.wait()
