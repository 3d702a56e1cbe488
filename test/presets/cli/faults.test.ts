import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { attachLater, SteploomError } from '../../../core/index.js';
import { userFrame } from '../../../plugins/distributed/mpi/error-lines.js';
import { fromText } from '../../../presets/cli/options.js';
import { errorLines } from '../../../presets/cli/report.js';
import { loraTextToImage } from '../../../presets/lora-text-to-image.js';
import { inOwnProcess, inThisProcess } from '../../support/command-line.js';

let folder: string;
const pipeline = fileURLToPath(new URL('../../fixtures/pipelines/sd15', import.meta.url));
const steploom = (...args: string[]) => inThisProcess(folder, args);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'steploom-faults-'));
  for (const [i, background] of ['red', 'green'].entries()) {
    await sharp({ create: { width: 32, height: 32, channels: 3, background } }).toFile(join(folder, `${i}.png`));
    await writeFile(join(folder, `${i}.txt`), background);
  }
});
afterAll(() => rm(folder, { recursive: true }));

describe('the text of a flag', () => {
  test.each([
    ['number', '1e-3', 1e-3],
    ['number', '-.5', -0.5],
    ['whole', '12', 12],
    ['boolean', 'true', true],
    ['boolean', 'false', false],
    ['names', 'csv,tensorboard', ['csv', 'tensorboard']],
    ['text', '12', '12'],
  ] as const)('is a %s: %s', (kind, text, value) => expect(fromText(kind, text)).toEqual(value));

  test.each(['', ' ', '1abc', 'fast', '0x10', '1,5', 'Infinity', 'NaN', '--1', '1e'])('is no number: "%s"', (text) =>
    expect(fromText('number', text)).toBe(text),
  );

  test.each([
    [
      ['train', 'emoji', '--learning_rate', 'fast', '--max_train_steps', '1abc', '--quiet', 'perhaps', '--report_to', 'csv,'],
      [
        '--learning_rate is "fast": expected a number',
        '--max_train_steps is "1abc": expected a whole number',
        '--quiet is "perhaps": expected true or false',
        '--report_to is ["csv",""]: expected one of csv, tensorboard, mlflow, all, none',
      ],
    ],
    [
      ['train', 'emoji', '--report_to', 'wandb'],
      ['--report_to is ["wandb"]: expected one of csv, tensorboard, mlflow, all, none', 'In place of wandb and comet_ml give tensorboard'],
    ],
    [
      ['train', 'emoji', '--learning_rate=', '--max_train_steps', '1.5', '--train_batch_size', '0'],
      [
        '--learning_rate is "": expected a number',
        '--max_train_steps is 1.5: expected a whole number',
        '--train_batch_size is 0: expected at least 1',
      ],
    ],
    [
      [
        ...['sample', '--prompt', 'x', '--seed', 'x', '--guidance_scale', '0.5', '--sampler', 'heun'],
        ...['--guidance_rescale', '2', '--num_images_per_prompt', '0'],
      ],
      [
        '--seed is "x": expected a whole number',
        '--guidance_scale is 0.5: expected at least 1',
        '--sampler is "heun": expected one of ddim, dpm-solver++',
        '--guidance_rescale is 2: expected at most 1',
        '--num_images_per_prompt is 0: expected at least 1',
      ],
    ],
    [['launch', '--processes', '2.5', '--', 'devices'], ['--processes is 2.5: expected a whole number']],
    [['ui', '.', '--port', 'a'], ['--port is "a": expected a whole number']],
    [['devices', '--only', 'abacus'], ['--only is "abacus": expected one of']],
    ...(
      [
        [['ui', '.', '--host', ''], ['host']],
        [
          ['sample', '--prompt', '', '--negative_prompt', '', '--output', '', '--variant', ''],
          ['output', 'variant'],
        ],
        [['merge', '--output_dir', ''], ['output_dir']],
        [
          ['convert', '--to', 'kohya', '--input', '', '--output', ''],
          ['input', 'output'],
        ],
        [
          ['launch', '--processes', '2', '--hosts', '', '--mpirun', '', '--', 'devices'],
          ['hosts', 'mpirun'],
        ],
        [
          ['train', 'emoji', '--config', '', '--profile', ''],
          ['config', 'profile'],
        ],
      ] as const
    ).map(([args, names]): [string[], string[]] => [[...args], names.map((name) => `--${name} is "": expected a text that is not empty`)]),
    [['merge', '--output_dir', 'x', '--lora', 'a', ''], ['--lora is ["a",""]: expected a text that is not empty']],
  ])('is refused by the flag’s name, with all others that are wrong: %j', async (args, messages) => {
    const { code, err } = await steploom(...args);
    for (const message of messages) expect(err).toContain(message);
    expect(code).toBe(2);
  });
});

describe('values of a configuration file', () => {
  const explained = async (name: string, text: string) => {
    await writeFile(join(folder, name), text);
    return steploom('explain', 'lora-text-to-image', '--config', name);
  };

  test('are taken as they are, and null is an option that is not given', async () => {
    const { code, err } = await explained(
      'good.yaml',
      'train_data_dir: .\ndevice: cpu\nquiet: true\nmaxTrainSteps: 3\ntrainBatchSize: 1\nlrWarmupSteps: 0\nresolution:\nrank: null\nreportTo: [csv]\n',
    );
    expect([code, err]).toEqual([0, expect.any(String)]);
  });

  test('are never turned into others: each that is not of its kind is named', async () => {
    const { code, err } = await explained(
      'bad.json',
      JSON.stringify({ trainDataDir: '.', rank: true, trainBatchSize: '', maxTrainSteps: [3], seed: '7', quiet: 1, reportTo: 'csv' }),
    );
    for (const wrong of [
      'rank is true',
      'train_batch_size is ""',
      'max_train_steps is [3]',
      'seed is "7"',
      'quiet is 1',
      'report_to is "csv"',
    ])
      expect(err).toContain(`--${wrong}: expected`);
    expect(code).toBe(2);
  });
});

test('in code a preset names its options as code does, all that are wrong at once', async () => {
  const options = { learningRate: 'fast', rnk: 4 } as unknown as Parameters<typeof loraTextToImage>[0];
  const error = (await loraTextToImage(options).catch((thrown) => thrown)) as SteploomError;
  expect(error).toBeInstanceOf(SteploomError);
  expect(error.problems.map(({ code, plugin, what }) => [code, plugin, what])).toEqual([
    ['OPTION_MISSING', 'lora-text-to-image', 'trainDataDir is missing'],
    ['OPTION_INVALID', 'lora-text-to-image', 'learningRate is "fast": expected a number'],
    ['OPTION_UNKNOWN', 'lora-text-to-image', 'there is no option rnk'],
  ]);
});

describe('an error', () => {
  test('in a user’s plugin is printed with the user’s line, and with --debug whole', async () => {
    await writeFile(
      join(folder, 'my-plugin.ts'),
      `interface Nothing {
  a: number;
}

export const mine = () => ({
  name: 'mine',
  apply({ hooks }: { hooks: { onBatch: { tap(fn: (batch: unknown) => unknown): void } } }) {
    hooks.onBatch.tap((batch) => {
      const nothing = undefined as unknown as Nothing;
      return nothing.a > 1 ? batch : undefined;
    });
  },
});
`,
    );
    await writeFile(
      join(folder, 'steploom.config.ts'),
      `import { mine } from './my-plugin.js';
export default { trainDataDir: '.', device: 'cpu', pretrainedModelNameOrPath: ${JSON.stringify(pipeline)}, resolution: 16, trainBatchSize: 1, lrWarmupSteps: 0, maxTrainSteps: 1, quiet: true };
export const plugins = [mine()];
`,
    );
    const args = ['train', 'lora-text-to-image', '--config', 'steploom.config.ts'];
    const short = await inOwnProcess(folder, args);
    expect(short.code).toBe(1);
    expect(short.err).toMatch(/error HOOK_THREW \(mine\): in onBatch: .*\n at my-plugin\.ts:10\n/);
    expect(short.err).not.toMatch(/^ {4}at /m);
    const whole = await inOwnProcess(folder, [...args, '--debug']);
    expect(whole.code).toBe(1);
    expect(whole.err).toMatch(/ at my-plugin\.ts:10\nSteploomError: HOOK_THREW[\s\S]*\n {4}at .*\ncaused by: TypeError: /);
    expect(whole.err).toContain('my-plugin.ts:10:');
  });

  test('is followed by what went wrong afterwards, and by the flag that mends it', () => {
    const error = new SteploomError({ code: 'SNAPSHOT_OTHER_RUN', plugin: 'core', what: 'seed was 1, is 2', fix: 'Mend it.' });
    attachLater(error, new Error('the file is gone'));
    expect(errorLines(error)).toEqual([
      'error SNAPSHOT_OTHER_RUN (core): seed was 1, is 2. Mend it. Differences that are meant are named with --resume_override.',
      'then: the file is gone',
    ]);
    const debug = errorLines(error, { debug: true });
    expect(debug[1]).toMatch(/^SteploomError: [\s\S]*\n {4}at /);
    expect(debug[2]).toMatch(/^then: Error: the file is gone\n {4}at /);
    const foreign = attachLater(new TypeError('of another'), 'a text');
    expect(errorLines(foreign)).toEqual([expect.stringMatching(/^TypeError: of another\n {4}at /), 'then: a text']);
  });

  test('speaks of options as flags, and leaves other names alone', () => {
    const error = new SteploomError({
      code: 'BAD_IMAGE',
      plugin: 'image-folder',
      what: '/data/maxPixels.png is large',
      fix: 'Raise maxPixels, or add skipBadImages; see createBuffer.',
    });
    expect(errorLines(error)).toEqual([
      'error BAD_IMAGE (image-folder): /data/maxPixels.png is large. Raise --max_pixels, or add --skip_bad_images; see createBuffer.',
    ]);
  });

  test('has the user’s line where frames are steploom’s, Node’s or a package’s', () => {
    const stack = (...frames: string[]) => ['Error: x', ...frames.map((frame) => `    at ${frame}`)].join('\n');
    expect(userFrame(stack('node:fs:1:2', 'f (/a/node_modules/b/c.js:1:2)', 'async Object.g (file:///my/plugin.mjs:12:3)'))).toBe(
      '/my/plugin.mjs:12',
    );
    expect(userFrame(stack(`h (${join(process.cwd(), 'my', 'plugin.ts')}:7:1)`))).toBe(join('my', 'plugin.ts:7'));
    expect(userFrame(stack('node:fs:1:2', 'eval (eval at create (/a/node_modules/tapable/lib/x.js:1:2), <anonymous>:1:1)'))).toBeNull();
  });
});

test('sample writes over no picture, unless it is asked to', async () => {
  const draw = (...more: string[]) =>
    steploom(
      'sample',
      '--pretrained_model_name_or_path',
      pipeline,
      '--prompt',
      'a ghost',
      '--num_inference_steps',
      '1',
      '--device',
      'wasm',
      ...more,
    );
  const content = (name: string) => readFile(join(folder, name), 'latin1');
  await writeFile(join(folder, 'mine.png'), 'a picture of mine');
  const refused = await draw('--output', 'mine.png');
  expect(refused.err).toMatch(/OPTION_INVALID \(sample\): mine\.png is there already\. Give another output, or add --overwrite_output/);
  expect([refused.code, await content('mine.png')]).toEqual([2, 'a picture of mine']);
  expect((await draw('--output', 'mine.png', '--overwrite_output')).code).toBe(0);
  expect(await content('mine.png')).toContain('PNG');
  // Without a name the next free one is taken.
  await writeFile(join(folder, 'sample.png'), 'another');
  expect((await draw()).code).toBe(0);
  expect(await content('sample.png')).toBe('another');
  expect(await content('sample-1.png')).toContain('PNG');
});
