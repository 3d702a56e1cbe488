// Written by `npm run reference` from the schema of the preset.

/** Options of dreamboothLora. Teach a text-to-image model one thing with LoRA, from some images of it. */
export interface DreamboothLoraOptions {
  /** Where everything the run makes is written. Default: runs/dreambooth. */
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
  /** Length of the run in optimizer steps; wins over num_train_epochs. */
  readonly maxTrainSteps?: number | undefined;
  /** Length of the run in passes over the data set. Default: 1. */
  readonly numTrainEpochs?: number | undefined;
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
  /**
   * A model: a folder in diffusers’ layout, one .safetensors file of Stable Diffusion 1, 2 or XL, or the name of a model on
   * the Hugging Face hub (owner/name); the emoji base that comes with the package by default.
   */
  readonly pretrainedModelNameOrPath?: string | undefined;
  /**
   * Another autoencoder than the model’s own: the folder of a model or of an autoencoder, its .safetensors file, or its name
   * on the hub.
   */
  readonly pretrainedVaeModelNameOrPath?: string | undefined;
  /** The branch, tag or commit of a model on the hub; main by default. */
  readonly revision?: string | undefined;
  /** The variant of weights to load where a component has it, as fp16. */
  readonly variant?: string | undefined;
  /** What the denoiser predicts, where the files do not say it (single files of Stable Diffusion 2) or say another thing. */
  readonly predictionType?: 'epsilon' | 'v_prediction' | 'sample' | undefined;
  /** Layers at the end of the text encoders to leave out, more than the model does. Default: 0. */
  readonly clipSkip?: number | undefined;
  /** Captions and prompts that are longer than the text encoders take: cut, or encoded in pieces. Default: cut. */
  readonly longCaptions?: 'cut' | 'chunk' | undefined;
  /**
   * Keep less of each step and compute it again on the way back: less memory, another forward pass, the same result.
   * Default: false.
   */
  readonly gradientCheckpointing?: boolean | undefined;
  /**
   * On webgpu: note what a step does of the denoiser once for each shape, and only repeat it from then on. The result is the
   * same. Default: true.
   */
  readonly graphCapture?: boolean | undefined;
  /** Images that are not trained on, to evaluate the loss with; a folder like train_data_dir. */
  readonly validationDataDir?: string | undefined;
  /** Evaluate, and draw the validation prompts, every so many steps; the loss at each epoch’s end by default. */
  readonly validationSteps?: number | undefined;
  /** Draw the validation prompts at the end of every so many epochs. */
  readonly validationEpochs?: number | undefined;
  /** Pictures of each validation prompt. Default: 1. */
  readonly numValidationImages?: number | undefined;
  /** End after so many evaluations in a row without a lower loss. */
  readonly earlyStoppingPatience?: number | undefined;
  /** What to draw before and after training; may be given several times. */
  readonly validationPrompt?: string | readonly string[] | undefined;
  /** A folder of images of one thing; captions are not looked for. */
  readonly instanceDataDir: string;
  /** What each of them shows, with a rare word for the thing, as "a photo of sks dog". */
  readonly instancePrompt: string;
  /** Train on pictures of the thing’s class beside them, so that it is not forgotten. Default: false. */
  readonly withPriorPreservation?: boolean | undefined;
  /** The folder of these; what is missing of them is drawn there before the first step. */
  readonly classDataDir?: string | undefined;
  /** What each of these shows, as "a photo of dog". */
  readonly classPrompt?: string | undefined;
  /** How many of these there are to be. Default: 100. */
  readonly numClassImages?: number | undefined;
  /** How many of these are drawn at once. Default: 4. */
  readonly sampleBatchSize?: number | undefined;
  /** The weight of their loss; that of the thing is 1. Default: 1. */
  readonly priorLossWeight?: number | undefined;
  /** The colour behind what is transparent: white, black, grey or #rrggbb. Default: white. */
  readonly background?: string | undefined;
  /** Learn each part of an image as far as it is opaque. Default: false. */
  readonly alphaMask?: boolean | undefined;
  /** Side of the square images; the model’s by default. */
  readonly resolution?: number | undefined;
  /** How images are brought to the resolution. Default: lanczos. */
  readonly imageInterpolationMode?: 'lanczos' | 'bicubic' | 'bilinear' | 'nearest' | undefined;
  /** Crop the centre instead of a random place. Default: false. */
  readonly centerCrop?: boolean | undefined;
  /** Flip images left to right at random. Default: false. */
  readonly randomFlip?: boolean | undefined;
  /** Images with more pixels are refused. Default: 64000000. */
  readonly maxPixels?: number | undefined;
  /** Leave out images that cannot be decoded, and say which. Default: false. */
  readonly skipBadImages?: boolean | undefined;
  /**
   * Compute latents and text states that do not change once, before training, where the model has an autoencoder. Default:
   * true.
   */
  readonly cacheLatents?: boolean | undefined;
  /**
   * A folder to keep these in, for later runs too, and pictures of data sets that come as tables; in memory, and in Hugging
   * Face’s cache, by default.
   */
  readonly cacheDir?: string | undefined;
  /**
   * Cut each image to the one of several sizes of as many pixels that crops it least, rather than to a square. Default:
   * false.
   */
  readonly useAspectRatioBuckets?: boolean | undefined;
  /** The sides of these sizes are multiples of it. Default: 64. */
  readonly bucketStep?: number | undefined;
  /** The shortest side; half the resolution by default. Images that are smaller have smaller sizes. */
  readonly bucketMin?: number | undefined;
  /** The longest side; twice the resolution by default. */
  readonly bucketMax?: number | undefined;
  /** Enlarge images that are smaller than their size, in place of giving them a smaller one. Default: false. */
  readonly bucketUpscale?: boolean | undefined;
  /** The base learning rate. Default: 0.0005. */
  readonly learningRate?: number | undefined;
  /** Multiply the learning rate by accumulation x batch x processes, once. Default: false. */
  readonly scaleLr?: boolean | undefined;
  /** The learning-rate schedule. Default: constant. */
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
  /** Steps over which the rate rises from 0; by default 500, or a tenth of a run that is shorter than 5,000 steps. */
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
  /** Images of the thing in a microBatch; as many of its class come with them. Default: 4. */
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
  /** Share of captions left empty, for classifier-free guidance. Default: 0. */
  readonly captionDropout?: number | undefined;
  /** Sampling steps. Default: 50. */
  readonly numInferenceSteps?: number | undefined;
  /** Classifier-free guidance; 1 turns it off. Default: 7.5. */
  readonly guidanceScale?: number | undefined;
  /** How far guidance goes back to the contrast of unguided pictures; 0.7 is usual for v-prediction. Default: 0. */
  readonly guidanceRescale?: number | undefined;
  /** What guidance leads away from. */
  readonly negativePrompt?: string | undefined;
  /** How noise is taken away. Default: ddim. */
  readonly sampler?: 'ddim' | 'dpm-solver++' | 'dpm-solver++-karras' | 'euler' | 'euler-ancestral' | undefined;
  /** Rank of the adapters. Default: 4. */
  readonly rank?: number | undefined;
  /** The adapters are scaled by alpha / rank; the rank by default. */
  readonly loraAlpha?: number | undefined;
  /** Dropout before the adapters. Default: 0. */
  readonly loraDropout?: number | undefined;
  /** Modules to adapt, by the ends of their paths. Default: to_k, to_q, to_v, to_out.0. */
  readonly loraTargets?: readonly string[] | undefined;
  /** Adapt the attention of the text encoders as well. Default: false. */
  readonly trainTextEncoder?: boolean | undefined;
  /** Scale by alpha / sqrt(rank). Default: false. */
  readonly useRslora?: boolean | undefined;
  /** Other ranks of modules, by the ends of their paths: to_q=8,ff.net.2=16. Alpha stays as it is, as in peft. */
  readonly rankPattern?: readonly string[] | undefined;
  /** The same of alpha. */
  readonly alphaPattern?: readonly string[] | undefined;
  /** DoRA: the lengths of weights are trained beside their directions; a step takes longer. Default: false. */
  readonly useDora?: boolean | undefined;
  /**
   * Send the adapters, pictures and a page to the Hugging Face hub when the run ends; steploom push sends those of an
   * earlier run. Default: false.
   */
  readonly pushToHub?: boolean | undefined;
  /** The repository there: owner/name, or a name of your own; by default that of output_dir. */
  readonly hubModelId?: string | undefined;
  /** A token that may write there; HF_TOKEN is better, since others can read a command line. */
  readonly hubToken?: string | undefined;
}
