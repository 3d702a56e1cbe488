import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { PRESETS } from '../../../presets/cli/registry.js';
import { snake } from '../../../presets/common/option-facts.js';
import { inOwnProcess, inThisProcess } from '../../support/command-line.js';
import { needsOf } from '../../support/preset-needs.js';
import { small, threeImages, tiny } from '../../support/three-images.js';

let folder: string;

const steploom = (...args: string[]) => inThisProcess(folder, args);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'steploom-'));
  await threeImages(folder);
  await writeFile(join(folder, 'twice.json'), '{"learning_rate": 1, "learningRate": 2}');
  await writeFile(join(folder, 'wrong.json'), '{"learning_rat": 1}');
});
afterAll(() => rm(folder, { recursive: true }));

describe('help and faults', () => {
  test('--help is there at every level', async () => {
    const top = await inOwnProcess(folder, ['--help']);
    expect(top.code).toBe(0);
    for (const name of [
      'train',
      'find-lr',
      'find-batch-size',
      'explain',
      'inspect',
      'launch',
      'sample',
      'merge',
      'convert',
      'push',
      'devices',
      'ui',
    ])
      expect(top.out).toContain(name);
    for (const [name, preset] of Object.entries(PRESETS)) {
      const short = await steploom('train', name, '--help');
      expect([short.code, short.err]).toEqual([0, '']);
      expect(short.out).toMatch(/--learning_rate[\s\S]*\d+ more: --help all/);
      expect(short.out.match(/^ {2}--/gm)?.length, short.out).toBeLessThan(20);
      const { code, out } = await steploom('train', name, '--help', 'all');
      expect(code).toBe(0);
      expect(out).toMatch(/^Optimizer and schedule:$/m);
      for (const text of [short.out, out]) expect(text.split('\n').filter((line) => line.length > 80)).toEqual([]);
      // What differs from diffusers' scripts.
      if (preset.scripts) expect(out.replace(/\s+/g, ' ')).toContain('diffusers: 500, however short the run');
      // What a run does without a flag.
      expect(out.replace(/\s+/g, ' ')).toContain(`(default ${preset.options.parse(needsOf(preset.options.shape, folder)).outputDir}`);
      for (const option of Object.keys(preset.options.shape)) expect(out, `${name} ${option}`).toContain(`--${snake(option)}`);
    }
  });

  test.each([
    [['train', 'lora-text-to-image', '--learning_rat', '1'], /unknown option '--learning_rat'[\s\S]*Did you mean --learning_rate/],
    [['train', 'lora-text-to-image'], /OPTION_MISSING.*--train_data_dir is missing/],
    [
      // All faults at once: unknown, refused, loose and wrong.
      [
        'train',
        'lora-text-to-image',
        'loose',
        '--rnk=4',
        '--debug_loss',
        '--allow_tf32',
        '--local-rank',
        '0',
        '--held_out',
        '3',
        '--seed',
        'x',
      ],
      /no use for the argument 'loose'[\s\S]*unknown option '--rnk'[\s\S]*Did you mean --rank[\s\S]*'--held_out'[\s\S]*option of emoji\.[\s\S]*OPTION_REFUSED.*--debug_loss is not supported.*logging_steps 1[\s\S]*--seed is "x"[\s\S]*--train_data_dir is missing/,
    ],
    [
      ['train', 'lora-text-to-image', '--train_data_dir', 'images', '--rank', 'x', '--lr_scheduler', 'cosin'],
      /--lr_scheduler is "cosin"[\s\S]*--rank is "x"/,
    ],
    [['train', 'lora-text-to-image', ...tiny, '--lora_targets', 'to_z'], /TARGET_UNMATCHED.*to_z/],
    [
      ['train', 'lora-text-to-image', '--train_data_dir', 'absent', '--device', 'wasm', '--lr_warmup_steps', '0'],
      /DATA_INVALID.*there is no folder absent/,
    ],
    [['train', 'lora-text-to-image', ...small, '--pretrained_model_name_or_path', 'nowhere'], /FILE_MISSING.*nowhere\/model_index.json/],
    [['train', 'nothing'], /unknown command 'nothing'[\s\S]*\(steploom train --help shows what there is\)/],
    [['train', 'emojy'], /unknown command 'emojy'[\s\S]*Did you mean emoji/],
    [['train', 'emoji', '--no-uj'], /unknown option '--no-uj'/],
    [['train', 'emoji', '--sampler', 'eular'], /--sampler is "eular": expected one of .*\. Did you mean euler\? How noise/],
    [['merge'], /OPTION_MISSING.*--output_dir is missing/],
    [['push'], /missing required argument 'folder'[\s\S]*\(steploom push --help shows what there is\)/],
    // Flags that short help hides, those of the command and of all commands, and values that are missing, with all else.
    [
      ['train', 'emoji', '--config', '--adam_bet2', '.9', '--profil', '--debg', '--seed', 'x', '--sampler', '--rank'],
      /--config has no value: expected a text[\s\S]*mean --adam_beta2[\s\S]*mean --profile[\s\S]*mean --debug[\s\S]*--seed is "x"[\s\S]*--sampler has no value: expected one of[\s\S]*--rank has no value: expected a whole number/,
    ],
    [
      ['sample', '--promt', 'x', '--guidance_rescal', '1', '--negative_prompt', '-blurry', '--output'],
      /mean --prompt[\s\S]*mean --guidance_rescale[\s\S]*'-blurry'.*behind =[\s\S]*--negative_prompt has no value[\s\S]*--output has no value/,
    ],
    [['find-batch-size', 'emoji', '--most'], /--most has no value: expected a whole number/],
    [['inspect', '--resolutin', '5', 'images'], /unknown option '--resolutin'.*mean --resolution/],
    // Of a length in steps.
    [
      ['train', 'emoji', '--num_train_epochs', '3'],
      /unknown option '--num_train_epochs'.*It is an option of autoencoder, lora-text-to-image/,
    ],
    [['devices', 'wasm'], /no use for the argument 'wasm'/],
    [['train', 'emoji', '--config', 'twice.json'], /CONFIG_INVALID.*the option --learning_rate is there twice/],
    [
      ['train', 'emoji', '--config', 'wrong.json'],
      /OPTION_UNKNOWN.*there is no option learningRat .*Did you mean learningRate|Did you mean --learning_rate/,
    ],
    [['find-batch-size', 'emoji', '--config', 'wrong.json', '--most', 'x'], /--most is "x"[\s\S]*there is no option learningRat /],
    [['train', 'lora-text-to-image', '--config', 'absent.yaml'], /CONFIG_INVALID.*absent.yaml: there is no such file/],
    [['sample', '--prompt', 'x', '--device', 'abacus'], /--device is "abacus": expected one of auto, .*webgpu.*wasm/],
    [['sample', '--prompt', 'x', '--device', 'wasm', '--lora', 'absent'], /FILE_MISSING.*absent/],
    [['sample'], /OPTION_MISSING.*no prompt.*--prompts_file/],
    [['sample', '--prompts_file', 'absent.txt'], /FILE_MISSING.*absent\.txt/],
    [['sample', '--prompt', 'x', '--output', 'x.gif'], /OPTION_INVALID.*x\.gif is no name of a picture.*\.webp/],
    [['sample', '--prompt', 'x', '--seed', '1.5'], /--seed is 1\.5: expected a whole number/],
  ])('steploom %j ends with code 2 before training', async (args, message) => {
    const { code, err, out } = await steploom(...args);
    expect(err + out).toMatch(message);
    expect(code).toBe(2);
  });
});
