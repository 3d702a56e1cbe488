import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  type Batch,
  type Context,
  compose,
  type Model,
  OBJECTIVE,
  type Plugin,
  run,
  type TensorData,
  Trainer,
} from '../../../../core/index.js';
import { lora } from '../../../../plugins/adapters/lora.js';
import { arrays } from '../../../../plugins/data/arrays.js';
import { wasm } from '../../../../plugins/devices/wasm.js';
import type { TextToImage } from '../../../../plugins/models/stable-diffusion/text-to-image.js';
import { textToImageModel } from '../../../../plugins/models/text-to-image-model.js';
import { adamw } from '../../../../plugins/optimizers/adamw.js';
import { folder } from '../../../../plugins/persist/formats/folder.js';
import { fromFile, shapeOfFile } from '../../../../plugins/persist/formats/pytorch-layout.js';
import { readSafetensors } from '../../../../plugins/persist/formats/safetensors.js';
import { constant } from '../../../../plugins/schedules/constant.js';
import { tf, use } from '../../../support/devices.js';

const STEPS = 10;
const PROMPTS = ['a Red heart, 2 cats!', 'the cat'];
const TARGETS = {
  attention: { targets: ['to_q', 'to_k', 'to_v', 'to_out.0'] },
  convolutions: { targets: ['ff.net.0.proj', 'ff.net.2', 'conv1', 'conv2', 'proj_in'] },
  text: { targets: ['to_q', 'to_v'], textTargets: ['q_proj', 'v_proj', 'out_proj'] },
};
const root = fileURLToPath(new URL('../../../fixtures/pipelines/', import.meta.url));
beforeAll(() => use('wasm'));

/** A file's tensor as the model has it. */
function here({ shape, data }: TensorData): tf.Tensor {
  const layout = shape.length === 4 ? 'conv' : 'linear';
  const mine = shapeOfFile({ shape, layout });
  return tf.tensor(fromFile(data as Float32Array, { shape: mine, layout }), mine);
}

describe.each(['sd15', 'sd21', 'sdxl'])('ten steps of LoRA on %s are those of diffusers and peft', (name) => {
  test.each(Object.entries(TARGETS))('%s', async (kind, targets) => {
    const io = readSafetensors(await readFile(`${root}${name}/io.safetensors`)).tensors;
    const of = (key: string) => io.get(`train.${kind}.${key}`) as TensorData;
    // SDXL takes the penultimate states of its first encoder: peft's adapters of the last layer there never change.
    const isIdle = (path: string) => String(of(`start.${path}`).data) === String(of(`end.${path}`).data);
    const beginning = (at: string) =>
      [...io].flatMap(([key, value]) => {
        const path = key.startsWith(`train.${kind}.${at}.`) ? key.slice(`train.${kind}.${at}.`.length) : null;
        return path !== null && !isIdle(path) ? [[path, value] as const] : [];
      });
    expect([...io.keys()].filter((key) => key.startsWith(`train.${kind}.start.`)).length - beginning('start').length).toBe(
      name === 'sdxl' && kind === 'text' ? 6 : 0,
    );
    const losses: number[] = [];
    let trained: Map<string, Float32Array> = new Map();

    /** The adapters start where peft's did, and are looked at in the end. */
    const start: Plugin = {
      name: 'start',
      apply(host) {
        const { hooks } = host;
        hooks.prepareModel.tap((model) => {
          const wanted = beginning('start');
          expect([...model.parameters].flatMap(([path, p]) => (p.trainable ? [path] : [])).sort()).toEqual(
            wanted.map(([path]) => path).sort(),
          );
          for (const [path, value] of wanted) {
            const given = here(value);
            model.parameters.get(path)?.variable.assign(given);
            given.dispose();
          }
          return model;
        });
        hooks.onEnd.tap(() => {
          const { parameters } = host.model();
          trained = new Map([...parameters].flatMap(([path, p]) => (p.trainable ? [[path, p.variable.dataSync() as Float32Array]] : [])));
        });
      },
    };

    /** The loss of what is given: example 2k + i is the i-th of step k. */
    const given: Plugin = {
      name: 'given',
      fills: OBJECTIVE,
      loss(context: Context, model: Model, batch: Batch) {
        const { noise, encode, predict } = model as TextToImage;
        const channelsLast = ({ shape, data }: TensorData, at: number): tf.Tensor4D => {
          const size = shape.slice(-4).reduce((a, b) => a * b, 1);
          return tf
            .tensor4d((data as Float32Array).slice(at * size, (at + 1) * size), shape.slice(-4) as [number, number, number, number])
            .transpose([0, 2, 3, 1]);
        };
        const step = batch.ids[0] / 2;
        const timesteps = [...of('timesteps').data.slice(2 * step, 2 * step + 2)];
        const [latents, e] = [channelsLast(of('latents'), 0), channelsLast(of('noises'), step)];
        const column = (f: (abar: number) => number) =>
          tf.tensor4d(
            timesteps.map((t) => f(noise.alphasCumprod[t])),
            [2, 1, 1, 1],
          );
        const [signal, spread] = [column(Math.sqrt), column((abar) => Math.sqrt(1 - abar))];
        const target = noise.config.prediction_type === 'epsilon' ? e : e.mul(signal).sub(latents.mul(spread));
        const predicted = predict(context, latents.mul(signal).add(e.mul(spread)) as tf.Tensor4D, timesteps, encode(context, PROMPTS));
        return predicted.sub(target).square().mean() as tf.Scalar;
      },
    };

    const column = { dtype: 'float32' as const, shape: [2 * STEPS, 1], data: new Float32Array(2 * STEPS) };
    const composition = compose(
      run({ steps: STEPS, learningRate: 1e-3, weightDecay: 1e-2, seed: 0 }),
      wasm(),
      textToImageModel({ from: folder(root + name), train: 'nothing' }),
      lora({ rank: 2, alpha: 3, ...targets }),
      start,
      arrays({ column }, { batchSize: 2, shuffle: false }),
      given,
      adamw(),
      constant(),
      {
        name: 'losses',
        apply: ({ hooks }) => {
          hooks.shouldLog.tap(() => true);
          hooks.onRecord.tap((record) => {
            if (typeof record.loss === 'number') losses.push(record.loss);
          });
        },
      } as Plugin,
    );
    await new Trainer(composition).train();
    const wanted = of('losses').data;
    expect(losses).toHaveLength(STEPS);
    expect(Math.max(...losses.map((loss, i) => Math.abs(loss / wanted[i] - 1)))).toBeLessThan(1e-4);
    for (const [path, value] of beginning('end')) {
      const end = here(value);
      const mine = trained.get(path) as Float32Array;
      const gap = Math.max(...end.dataSync().map((x, i) => Math.abs(x - mine[i])));
      expect(gap, path).toBeLessThan(1e-4);
      end.dispose();
    }
  });
});
