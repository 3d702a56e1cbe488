import { execFile } from 'node:child_process';
import { cp, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** What a script says that is run in a process of its own. */
const said = (script: string, cwd = root) => promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], { cwd });

test('steploom/tf has every gradient and every method of a tensor that @tensorflow/tfjs has, and is one copy with it, without a word', async () => {
  const { stdout, stderr } = await said(`import * as tf from 'steploom/tf';
    const there = () => ({
      methods: Object.getOwnPropertyNames(tf.Tensor.prototype).sort(),
      gradients: [...globalThis._tfGlobals.get('gradRegistry').keys()].sort(),
      kernels: tf.getKernelsForBackend('cpu').length,
    });
    // Its advice to install tfjs-node, which it gives once.
    tf.backend().firstUse = false;
    const slope = tf.grad((x) => x.square().sum())(tf.tensor1d([3]));
    const before = there();
    const whole = await import('@tensorflow/tfjs');
    const same = ['Tensor', 'LayersModel', 'engine', 'matMul', 'sequential'].every((name) => tf[name] && tf[name] === whole[name]);
    console.log(JSON.stringify({ before, after: there(), same: same && tf.data.csv === whole.data.csv, slope: slope.arraySync() }));`);
  const { before, after, same, slope } = JSON.parse(stdout.trim().split('\n').at(-1) as string);
  expect(before).toEqual(after);
  expect(before.methods.length).toBeGreaterThan(150);
  expect(before.gradients.length).toBeGreaterThan(80);
  expect({ same, slope }).toEqual({ same: true, slope: [6] });
  expect(stderr).toBe('');
});

// A package that has copies of its own of what registers kernels.
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'steploom-'));
  const modules = join(folder, 'node_modules');
  for (const [name, file] of [
    ['tfjs-core', 'tf-core.node.js'],
    ['tfjs-backend-cpu', 'tf-backend-cpu.node.js'],
  ])
    for (const part of ['package.json', join('dist', file)])
      await cp(join(root, 'node_modules', '@tensorflow', name, part), join(modules, '@tensorflow', name, part));
  await symlink(join(root, 'node_modules', 'seedrandom'), join(modules, 'seedrandom'));
  await symlink(root, join(modules, 'steploom'));
  await writeFile(join(folder, 'steploom.config.mjs'), "import '@tensorflow/tfjs-backend-cpu';\nexport default { steps: 0 };\n");
});
afterAll(() => rm(folder, { recursive: true }));

const LINE = /^there is more than one copy of TensorFlow\.js in this process, .*\n$/;
const OTHER = "import '@tensorflow/tfjs-backend-cpu';";
const OURS = "import 'steploom'; import 'steploom/plugins';";

test.each([
  [
    'long after',
    `${OURS} for (let i = 0; i < 3; i++) await new Promise((later) => setTimeout(later, 5)); await import('@tensorflow/tfjs-backend-cpu');`,
  ],
  ['after', OURS + OTHER],
  ['before', OTHER + OURS],
])('another copy of TensorFlow.js, loaded %s ours, is said in one line', async (_, script) => {
  // Both copies are one but for their place: nothing tells them apart than that each registers its kernels.
  const { stdout, stderr } = await said(script, folder);
  expect(stderr).toMatch(LINE);
  expect(stdout).toBe('');
});

test('what else is warned of is heard at any time: also that a kernel of one’s own is there already', async () => {
  const { stderr } = await said(`import * as tf from 'steploom/tf';
    const mine = { kernelName: 'Mine', backendName: 'cpu', kernelFunc: () => [] };
    const again = () => tf.registerKernel(mine);
    again();
    console.warn('first', 1);
    again();
    await new Promise((later) => setTimeout(later, 5));
    console.warn('last');`);
  const warning = "The kernel 'Mine' for backend 'cpu' is already registered";
  expect(stderr.split('\n')).toEqual(['first 1', warning, 'last', '']);
});

test('so is one that a configuration file brings, and the warnings of others are heard', async () => {
  const { stderr } = await said(
    `import '${join(root, 'dist/core/tf.js')}';
     import { readConfig } from '${join(root, 'dist/presets/cli/config.js')}';
     await new Promise((loaded) => setTimeout(loaded, 10));
     await readConfig('steploom.config.mjs');
     console.warn('heard');`,
    folder,
  );
  expect(stderr.split('\n')).toEqual([expect.stringMatching(/^there is more than one copy/), 'heard', '']);
});
