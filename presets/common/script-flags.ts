/** What becomes of the flags of diffusers' train_text_to_image_lora.py, train_text_to_image_lora_sdxl.py and train_dreambooth_lora.py here. */
export interface ScriptFlags {
  /** Options of the presets; where a preset's default is another than the scripts', what theirs is. */
  readonly works: Readonly<Record<string, string>>;
  /** Accepted, and without an effect: why none is needed. */
  readonly idle: Readonly<Record<string, string>>;
  /** Refused: why, and what to use. */
  readonly refused: Readonly<Record<string, { readonly why: string; readonly use: string }>>;
}

export const SCRIPT_FLAGS: ScriptFlags = {
  works: {
    pretrained_model_name_or_path: 'required',
    pretrained_vae_model_name_or_path: '',
    revision: '',
    variant: '',
    prediction_type: '',
    dataset_name: '',
    dataset_config_name: '',
    train_data_dir: '',
    image_column: '',
    caption_column: '',
    max_train_samples: '',
    cache_dir: '',
    resolution: '512, and 1024 for XL',
    image_interpolation_mode: '',
    center_crop: '',
    random_flip: '',
    validation_prompt: '',
    num_validation_images: '4',
    validation_epochs: '1',
    output_dir: 'sd-model-finetuned-lora',
    logging_dir: 'logs',
    report_to: 'tensorboard',
    seed: 'none: other draws in each run',
    train_batch_size: '',
    num_train_epochs: '',
    max_train_steps: '',
    gradient_accumulation_steps: '',
    gradient_checkpointing: '',
    mixed_precision: 'that of accelerate’s configuration',
    learning_rate: '',
    scale_lr: '',
    lr_scheduler: '',
    lr_warmup_steps: '500, however short the run',
    snr_gamma: '',
    noise_offset: '',
    use_8bit_adam: '',
    adam_beta1: '',
    adam_beta2: '',
    adam_weight_decay: '',
    adam_epsilon: '',
    max_grad_norm: '',
    checkpointing_steps: '',
    checkpoints_total_limit: '',
    resume_from_checkpoint: '',
    train_text_encoder: '',
    rank: '',
    lora_dropout: '',
    lr_num_cycles: '1',
    lr_power: '1',
  },
  idle: {
    allow_tf32: 'products of float32 are computed as float32; --mixed_precision fp16 is faster',
    enable_xformers_memory_efficient_attention: 'attention keeps no scores on webgpu as it is',
    enable_npu_flash_attention: 'attention keeps no scores on webgpu as it is',
    local_rank: 'steploom launch and mpirun say it',
    dataloader_num_workers: 'pictures are decoded in the background, on all cores',
    pre_compute_text_embeddings: 'states of texts that do not change are computed once as it is (--cache_latents)',
    prior_generation_precision: 'class pictures are drawn as precisely as --mixed_precision says',
  },
  refused: {
    tokenizer_name: {
      why: 'a tokenizer belongs to its text encoder',
      use: 'Put its files into the model’s folder tokenizer/.',
    },
    tokenizer_max_length: {
      why: 'the length is that of the text encoder’s position embeddings',
      use: 'Give --long_captions chunk for captions that are longer.',
    },
    text_encoder_use_attention_mask: {
      why: 'it is for DeepFloyd IF; Stable Diffusion’s text encoders are trained without a mask',
      use: 'Leave it out.',
    },
    class_labels_conditioning: { why: 'it is for DeepFloyd IF’s upscalers', use: 'Leave it out.' },
    validation_images: { why: 'it is for models that start from a picture', use: 'Give --validation_prompt.' },
    push_to_hub: {
      why: 'nothing is sent to the hub',
      use: 'Send the adapter afterwards: hf upload NAME OUTPUT_DIR/pytorch_lora_weights.safetensors.',
    },
    hub_model_id: { why: 'nothing is sent to the hub', use: 'Name the repository to hf upload.' },
    hub_token: {
      why: 'nothing is sent to the hub, and what is on a command line can be read by others',
      use: 'Set HF_TOKEN for hf upload.',
    },
    debug_loss: { why: 'losses are not kept for each picture', use: 'log.jsonl has that of each step with --logging_steps 1.' },
    instance_data_dir: {
      why: 'there is no preset for DreamBooth yet',
      use: 'Write the prompt into a .txt beside each picture, and give --train_data_dir.',
    },
    instance_prompt: {
      why: 'there is no preset for DreamBooth yet',
      use: 'Write the prompt into a .txt beside each picture, and give --train_data_dir.',
    },
    class_data_dir: {
      why: 'there is no preset for DreamBooth yet',
      use: 'Put pictures of the class among the others, with captions of their own.',
    },
    class_prompt: {
      why: 'there is no preset for DreamBooth yet',
      use: 'Put pictures of the class among the others, with captions of their own.',
    },
    with_prior_preservation: {
      why: 'there is no preset for DreamBooth yet',
      use: 'Put pictures of the class among the others, with captions of their own.',
    },
    prior_loss_weight: {
      why: 'there is no preset for DreamBooth yet',
      use: 'Put pictures of the class among the others, with captions of their own.',
    },
    num_class_images: { why: 'there is no preset for DreamBooth yet', use: 'Draw them with steploom sample.' },
    sample_batch_size: { why: 'there is no preset for DreamBooth yet', use: 'Leave it out.' },
  },
};
