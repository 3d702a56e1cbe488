import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type AnyPlugin, compose, type Model, OBJECTIVE, type Plugin, run, Trainer } from '../../../core/index.js';
import type { Tensor4D } from '../../../core/tf.js';
import { lora } from '../../../plugins/adapters/lora.js';
import { cachedLatents } from '../../../plugins/data/cached-latents.js';
import { imageFolder } from '../../../plugins/data/image-folder.js';
import { wasm } from '../../../plugins/devices/wasm.js';
import { accumulation } from '../../../plugins/gradients/accumulation.js';
import type { TextToImage } from '../../../plugins/models/stable-diffusion/text-to-image.js';
import { textToImageModel } from '../../../plugins/models/text-to-image-model.js';
import { denoising } from '../../../plugins/objectives/denoising.js';
import { evaluation } from '../../../plugins/observe/evaluation.js';
import { adamw } from '../../../plugins/optimizers/adamw.js';
import { folder as filesIn } from '../../../plugins/persist/formats/folder.js';
import { readSafetensors, writeSafetensors } from '../../../plugins/persist/formats/safetensors.js';
import { constant } from '../../../plugins/schedules/constant.js';
import { tf, use as useDevice } from '../../support/devices.js';
import { linearModel } from '../../support/small-run.js';

const pipeline = (name: string) => filesIn(fileURLToPath(new URL(`../../fixtures/pipelines/${name}`, import.meta.url)));
let folder: string;
beforeAll(async () => {
  await useDevice('wasm');
  folder = await mkdtemp(join(tmpdir(), 'steploom-'));
  for (const [i, size] of [
    [16, 16],
    [20, 16],
    [16, 24],
  ].entries()) {
    const pixels = Uint8Array.from({ length: size[0] * size[1] * 3 }, (_, k) => (k * 37 * (i + 1)) % 256);
    await sharp(pixels, { raw: { width: size[0], height: size[1], channels: 3 } }).toFile(join(folder, `${i}.png`));
    await writeFile(join(folder, `${i}.txt`), ['the cat', 'a red heart', 'art'][i]);
  }
});
afterAll(() => rm(folder, { recursive: true }));

const images = (more: object = {}) => imageFolder(folder, { batchSize: 2, resolution: 16, centerCrop: true, randomFlip: true, ...more });

/** Trains a few steps; gives the weights that learnt, how often networks that may be spared were used, and what the model says afterwards. */
async function trained(
  data: AnyPlugin,
  {
    name = 'sdxl',
    more = [] as AnyPlugin[],
    textTargets = [] as string[],
    longCaptions = 'cut' as 'cut' | 'chunk',
    on = wasm as () => AnyPlugin,
    warn = (text: string): void => console.warn(text),
    stopAt = null as 'codec' | 'text' | null,
  } = {},
) {
  const used = { codec: 0, text: 0, during: 0 };
  /** Counts; what a signal's listener does comes when the process next looks for events. */
  const use = (which: 'codec' | 'text') => {
    used[which]++;
    if (which === stopAt) setImmediate(() => trainer.request('stop'));
  };
  let steps = 0;
  const spy: Plugin = {
    name: 'spy',
    apply({ hooks }) {
      hooks.prepareModel.tap((model: Model) => {
        const { codec, encode } = model as TextToImage;
        const counted: TextToImage = {
          ...(model as TextToImage),
          codec: {
            ...codec,
            moments: (...given) => {
              use('codec');
              if (steps > 0) used.during++;
              return codec.moments(...given);
            },
          },
          encode: (...given) => {
            use('text');
            return encode(...given);
          },
        };
        return counted;
      });
      hooks.afterStep.tap(() => {
        steps++;
      });
    },
  };
  let weights: Record<string, number[]> = {};
  const keep: Plugin = {
    name: 'keep',
    apply(host) {
      host.hooks.onEnd.tap(() => {
        const all = [...host.model().parameters].filter(([, { trainable }]) => trainable);
        weights = Object.fromEntries(all.map(([path, { variable }]) => [path, [...variable.dataSync()]]));
      });
    },
  };
  const composition = compose(
    run({ steps: 4, learningRate: 1e-2, weightDecay: 0, seed: 3 }),
    on(),
    textToImageModel({ from: pipeline(name), train: 'nothing', longCaptions }),
    spy,
    lora({ rank: 2, textTargets }),
    data,
    denoising({ captionDropout: 0.3 }),
    adamw(),
    constant(),
    keep,
    ...more,
  );
  const trainer = new Trainer(composition, { warn });
  const { step } = await trainer.train();
  return { weights, used, step };
}

describe('latents and states that do not change are computed once', () => {
  test.each(['sd15', 'sdxl'])('and %s learns the same from them, bit for bit', async (name) => {
    const plain = await trained(images(), { name });
    const before = tf.memory().numTensors;
    const cached = await trained(cachedLatents(images()), { name });
    expect(tf.memory().numTensors).toBe(before);
    expect(Object.keys(plain.weights).length).toBeGreaterThan(4);
    expect(cached.weights).toEqual(plain.weights);
    // Three pictures, plain and mirrored; their captions, and none.
    expect(cached.used).toEqual({ codec: 6, text: 4, during: 0 });
  });

  test('captions in one piece and in several beside each other', async () => {
    const path = join(folder, '1.txt');
    await writeFile(path, new Array(90).fill('the').join(' '));
    try {
      const plain = await trained(images(), { longCaptions: 'chunk' });
      const cached = await trained(cachedLatents(images()), { longCaptions: 'chunk' });
      expect(cached.weights).toEqual(plain.weights);
      expect(cached.used).toEqual({ codec: 6, text: 4, during: 0 });
    } finally {
      await writeFile(path, 'a red heart');
    }
  });

  test('but not the states of text encoders whose adapters learn', async () => {
    const plain = await trained(images(), { textTargets: ['q_proj'] });
    const cached = await trained(cachedLatents(images()), { textTargets: ['q_proj'] });
    expect(Object.keys(cached.weights).some((path) => path.startsWith('text_encoder_2.'))).toBe(true);
    expect(cached.weights).toEqual(plain.weights);
    expect(cached.used).toEqual({ codec: 6, text: 4, during: 0 });
  });

  test('later runs find them in a folder, unless the picture, the size or the model is another', async () => {
    const into = join(folder, 'cache');
    const files = filesIn(into);
    const told: string[] = [];
    const first = await trained(cachedLatents(images(), { files, onProgress: (done, of, what) => told.push(`${what} ${done} of ${of}`) }), {
      name: 'sd15',
    });
    expect(told).toEqual([
      ...['latents 1 of 3', 'latents 2 of 3', 'latents 3 of 3'],
      ...['captions 1 of 4', 'captions 2 of 4', 'captions 3 of 4', 'captions 4 of 4'],
    ]);
    expect((await readdir(into, { recursive: true })).filter((path) => path.endsWith('.safetensors'))).toHaveLength(10);
    const again = await trained(cachedLatents(images(), { files }), { name: 'sd15' });
    expect(again.weights).toEqual(first.weights);
    expect(again.used).toEqual({ codec: 0, text: 0, during: 0 });
    expect((await trained(cachedLatents(images({ resolution: 8 }), { files }), { name: 'sd15' })).used.codec).toBe(6);
    expect((await trained(cachedLatents(images(), { files }), { name: 'sd21' })).used).toMatchObject({ codec: 6, text: 4 });
  });

  test('a stop is heard while latents are computed, and while captions are', async () => {
    // One picture, both ways; one caption.
    expect(await trained(cachedLatents(images()), { stopAt: 'codec' })).toMatchObject({ step: 0, used: { codec: 2, text: 0 } });
    expect(await trained(cachedLatents(images()), { stopAt: 'text' })).toMatchObject({ step: 0, used: { codec: 6, text: 1 } });
  });

  test('where there is nothing to keep, that is said if it is asked for', async () => {
    const said = async (run: (warn: (text: string) => void) => Promise<unknown>) => {
      const lines: string[] = [];
      await run((text) => lines.push(text));
      return lines.filter((text) => text.startsWith('cached-latents'));
    };
    const ofPictures = (sayIdle: boolean, options: object) =>
      said((warn) => trained(cachedLatents(images(options), { sayIdle }), { name: 'sd15', warn }));
    const towardsZero: Plugin = {
      name: 'towards-zero',
      fills: OBJECTIVE,
      loss: (context, model, batch) =>
        model
          .forward(context, { x: batch.tensors.images.mean([1, 2]).slice([0, 0], [-1, 2]) })
          .square()
          .mean(),
    };
    const withoutAutoencoder = (warn: (text: string) => void) =>
      new Trainer(
        compose(
          run({ steps: 1, learningRate: 1e-2 }),
          wasm(),
          linearModel(),
          cachedLatents(images(), { sayIdle: true }),
          towardsZero,
          adamw(),
          constant(),
        ),
        { warn },
      ).train();
    expect(await ofPictures(true, { centerCrop: false })).toEqual([
      'cached-latents: the latents of 2 of 3 pictures are not kept: each epoch cuts them elsewhere. centerCrop keeps them',
    ]);
    expect(await said(withoutAutoencoder)).toEqual(['cached-latents: the model has no autoencoder: there are no latents to keep']);
    expect(await ofPictures(false, { centerCrop: false })).toEqual([]);
    expect(await ofPictures(true, {})).toEqual([]);
  });

  test('a damaged file is computed and written again, and said in one line', async () => {
    const into = join(folder, 'damaged');
    const files = filesIn(into);
    const first = await trained(cachedLatents(images(), { files }), { name: 'sd15' });
    const all = (await readdir(into, { recursive: true })).filter((path) => path.endsWith('.safetensors')).sort();
    const before = await Promise.all(all.map((path) => readFile(join(into, path))));
    const kindOf = (i: number) => ('moments' in Object.fromEntries(readSafetensors(before[i]).tensors) ? 'codec' : 'text');
    const spoilt = [
      // Cut off, and empty.
      (path: string) => truncate(path, before[0].byteLength - 4),
      (path: string) => truncate(path, 0),
      // One bit, and numbers of another shape.
      (path: string) =>
        writeFile(
          path,
          before[2].map((byte, at) => (at === before[2].byteLength - 1 ? byte ^ 1 : byte)),
        ),
      (path: string) => {
        const { tensors, metadata } = readSafetensors(before[3]);
        const flat = [...tensors].map(([name, { data, dtype }]) => [name, { data, dtype, shape: [data.length] }]);
        return writeFile(path, writeSafetensors(Object.fromEntries(flat), { metadata }));
      },
      // What belongs to something else.
      (path: string) => copyFile(join(into, all[5]), path),
    ];
    for (const [i, spoil] of spoilt.entries()) await spoil(join(into, all[i]));
    const said: string[] = [];
    const again = await trained(cachedLatents(images(), { files }), { name: 'sd15', warn: (text) => said.push(text) });
    expect(again.weights).toEqual(first.weights);
    const kinds = spoilt.map((_, i) => kindOf(i));
    expect(again.used).toMatchObject({ codec: kinds.filter((kind) => kind === 'codec').length, during: 0 });
    expect(again.used.text).toBe(kinds.filter((kind) => kind === 'text').length);
    expect(said.filter((text) => text.startsWith('cached-latents'))).toEqual([
      expect.stringMatching(/^cached-latents: damaged files are computed and written again: .*safetensors, \.\.\. \(5\)$/),
    ]);
    expect(await Promise.all(all.map((path) => readFile(join(into, path))))).toEqual(before);
  });

  test('a folder that cannot be written is an error before the model is read', async () => {
    await writeFile(join(folder, 'a file'), '');
    for (const into of [join(folder, 'a file'), join(folder, 'a file', 'below', 'it')]) {
      const data = cachedLatents(images(), { files: filesIn(into) });
      // Read by nobody: there is no such model.
      const tried = trained(data, { name: 'none', more: [evaluation(cachedLatents(images(), { files: filesIn(into) }))] });
      await expect(tried).rejects.toThrow(/^FILE_UNWRITABLE \(cached-latents\): nothing can be kept in .*a file.*in memory\.$/);
    }
  });

  test('pictures that are cut at another place in each epoch are encoded each time', async () => {
    const plain = await trained(images({ centerCrop: false }), { name: 'sd15' });
    const cached = await trained(cachedLatents(images({ centerCrop: false })), { name: 'sd15' });
    expect(cached.weights).toEqual(plain.weights);
  });

  /** An autoencoder that gives NaN from a step on. */
  const spoilt = (from = 0): Plugin => {
    let steps = 0;
    const spoil = (x: Tensor4D) => (steps < from ? x : tf.tidy(() => x.mul<Tensor4D>(Number.NaN)));
    return {
      name: 'spoilt',
      apply({ hooks }) {
        hooks.prepareModel.tap((model) => {
          const { codec } = model as TextToImage;
          const moments: typeof codec.moments = (...given) => spoil(codec.moments(...given));
          const encode: typeof codec.encode = (...given) => spoil(codec.encode(...given));
          return { ...model, codec: { ...codec, moments, encode } };
        });
        hooks.afterStep.tap((step) => {
          steps = step + 1;
        });
      },
    };
  };
  /** What a run ends with, and after how many steps; it leaves no tensor. */
  const failing = async (data: AnyPlugin, more: AnyPlugin[]) => {
    let steps = 0;
    const count: Plugin = {
      name: 'count',
      apply: ({ hooks }) =>
        hooks.afterStep.tap(() => {
          steps++;
        }),
    };
    const before = tf.memory().numTensors;
    const error: unknown = await trained(data, { name: 'sd15', more: [...more, count] }).catch((thrown) => thrown);
    expect(tf.memory().numTensors).toBe(before);
    return `${steps} steps, then ${(error as Error).message}`;
  };
  /** One picture that is not square: each epoch cuts it elsewhere. */
  const alone = async () => {
    const into = join(folder, 'alone');
    await mkdir(into, { recursive: true });
    for (const name of ['1.png', '1.txt']) await copyFile(join(folder, name), join(into, name));
    return imageFolder(into, { batchSize: 1, resolution: 16 });
  };

  test('a picture of which the autoencoder makes no numbers is named', async () => {
    expect(await failing(cachedLatents(images()), [spoilt()])).toMatch(/^0 steps, then LATENTS_NOT_FINITE.*0\.png/);
    expect(await failing(images(), [spoilt()])).toMatch(/^1 steps, then LATENTS_NOT_FINITE.*for \S+png, \S+png\. /);
    expect(await failing(await alone(), [spoilt()])).toMatch(/^1 steps, then LATENTS_NOT_FINITE.*1\.png/);
    expect(await failing(cachedLatents(await alone()), [spoilt()])).toMatch(/^1 steps, then LATENTS_NOT_FINITE.*1\.png/);
  });

  test('also where it is a later cut of it, in a window of several', async () => {
    expect(await failing(await alone(), [spoilt(2)])).toMatch(/^3 steps, then LATENTS_NOT_FINITE.*1\.png/);
    expect(await failing(cachedLatents(await alone()), [spoilt(2), accumulation(2)])).toMatch(/^3 steps, then LATENTS_NOT_FINITE.*1\.png/);
  });

  test('also in the last step', async () => {
    expect(await failing(await alone(), [spoilt(3)])).toMatch(/^4 steps, then LATENTS_NOT_FINITE.*1\.png/);
  });

  test('also where the loss of others is evaluated', async () => {
    const evaluated = await failing(cachedLatents(images()), [spoilt(1), evaluation(await alone(), { every: 1 })]);
    expect(evaluated).toMatch(/^1 steps, then LATENTS_NOT_FINITE.*1\.png/);
  });
});
