"""Stable Diffusion 1.5 and XL at their full size, with weights drawn at random: steploom beside diffusers and peft.

    npm run build && python test/parity/full_size.py [--only sd15|sdxl] [--side 512] [--steps 20] [--tiny]

diffusers makes a folder and trains a LoRA of its attention in float32 on given latents, noise, timesteps and start. steploom (full_size.mjs, on
WebGPU) loads the folder and does the same. Losses are compared, and the adapter that steploom wrote is opened in diffusers. For one GPU of 80 GB, which
the two use one after the other; --tiny makes small models and computes on the CPU. Ends with 1 where a bound is passed.
"""
import argparse
import gc
import os
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.nn.functional as nnf
from diffusers import AutoencoderKL, DDPMScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from peft import LoraConfig
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from opens_in_diffusers import opened, unused
from pipelines import scheduler, tokenizer

HERE = Path(__file__).resolve().parent
PROMPTS = ["a Red heart, 2 cats!"]
RANK, RATE, TARGETS = 4, 2e-4, ["to_q", "to_k", "to_v", "to_out.0"]
#: The largest difference of losses, as a share: of the model as it is, and while it is trained; and of what the adapter changes.
BOUNDS = {"loss": 1e-3, "training": 5e-3, "adapter": 0.01}

# The fixtures' scripts ask for it; on a GPU some operations have no such form.
torch.use_deterministic_algorithms(False)
torch.set_num_threads(os.cpu_count() if torch.cuda.is_available() else 1)
torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False

CROSS, PLAIN = ("CrossAttnDownBlock2D", "CrossAttnUpBlock2D"), ("DownBlock2D", "UpBlock2D")


def levels(*kinds):
    return {"down_block_types": [down for down, _ in kinds], "up_block_types": [up for _, up in reversed(kinds)]}


CLIP_L = dict(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12, projection_dim=768, hidden_act="quick_gelu")
BIG_G = dict(hidden_size=1280, intermediate_size=5120, num_hidden_layers=32, num_attention_heads=20, projection_dim=1280, hidden_act="gelu")
MODELS = {
    "sd15": dict(
        side=512, dtype=torch.float32, encoders=[CLIP_L], vae=dict(block_out_channels=[128, 256, 512, 512], layers_per_block=2, scaling_factor=0.18215),
        unet=dict(block_out_channels=[320, 640, 1280, 1280], layers_per_block=2, cross_attention_dim=768, attention_head_dim=8,
                  **levels(CROSS, CROSS, CROSS, PLAIN))),
    "sdxl": dict(
        # In float16, as people have it.
        side=1024, dtype=torch.float16, encoders=[CLIP_L, BIG_G],
        vae=dict(block_out_channels=[128, 256, 512, 512], layers_per_block=2, scaling_factor=0.13025),
        unet=dict(block_out_channels=[320, 640, 1280], layers_per_block=2, cross_attention_dim=2048, attention_head_dim=[5, 10, 20],
                  transformer_layers_per_block=[1, 2, 10], use_linear_projection=True, addition_embed_type="text_time",
                  addition_time_embed_dim=256, projection_class_embeddings_input_dim=2816, **levels(PLAIN, CROSS, CROSS))),
}
SMALL = dict(hidden_size=64, intermediate_size=128, num_hidden_layers=3, num_attention_heads=2, projection_dim=64)
TINY = {
    "sd15": dict(block_out_channels=[32, 64, 64, 64], layers_per_block=1, cross_attention_dim=64, attention_head_dim=2),
    "sdxl": dict(block_out_channels=[32, 64, 64], layers_per_block=1, cross_attention_dim=128, attention_head_dim=[1, 2, 2],
                 transformer_layers_per_block=[1, 1, 2], addition_time_embed_dim=32, projection_class_embeddings_input_dim=6 * 32 + 64),
}


def tiny(name):
    model = MODELS[name]
    return {**model, "side": 64, "encoders": [{**encoder, **SMALL} for encoder in model["encoders"]], "unet": {**model["unet"], **TINY[name]},
            "vae": {**model["vae"], "block_out_channels": [32] * 4, "layers_per_block": 1}}


@contextmanager
def phase(name):
    print(f"{name} ...", flush=True)
    began = time.time()
    yield
    memory = ""
    if torch.cuda.is_available():
        memory = f", PyTorch's GPU memory at most {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB"
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    print(f"{name}: {time.time() - began:.1f} s{memory}", flush=True)


def on(device, generator, *shape, scale=1.0):
    return scale * torch.randn(*shape, generator=generator, device=device)


@torch.no_grad()
def enliven(network, generator):
    """Gives a new network's layers an output of order 1 (PyTorch's start has a third of the variance), and norms weights of their own."""
    for module in network.modules():
        if isinstance(module, (torch.nn.Linear, torch.nn.Conv2d)):
            module.weight.mul_(3**0.5)
        elif isinstance(module, (torch.nn.GroupNorm, torch.nn.LayerNorm)):
            for p in module.parameters():
                p.add_(on(p.device, generator, *p.shape, scale=0.1))
        elif isinstance(module, torch.nn.Embedding):
            # transformers starts them at 0.02.
            module.weight.mul_(25)


def conditions(pipe, device):
    if hasattr(pipe, "text_encoder_2"):
        states, _, pooled, _ = pipe.encode_prompt(PROMPTS, PROMPTS, device, 1, False)
        return states, pooled
    return pipe.encode_prompt(PROMPTS, device, 1, False)[0], None


def predicted(unet, given, step, told):
    """The denoiser's output at a step of what is given, and its loss."""
    latents, noise, t = given["latents"], given["noises"][step], given["timesteps"][step].long()
    states, pooled = told
    side = float(8 * latents.shape[-1])
    sizes = torch.tensor([[side, side, 0, 0, side, side]] * len(PROMPTS), device=latents.device)
    noisy = DDPMScheduler.from_config(scheduler().config).add_noise(latents, noise, t)
    output = unet(noisy, t, states, added_cond_kwargs=None if pooled is None else {"text_embeds": pooled, "time_ids": sizes}).sample
    return output, nnf.mse_loss(output, noise)


def make(folder, model, given, device):
    """Writes a pipeline of diffusers with random weights; the denoiser's output has the standard deviation 1."""
    torch.manual_seed(0)
    generator = torch.Generator(device).manual_seed(0)
    parts = {}
    for i, facts in enumerate(model["encoders"]):
        end = "_2" if i else ""
        parts[f"tokenizer{end}"], size = tokenizer(folder / f"vocabulary{end}", "!" if i else "<|endoftext|>")
        config = CLIPTextConfig(vocab_size=49408, max_position_embeddings=77, bos_token_id=size - 2, eos_token_id=size - 1, **facts)
        with torch.device(device):
            parts[f"text_encoder{end}"] = (CLIPTextModelWithProjection if i else CLIPTextModel)(config)
    with torch.device(device):
        n = len(model["vae"]["block_out_channels"])
        parts["vae"] = AutoencoderKL(down_block_types=["DownEncoderBlock2D"] * n, up_block_types=["UpDecoderBlock2D"] * n,
                                     sample_size=model["side"], **model["vae"])
        parts["unet"] = UNet2DConditionModel(sample_size=model["side"] // 8, **model["unet"])
    for name in ("unet", "text_encoder", "text_encoder_2"):
        if name in parts:
            enliven(parts[name].eval(), generator)
    if "text_encoder_2" in parts:
        pipe = StableDiffusionXLPipeline(scheduler=scheduler(), **parts)
    else:
        pipe = StableDiffusionPipeline(scheduler=scheduler(), safety_checker=None, feature_extractor=None, requires_safety_checker=False, **parts)
    with torch.no_grad():
        output, _ = predicted(pipe.unet, given, 0, conditions(pipe, device))
        pipe.unet.conv_out.weight.div_(output.std())
        pipe.unet.conv_out.bias.div_(output.std())
    pipe.to(model["dtype"]).save_pretrained(folder)
    size = sum(f.stat().st_size for f in folder.rglob("*.safetensors"))
    print(f"  {size / 2**30:.2f} GiB of {model['dtype']}, {sum(p.numel() for p in pipe.unet.parameters()) / 1e6:.0f} million weights in the denoiser")


def reference(folder, given, device):
    """What diffusers and peft make of it; `given` is given the adapter's start."""
    pipe = opened(folder)
    pipe.vae = None
    pipe.to(device)
    unet = pipe.unet.requires_grad_(False)
    out = {}
    with torch.no_grad():
        told = conditions(pipe, device)
        out["states"] = told[0]
        if told[1] is not None:
            out["pooled"] = told[1]
        out["base"] = torch.stack([predicted(unet, given, step, told)[1] for step in range(len(given["noises"]))])
        out["predicted"] = predicted(unet, given, 0, told)[0]
    unet.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=TARGETS))
    # Only what one block is computed from is kept: the same numbers in less memory.
    unet.enable_gradient_checkpointing()
    unet.train()
    adapter = {f"unet.{path.replace('.default', '')}": p for path, p in unet.named_parameters() if p.requires_grad}
    generator = torch.Generator(device).manual_seed(2)
    with torch.no_grad():
        for path, p in adapter.items():
            p.copy_(on(device, generator, *p.shape, scale=1 / RANK if "lora_A" in path else 0.02))
            given[f"start.{path}"] = p.detach().clone()
    optimizer = torch.optim.AdamW(adapter.values(), lr=RATE, weight_decay=1e-2)
    losses = []
    for step in range(len(given["noises"])):
        loss = predicted(unet, given, step, told)[1]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.detach())
    out["losses"] = torch.stack(losses)
    unet.eval()
    with torch.no_grad():
        out["adapted"] = predicted(unet, given, 0, told)[0]
    return {name: value.cpu() for name, value in out.items()}


def steploom(work, args):
    command = ["node", HERE / "full_size.mjs", work, args.device, str(args.steps), str(RATE), str(RANK), *PROMPTS]
    subprocess.run(command, check=True)
    return load_file(work / "steploom.safetensors")


def away(a, b):
    return ((a - b).abs().max() / b.abs().max()).item()


def compare(folder, work, given, theirs, ours, device):
    """Prints what differs; returns which bounds are passed."""
    wrong = []

    def hold(what, value, bound):
        print(f"  {what}: {value:.1e}" + (f" (at most {bound})" if value <= bound else f", above {bound}"))
        if not value <= bound:
            wrong.append(what)

    for name in ("states", "pooled", "predicted", "adapted"):
        if name in theirs:
            print(f"  {name}: largest difference {away(ours[name].reshape(theirs[name].shape), theirs[name]):.1e} of the largest value")
    gaps = {name: (ours[name] / theirs[name] - 1).abs().max().item() for name in ("base", "losses")}
    hold("losses of the model as it is, largest difference", gaps["base"], BOUNDS["loss"])
    print("  step: loss without an adapter; with it, of steploom, of diffusers and peft")
    for step, losses in enumerate(zip(theirs["base"].tolist(), ours["losses"].tolist(), theirs["losses"].tolist())):
        print(f"  {step + 1:4}: {losses[0]:.6f}; {losses[1]:.6f} {losses[2]:.6f}")
    hold("losses while it is trained, largest difference", gaps["losses"], BOUNDS["training"])

    pipe = opened(folder)
    pipe.vae = None
    pipe.to(device).load_lora_weights(work / "adapter")
    left = unused(pipe, work / "adapter" / "pytorch_lora_weights.safetensors")
    hold("keys of steploom's adapter that diffusers does not use", len(left), 0)
    with torch.no_grad():
        output = predicted(pipe.unet, given, 0, conditions(pipe, device))[0].cpu()
    mine, peers = output - theirs["predicted"], theirs["adapted"] - theirs["predicted"]
    ratio = (mine.norm() / peers.norm()).item()
    print(f"  diffusers with steploom's adapter, and steploom: largest difference {away(ours['adapted'], output):.1e} of the largest value")
    print(f"  steploom's adapter changes the output by {mine.norm() / theirs['predicted'].norm():.4f} of it, diffusers' own by "
          f"{peers.norm() / theirs['predicted'].norm():.4f}: ratio {ratio:.5f}; between the two changes {(mine - peers).norm() / peers.norm():.1e}")
    hold("that ratio's distance from 1", abs(ratio - 1), BOUNDS["adapter"])
    return wrong


def run(name, args):
    model = tiny(name) if args.tiny else dict(MODELS[name])
    model["side"] = args.side or model["side"]
    device = "cpu" if args.tiny else "cuda"
    generator = torch.Generator(device).manual_seed(1)
    shape = (len(PROMPTS), 4, model["side"] // 8, model["side"] // 8)
    given = {"latents": on(device, generator, *shape), "noises": on(device, generator, args.steps, *shape),
             "timesteps": torch.randint(0, 1000, (args.steps, len(PROMPTS)), generator=generator, device=device).int()}
    with TemporaryDirectory(dir=args.scratch) as work:
        work = Path(work)
        folder = work / "model"
        title = f"{name} at {model['side']} px"
        with phase(f"{title}: diffusers makes it"):
            make(folder, model, given, device)
        with phase(f"{title}: diffusers and peft, {args.steps} steps"):
            theirs = reference(folder, given, device)
        save_file({key: value.cpu() for key, value in given.items()}, work / "given.safetensors")
        with phase(f"{title}: steploom"):
            ours = steploom(work, args)
        with phase(f"{title}: compared"):
            return compare(folder, work, given, theirs, ours, device)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", choices=MODELS, help="one of the two")
    parser.add_argument("--side", type=int, help="pixels; 512 and 1,024 by default")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--scratch", help="where folders are made for the while, 8 GiB; the system's by default")
    parser.add_argument("--device", help="steploom's; webgpu by default, or wasm with --tiny")
    parser.add_argument("--tiny", action="store_true", help="small models, on the CPU")
    args = parser.parse_args()
    args.device = args.device or ("wasm" if args.tiny else "webgpu")
    wrong = [f"{name}: {what}" for name in ([args.only] if args.only else MODELS) for what in run(name, args)]
    print("all within bounds" if not wrong else f"out of bounds: {'; '.join(wrong)}")
    raise SystemExit(len(wrong) > 0)
