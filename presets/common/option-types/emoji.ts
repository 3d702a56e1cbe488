// Written by `npm run reference` from the schema of the preset.

/** Options of emoji. The main job: teach the emoji model another style with LoRA. */
export interface EmojiOptions {
  /** Where everything the run makes is written. Default: runs/emoji. */
  readonly outputDir?: string | undefined;
  /** Every random draw follows from it. Default: 0. */
  readonly seed?: number | undefined;
  /** Where to compute; auto takes the best that works. Default: auto. */
  readonly device?: 'auto' | 'tfjs-node-gpu' | 'webgpu' | 'tfjs-node' | 'wasm' | 'cpu' | undefined;
  /**
   * The most of the device’s memory that a run may take, in GiB: one whose steps need more does not begin. What the device
   * says itself, by default.
   */
  readonly deviceMemory?: number | undefined;
  /** Threads of the wasm device; by default all cores, divided among the processes of this machine. */
  readonly threads?: number | undefined;
  /** Length of the run in optimizer steps. Default: 250. */
  readonly maxTrainSteps?: number | undefined;
  /**
   * Make one step and one of everything else that belongs to the run (evaluation, pictures, checkpoint, saving), then delete
   * what was written. Default: false.
   */
  readonly fastDevRun?: boolean | undefined;
  /** Train on only so many of the examples, to see whether they can be learnt by heart. */
  readonly limitItems?: number | undefined;
  /** Write to log.jsonl every so many steps. Default: 10. */
  readonly loggingSteps?: number | undefined;
  /**
   * What to write beside log.jsonl; mlflow tells the server of MLFLOW_TRACKING_URI, and is among all where that is set. In
   * place of wandb and comet_ml give tensorboard: both read its files. Default: none.
   */
  readonly reportTo?: readonly ('csv' | 'tensorboard' | 'mlflow' | 'all' | 'none')[] | undefined;
  /** The folder of TensorBoard’s files, below output_dir where it is no absolute path. Default: tensorboard. */
  readonly loggingDir?: string | undefined;
  /** Save a checkpoint every so many steps, and when the run ends. Default: 500. */
  readonly checkpointingSteps?: number | undefined;
  /** Save a checkpoint whenever so many seconds have passed. */
  readonly checkpointingSeconds?: number | undefined;
  /** Keep only the newest so many checkpoints. */
  readonly checkpointsTotalLimit?: number | undefined;
  /** Save whenever this metric of evaluations gets lower (loss.held), and keep the best. */
  readonly checkpointBest?: string | undefined;
  /**
   * Differences from the saved run that are meant: seed, items, batchSize, windowLength, worldSize, content, a plugin (lora)
   * or one of its options (lora.rank).
   */
  readonly resumeOverride?: readonly string[] | undefined;
  /** A checkpoint folder to continue from, or "latest". */
  readonly resumeFromCheckpoint?: string | undefined;
  /** Show the run on a page of this machine while it trains. Default: false. */
  readonly ui?: boolean | undefined;
  /** The page’s port; any free one by default. Default: 0. */
  readonly uiPort?: number | undefined;
  /** The interface it listens on; others need the token that its address carries. Default: 127.0.0.1. */
  readonly uiHost?: string | undefined;
  /** Seconds that processes wait for one that stays away before the job ends. Default: 600. */
  readonly timeout?: number | undefined;
  /** With several processes: compare their weights every so many steps; 0 never. Default: 500. */
  readonly checkEvery?: number | undefined;
  /** With several processes: train_batch_size is that of all together. Default: false. */
  readonly splitBatches?: boolean | undefined;
  /** How gradients travel between processes. Default: none. */
  readonly gradientCompression?: 'none' | 'float16' | undefined;
  /**
   * With several processes: each updates a share of the weights, and keeps the optimizer’s state of these alone. Default:
   * false.
   */
  readonly shardOptimizer?: boolean | undefined;
  /** No progress bar, and nothing of how far the latents are. Default: false. */
  readonly quiet?: boolean | undefined;
  /** The base learning rate. Default: 0.002. */
  readonly learningRate?: number | undefined;
  /** Multiply the learning rate by accumulation x batch x processes, once. Default: false. */
  readonly scaleLr?: boolean | undefined;
  /** The learning-rate schedule. Default: cosine. */
  readonly lrScheduler?:
    | 'linear'
    | 'cosine'
    | 'cosine_with_restarts'
    | 'polynomial'
    | 'constant'
    | 'constant_with_warmup'
    | 'piecewise_constant'
    | 'inverse_sqrt'
    | 'warmup_stable_decay'
    | 'one_cycle'
    | undefined;
  /** Steps over which the rate rises from 0. Default: 10. */
  readonly lrWarmupSteps?: number | undefined;
  /** Waves (cosine: 0.5 falls to 0) or restarts of the schedule. */
  readonly lrNumCycles?: number | undefined;
  /** Power of the polynomial schedule. */
  readonly lrPower?: number | undefined;
  /** Last rate of the polynomial schedule. */
  readonly lrEnd?: number | undefined;
  /** Rules of piecewise_constant, as "1:500,0.1:2000,0.01". */
  readonly lrStepRules?: string | undefined;
  /** The optimizer; prodigy wants a learning rate of 1. Default: adamw. */
  readonly optimizer?: 'adamw' | 'adamw8bit' | 'lion' | 'prodigy' | 'adafactor' | 'sgd' | undefined;
  /** AdamW with 8-bit state: the same as optimizer adamw8bit. Default: false. */
  readonly use8bitAdam?: boolean | undefined;
  /** Parameters without weight decay, by the names in their paths: bias and *norm* are usual. */
  readonly decayExclude?: readonly string[] | undefined;
  /** Decay of the mean of gradients (adamw, adamw8bit, prodigy). Default: 0.9. */
  readonly adamBeta1?: number | undefined;
  /** Decay of the mean of squared gradients (the same). Default: 0.999. */
  readonly adamBeta2?: number | undefined;
  /** Keeps the division from 0. Default: 1e-8. */
  readonly adamEpsilon?: number | undefined;
  /** Decoupled weight decay. Default: 0.01. */
  readonly adamWeightDecay?: number | undefined;
  /** MicroBatches that make one step. Default: 1. */
  readonly gradientAccumulationSteps?: number | undefined;
  /** Clip the global gradient norm to this; 0 turns clipping off. Default: 1. */
  readonly maxGradNorm?: number | undefined;
  /** Images in a microBatch. Default: 8. */
  readonly trainBatchSize?: number | undefined;
  /**
   * fp16 stores frozen weights and what goes through the networks in half precision: less memory and time, on webgpu,
   * tfjs-node and tfjs-node-gpu. There is no bf16, which WebGPU lacks. Default: no.
   */
  readonly mixedPrecision?: 'no' | 'fp16' | undefined;
  /** gamma of min-SNR loss weighting; 5 is usual. */
  readonly snrGamma?: number | undefined;
  /** Strength of noise added per image and channel. Default: 0. */
  readonly noiseOffset?: number | undefined;
  /** Share of captions left empty, for classifier-free guidance. Default: 0.1. */
  readonly captionDropout?: number | undefined;
  /** Sampling steps. Default: 25. */
  readonly numInferenceSteps?: number | undefined;
  /** Classifier-free guidance; 1 turns it off. Default: 2. */
  readonly guidanceScale?: number | undefined;
  /** How far guidance goes back to the contrast of unguided pictures; 0.7 is usual for v-prediction. Default: 0. */
  readonly guidanceRescale?: number | undefined;
  /** What guidance leads away from. */
  readonly negativePrompt?: string | undefined;
  /** How noise is taken away. Default: ddim. */
  readonly sampler?: 'ddim' | 'dpm-solver++' | 'dpm-solver++-karras' | 'euler' | 'euler-ancestral' | undefined;
  /** The base model; the one that comes with the package by default. */
  readonly pretrainedModelNameOrPath?: string | undefined;
  /** Rank of the adapters. Default: 8. */
  readonly rank?: number | undefined;
  /** Captions to judge the style by. Default: 24. */
  readonly heldOut?: number | undefined;
}
