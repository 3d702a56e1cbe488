import { type Composition, compose, type Plugin, run, type TensorData } from '../core/index.js';
import { type LoraOptions, lora } from '../plugins/adapters/lora.js';
import { arrays } from '../plugins/data/arrays.js';
import { limitItems } from '../plugins/data/limit-items.js';
import { graphCapture } from '../plugins/devices/graph-capture.js';
import { distributed } from '../plugins/distributed/distributed.js';
import { clipping } from '../plugins/gradients/clipping.js';
import { lossScaling } from '../plugins/gradients/loss-scaling.js';
import { nonFiniteGuard } from '../plugins/gradients/non-finite-guard.js';
import { type TextToImageModelOptions, textToImageModel } from '../plugins/models/text-to-image-model.js';
import { type DenoisingOptions, denoising } from '../plugins/objectives/denoising.js';
import { adamw } from '../plugins/optimizers/adamw.js';
import type { Files } from '../plugins/persist/formats/files.js';
import { constant } from '../plugins/schedules/constant.js';
import { warmup } from '../plugins/schedules/warmup.js';

export interface LoraInMemoryOptions extends DenoisingOptions {
  /** Where the model's files are: fetched(url), inMemory(), or a folder. */
  readonly model: Files;
  /** Where to compute: webgpu(), say. */
  readonly device: Plugin;
  /** [n, side, side, 3] in [-1, 1]. */
  readonly images: TensorData;
  /** One caption an image. */
  readonly captions: readonly string[];
  /** Length of the run in optimizer steps. */
  readonly steps: number;
  /** Images in a microBatch. Default: 16. */
  readonly batchSize?: number;
  /** The base learning rate. Default: 0.0001. */
  readonly learningRate?: number;
  /** Steps over which the rate rises from 0. Default: 0. */
  readonly warmupSteps?: number;
  /** Train on only so many of the images, to see whether they can be learnt by heart. */
  readonly limitItems?: number;
  /** Make one step, to see that everything works. Default: false. */
  readonly fastDevRun?: boolean;
  /** Every random draw follows from it. Default: 0. */
  readonly seed?: number;
  /** The adapters; on the denoiser's attention by default. */
  readonly lora?: LoraOptions;
  /** fp16 stores frozen weights and what goes through the networks in half precision, on webgpu(). Default: no. */
  readonly mixedPrecision?: TextToImageModelOptions['mixedPrecision'];
}

/** LoRA on images in memory, with the defaults of the command line's lora-text-to-image: nothing in it needs Node, so it trains in a browser too. */
export const loraInMemory = (o: LoraInMemoryOptions): Composition =>
  compose(
    run({
      learningRate: o.learningRate ?? 1e-4,
      ...(o.fastDevRun ? { steps: 1, warmupSteps: 0 } : { steps: o.steps, warmupSteps: o.warmupSteps ?? 0 }),
      seed: o.seed ?? 0,
    }),
    o.device,
    textToImageModel({ from: o.model, train: 'nothing', mixedPrecision: o.mixedPrecision ?? 'no' }),
    lora(o.lora),
    arrays({ images: o.images }, { batchSize: o.batchSize ?? 16, strings: { text: o.captions } }),
    ...(o.limitItems === undefined ? [] : [limitItems(o.limitItems)]),
    denoising(o),
    graphCapture(),
    distributed(),
    adamw(),
    constant(),
    warmup(),
    clipping(),
    nonFiniteGuard(),
    ...(o.mixedPrecision === 'fp16' ? [lossScaling()] : []),
  );
