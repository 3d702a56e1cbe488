import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));

test('steploom/tf has every gradient and every method of a tensor that @tensorflow/tfjs has, and is one copy with it, without a word', async () => {
  const script = `import * as tf from 'steploom/tf';
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
    console.log(JSON.stringify({ before, after: there(), same: same && tf.data.csv === whole.data.csv, slope: slope.arraySync() }));`;
  const { stdout, stderr } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], { cwd: root });
  const { before, after, same, slope } = JSON.parse(stdout.trim().split('\n').at(-1) as string);
  expect(before).toEqual(after);
  expect(before.methods.length).toBeGreaterThan(150);
  expect(before.gradients.length).toBeGreaterThan(80);
  expect({ same, slope }).toEqual({ same: true, slope: [6] });
  expect(stderr).toBe('');
});
