"""Tiny Stable Diffusion 1.5, 2.1 and SDXL pipelines as diffusers saves them, and what diffusers and peft make of them.

    python pipelines.py [sd15] [sd21] [sdxl]     (none named: all)

Written into test/fixtures/pipelines; each folder is what save_pretrained writes, with io.safetensors (values in diffusers' own
layout, by name) beside. Runs on the CPU in a minute with diffusers 0.42.1, transformers 5.23.0, peft 0.21.2, torch 2.13.0. Seeded, float32.
"""
import json
import shutil
import sys
from pathlib import Path

import torch
import torch.nn.functional as nnf
from safetensors.torch import save_file

from make_fixtures import OUT, contiguous, draw, roughen

PIPELINES = OUT / "pipelines"
PROMPTS = ["a Red heart, 2 cats!", "the cat"]
NEGATIVE = "blurry"
STEPS = 10
GUIDANCE = 5.0


def byte_letters():
    plain = [b for b in range(256) if 33 <= b <= 126 or 161 <= b <= 172 or b >= 174]
    rest = [b for b in range(256) if b not in plain]
    return [chr(b) for b in plain] + [chr(256 + i) for i in range(len(rest))]


def tokenizer_files(folder):
    """A small vocabulary in CLIP's order: letters, letters at a word's end, merges, the two special tokens."""
    letters = byte_letters()
    merges = ["t h", "th e</w>", "c a", "ca t</w>", "a r", "ar t</w>", "h e", "r e", "re d</w>"]
    pieces = letters + [f"{x}</w>" for x in letters] + [m.replace(" ", "") for m in merges] + ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({p: i for i, p in enumerate(pieces)}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    return len(pieces)


def tokenizer(folder, padding):
    from transformers import CLIPTokenizer

    size = tokenizer_files(folder)
    return CLIPTokenizer.from_pretrained(folder, pad_token=padding, unk_token="<|endoftext|>", bos_token="<|startoftext|>",
                                         eos_token="<|endoftext|>", model_max_length=77), size


def text_encoder(vocabulary, width, layers, act, make, projection, g):
    from transformers import CLIPTextConfig

    model = make(CLIPTextConfig(
        vocab_size=vocabulary, hidden_size=width, intermediate_size=2 * width, num_hidden_layers=layers, num_attention_heads=2,
        max_position_embeddings=77, hidden_act=act, projection_dim=projection,
        bos_token_id=vocabulary - 2, eos_token_id=vocabulary - 1, pad_token_id=1)).eval()
    roughen(model, g)
    return model


def vae(scaling, g):
    from diffusers import AutoencoderKL

    model = AutoencoderKL(block_out_channels=(4, 8), down_block_types=["DownEncoderBlock2D"] * 2, up_block_types=["UpDecoderBlock2D"] * 2,
                          layers_per_block=1, norm_num_groups=2, sample_size=16, scaling_factor=scaling).eval()
    roughen(model, g)
    return model


def unet(g, **options):
    from diffusers import UNet2DConditionModel

    model = UNet2DConditionModel(sample_size=8, layers_per_block=1, norm_num_groups=2, **options).eval()
    roughen(model, g)
    return model


def scheduler(**options):
    from diffusers import PNDMScheduler

    return PNDMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", num_train_timesteps=1000,
                         set_alpha_to_one=False, skip_prk_steps=True, steps_offset=1, **options)


def sd(name, g, scratch):
    from diffusers import StableDiffusionPipeline
    from transformers import CLIPTextModel

    v = name == "sd21"
    tokens, size = tokenizer(scratch / "tokenizer", "!" if v else "<|endoftext|>")
    return StableDiffusionPipeline(
        vae=vae(0.18215, g), tokenizer=tokens, scheduler=scheduler(prediction_type="v_prediction" if v else "epsilon"),
        text_encoder=text_encoder(size, 16, 2, "gelu" if v else "quick_gelu", CLIPTextModel, 16, g),
        unet=unet(g, block_out_channels=(4, 8), cross_attention_dim=16, attention_head_dim=(1, 2) if v else 2, use_linear_projection=v,
                  upcast_attention=v, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
                  up_block_types=("UpBlock2D", "CrossAttnUpBlock2D")),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False)


def sdxl(g, scratch):
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    one, size = tokenizer(scratch / "tokenizer", "<|endoftext|>")
    two, _ = tokenizer(scratch / "tokenizer_2", "!")
    return StableDiffusionXLPipeline(
        vae=vae(0.13025, g), tokenizer=one, tokenizer_2=two,
        scheduler=EulerDiscreteScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1,
                                         timestep_spacing="leading", interpolation_type="linear"),
        text_encoder=text_encoder(size, 16, 2, "quick_gelu", CLIPTextModel, 16, g),
        text_encoder_2=text_encoder(size, 12, 3, "gelu", CLIPTextModelWithProjection, 10, g),
        unet=unet(g, block_out_channels=(4, 4, 8), cross_attention_dim=28, attention_head_dim=(1, 2, 2), use_linear_projection=True,
                  transformer_layers_per_block=(1, 2, 3), addition_embed_type="text_time", addition_time_embed_dim=8,
                  projection_class_embeddings_input_dim=6 * 8 + 10,
                  down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
                  up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D")))


def samplers():
    from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, EulerAncestralDiscreteScheduler, EulerDiscreteScheduler

    return {
        "ddim": (DDIMScheduler, {"clip_sample": False}),
        "dpm-solver++": (DPMSolverMultistepScheduler, {}),
        "dpm-solver++-karras": (DPMSolverMultistepScheduler, {"use_karras_sigmas": True}),
        "euler": (EulerDiscreteScheduler, {}),
        "euler-ancestral": (EulerAncestralDiscreteScheduler, {}),
    }


def conditions(pipe, prompts, clip_skip=None):
    """States, and the pooled one of SDXL; for gradients, so with them."""
    if hasattr(pipe, "text_encoder_2"):
        states, _, pooled, _ = pipe.encode_prompt(prompts, prompts, "cpu", 1, False, clip_skip=clip_skip)
        return states, pooled
    return pipe.encode_prompt(prompts, "cpu", 1, False, clip_skip=clip_skip)[0], None


def predicted(pipe, latents, timesteps, states, pooled):
    n = latents.shape[0]
    added = None if pooled is None else {"text_embeds": pooled, "time_ids": torch.tensor([[16.0, 16, 0, 0, 16, 16]] * n)}
    return pipe.unet(latents, timesteps, states, added_cond_kwargs=added).sample


def walks(pipe, g):
    out = {}
    start = draw(g, len(PROMPTS), 4, 8, 8)
    out["walk.latents"] = start
    noises = draw(g, STEPS, len(PROMPTS), 4, 8, 8)
    out["walk.noises"] = noises
    usual = pipe.scheduler
    import diffusers.schedulers.scheduling_euler_ancestral_discrete as ancestral

    for name, (make, options) in samplers().items():
        pipe.scheduler = make.from_config(usual.config, **options)
        drawn = iter(noises)
        ancestral.randn_tensor = lambda shape, **_: next(drawn)
        for kind, more in (("", {}), (".negative", {"negative_prompt": [NEGATIVE] * 2, "guidance_rescale": 0.7})):
            drawn = iter(noises)
            images = pipe(PROMPTS, latents=start.clone(), num_inference_steps=STEPS, guidance_scale=GUIDANCE, output_type="pt", **more).images
            out[f"walk.{name}{kind}"] = images
    # A schedule that clips: DDIM clips latents, too, and the others know of no such thing.
    pipe.scheduler = samplers()["ddim"][0].from_config(usual.config, clip_sample=True)
    out["walk.clipped"] = pipe(PROMPTS, latents=start.clone(), num_inference_steps=STEPS, guidance_scale=GUIDANCE, output_type="pt").images
    # Another size than the model's own.
    pipe.scheduler = samplers()["ddim"][0].from_config(usual.config, clip_sample=False)
    wide = draw(g, 1, 4, 8, 12)
    out["wide.latents"] = wide
    out["wide.image"] = pipe(PROMPTS[:1], latents=wide, height=16, width=24, num_inference_steps=3, guidance_scale=GUIDANCE, output_type="pt").images
    pipe.scheduler = usual
    return out


TARGETS = {
    "attention": ["to_q", "to_k", "to_v", "to_out.0"],
    "convolutions": ["ff.net.0.proj", "ff.net.2", "conv1", "conv2", "proj_in"],
    "text": ["to_q", "to_v"],
}


def trained(load, kind, g):
    """Ten steps of LoRA on given latents, noise and timesteps; the adapter at the start and at the end, under peft's names."""
    from diffusers import DDPMScheduler
    from peft import LoraConfig, inject_adapter_in_model

    pipe = load()
    out = {}
    encoders = [pipe.text_encoder] + ([pipe.text_encoder_2] if hasattr(pipe, "text_encoder_2") else [])
    for model in [pipe.unet, pipe.vae, *encoders]:
        model.requires_grad_(False)
    pipe.unet.add_adapter(LoraConfig(r=2, lora_alpha=3, init_lora_weights="gaussian", target_modules=TARGETS[kind]))
    adapted = [("unet", pipe.unet)]
    if kind == "text":
        for name, model in zip(("text_encoder", "text_encoder_2"), encoders):
            inject_adapter_in_model(LoraConfig(r=2, lora_alpha=3, target_modules=["q_proj", "v_proj", "out_proj"]), model)
            adapted.append((name, model))
    parameters = {f"{name}.{path.removeprefix('text_model.').replace('.default', '')}": p
                  for name, model in adapted for path, p in model.named_parameters() if p.requires_grad}
    with torch.no_grad():
        for name, p in parameters.items():
            p.copy_(draw(g, *p.shape, scale=0.1))
            out[f"train.{kind}.start.{name}"] = p.detach().clone()
    noise = DDPMScheduler.from_config(pipe.scheduler.config)
    optimizer = torch.optim.AdamW(parameters.values(), lr=1e-3, weight_decay=1e-2)
    latents, noises = draw(g, 2, 4, 8, 8), draw(g, STEPS, 2, 4, 8, 8)
    timesteps = torch.randint(0, 1000, (STEPS, 2), generator=g)
    losses = []
    for step in range(STEPS):
        states, pooled = conditions(pipe, PROMPTS)
        noisy = noise.add_noise(latents, noises[step], timesteps[step])
        target = noises[step] if noise.config.prediction_type == "epsilon" else noise.get_velocity(latents, noises[step], timesteps[step])
        loss = nnf.mse_loss(predicted(pipe, noisy, timesteps[step], states, pooled), target)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.detach())
    for name, p in parameters.items():
        out[f"train.{kind}.end.{name}"] = p.detach().clone()
    out.update({f"train.{kind}.latents": latents, f"train.{kind}.noises": noises,
                f"train.{kind}.timesteps": timesteps.int(), f"train.{kind}.losses": torch.stack(losses)})
    return out


def old_layout(folder, padding):
    """Rewrites a tokenizer's folder as transformers 4 left it."""
    shutil.rmtree(folder)
    tokenizer_files(folder)
    token = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>", "pad_token": padding}
    (folder / "special_tokens_map.json").write_text(json.dumps(token, indent=1) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps(
        {**token, "add_prefix_space": False, "do_lower_case": True, "errors": "replace", "model_max_length": 77,
         "tokenizer_class": "CLIPTokenizer"}, indent=1) + "\n")


def make(name):
    from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline

    folder = PIPELINES / name
    shutil.rmtree(folder, ignore_errors=True)
    torch.manual_seed(0)
    g = torch.Generator().manual_seed(1)
    scratch = folder / "scratch"
    pipe = sdxl(g, scratch) if name == "sdxl" else sd(name, g, scratch)
    pipe.save_pretrained(folder)
    shutil.rmtree(scratch)
    if name == "sd15":
        old_layout(folder / "tokenizer", "<|endoftext|>")
    kind = StableDiffusionXLPipeline if name == "sdxl" else StableDiffusionPipeline

    def load():
        loaded = kind.from_pretrained(folder)
        loaded.set_progress_bar_config(disable=True)
        return loaded

    pipe = load()
    out = {}
    with torch.no_grad():
        states, pooled = conditions(pipe, PROMPTS)
        out["states"] = states
        if pooled is not None:
            out["pooled"] = pooled
        # transformers 5 has no text_model any more, in which diffusers looks for the last norm.
        from transformers import CLIPTextModel
        CLIPTextModel.text_model = property(lambda self: self)
        out["states.skipped"] = conditions(pipe, PROMPTS, 1)[0]
        del CLIPTextModel.text_model
        latents, t = draw(g, 2, 4, 8, 8), torch.tensor([17, 801])
        out.update(latents=latents, timesteps=t.int(), output=predicted(pipe, latents, t, states, pooled))
        pixels = draw(g, 2, 3, 16, 16, scale=0.5).clamp(-1, 1)
        distribution = pipe.vae.encode(pixels).latent_dist
        out.update(pixels=pixels, mean=distribution.mean, logvar=distribution.logvar,
                   decoded=pipe.vae.decode(latents / pipe.vae.config.scaling_factor).sample)
        out.update(walks(pipe, g))
    for training in TARGETS:
        out.update(trained(load, training, g))
    save_file(contiguous(out), folder / "io.safetensors", metadata={"format": "pt"})
    if name == "sdxl":
        # A variant beside it, of which one component is missing.
        pipe.to(torch.float16).save_pretrained(folder, variant="fp16")
        (folder / "text_encoder" / "model.fp16.safetensors").unlink()
    for path in folder.rglob("*.json"):
        # Where it was loaded from is a path of the machine that made it.
        value = json.loads(path.read_text())
        if value.pop("_name_or_path", None) is not None:
            path.write_text(json.dumps(value, indent=2) + "\n")
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    print(f"{name}: {size / 1e6:.2f} MB")


if __name__ == "__main__":
    for name in sys.argv[1:] or ("sd15", "sd21", "sdxl"):
        make(name)
