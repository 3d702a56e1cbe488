import type { Scalar, Tensor, Variable } from '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs';
import {
  allToHost,
  assignAll,
  fail,
  type Host,
  OPTIMIZER,
  type Optimizer,
  type Parameter,
  type Rates,
  type State,
  type TensorData,
  type Update,
} from '../../core/index.js';
import { matches, type NamePattern } from '../../core/name-pattern.js';
import { FUSED, listKernel, type Parameter8bit } from '../devices/compute/contract.js';
import { BLOCK, middles, SIGNED, SIGNED_ZERO, UNSIGNED } from '../devices/compute/dynamic-map.js';
import { type AdamWOptions, adamwProgram, applyAdamW } from './adamw.js';
import { byGroup, checkBetas, checkPositive, finishedGradient, OptimizerState, onDevice } from './state/state.js';

export interface AdamW8bitOptions extends AdamWOptions {
  /** Tensors with fewer elements keep 32-bit state. */
  readonly min8bitSize?: number;
  /** Parameters that keep 32-bit state, by path: a text is its beginning, its end or all of it between dots. */
  readonly keep32bit?: readonly NamePattern[];
}

/**
 * AdamW whose running means are kept in 8 bits, as bitsandbytes has it (Dettmers et al. 2022): a code a byte out of a dynamic
 * map and one float32 absmax for each 256 elements. The update itself uses the means before they are rounded.
 * State: 2 + 8/256 bytes an element; small tensors keep AdamW's 8.
 *
 * A gradient far above the others of its block rounds their second moments to 0. |mhat| / sqrt(vhat) cannot exceed
 * (1 - beta1) / sqrt(1 - beta2) (Kingma and Ba 2015, section 2.1), so what does, by that rounding, is cut to it.
 */
export const adamw8bit = (options: AdamW8bitOptions = {}) => {
  const { beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, name = 'adamw8bit', min8bitSize = 4096, keep32bit = [] } = options;
  const bound = Math.max(1, (1 - beta1) / Math.sqrt(1 - beta2));
  const state = new OptimizerState(name);
  /** Codes of m and v. Where there is a kernel, four to an int32; on TensorFlow one byte each. */
  const codes = new Map<string, Variable>();
  const sizes = new Map<string, number>();
  const program = adamwProgram(beta1, beta2, epsilon);
  let groups: ReturnType<typeof byGroup> = new Map();
  let packed = true;

  const addCodes = (key: string, size: number, code: number) => {
    const value = tf.tidy(() => (packed ? asStored(new Uint8Array(size).fill(code), code) : toBytes(tf.fill([size], code, 'int32'))));
    codes.set(key, tf.variable(value as Tensor<tf.Rank>, false));
    value.dispose();
    sizes.set(key, size);
  };
  const asStored = (bytes: Uint8Array, padding: number): Tensor => {
    if (!packed) return toBytes(tf.tensor1d(Int32Array.from(bytes), 'int32'));
    const words = new Uint8Array(4 * Math.ceil(bytes.length / 4)).fill(padding);
    words.set(bytes);
    return tf.tensor1d(new Int32Array(words.buffer), 'int32');
  };

  return {
    name,
    fills: OPTIMIZER,
    apply({ hooks }: Host) {
      hooks.validate.tap((problems) => {
        checkBetas(problems, name, { beta1, beta2 });
        checkPositive(problems, name, { epsilon });
        if (!(Number.isInteger(min8bitSize) && min8bitSize >= 0))
          problems.add('OPTION_INVALID', name, `min8bitSize is ${min8bitSize}`, 'Give a whole number, at least 0.');
      });
    },
    start(parameters: ReadonlyMap<string, Parameter>) {
      for (const pattern of keep32bit)
        if (![...parameters.keys()].some((path) => matches(pattern, path)))
          fail('PATTERN_UNMATCHED', name, `keep32bit ${pattern} fits no trained parameter`, 'Look the names up with explain.');
      packed = listKernel(FUSED.adamw8bit) !== undefined;
      groups = byGroup(parameters);
      const large = ([path, { variable }]: [string, Parameter]) =>
        variable.size >= min8bitSize && !keep32bit.some((pattern) => matches(pattern, path));
      const small = new Map([...parameters].filter((entry) => !large(entry)));
      state.zerosLike('m', small);
      state.zerosLike('v', small);
      for (const [path, { variable }] of [...parameters].filter(large)) {
        addCodes(`m/${path}`, variable.size, SIGNED_ZERO);
        addCodes(`v/${path}`, variable.size, 0);
        state.add(`absmax/${path}`, tf.ones([2, Math.ceil(variable.size / BLOCK)]));
      }
      state.corrections();
    },
    update(update: Update, rates: Readonly<Record<string, Rates>>) {
      const { gradients, scale, finite } = update;
      tf.tidy(() => {
        const applied = onDevice(finite);
        const { correction1, correction2 } = state.correct(beta1, beta2, finite);
        for (const [group, own] of groups) {
          const { learningRate, weightDecay } = rates[group];
          const small = own.filter(({ path }) => !codes.has(`m/${path}`));
          const list = small.map(({ path, p }) => ({ p, g: gradients[path], m: state.get(`m/${path}`), v: state.get(`v/${path}`) }));
          applyAdamW(
            list,
            { rate: learningRate, decay: weightDecay, scale, correction1, correction2 },
            finite,
            { beta1, beta2, epsilon },
            program,
          );
          const large = own
            .filter(({ path }) => codes.has(`m/${path}`))
            .map(({ path, p }) => {
              const [m, v] = [codes.get(`m/${path}`) as Variable, codes.get(`v/${path}`) as Variable];
              return { p, g: gradients[path], m, v, absmax: state.get(`absmax/${path}`) };
            });
          if (large.length === 0) continue;
          const kernel = packed ? listKernel(FUSED.adamw8bit) : undefined;
          const factors = { learningRate, weightDecay, scale, correction1, correction2 };
          if (kernel) kernel(large, factors, finite, { beta1, beta2, epsilon, bound });
          else for (const entry of large) tf.tidy(() => portable(entry, finishedGradient(entry.g, update), factors, applied));
        }
      });
    },
    stateBytes: () => state.bytes() + [...sizes.values()].reduce((sum, size) => sum + size, 0),
    async capture(): Promise<State> {
      const captured: Record<string, TensorData> = await allToHost(Object.fromEntries(state.variables));
      for (const [key, variable] of codes) {
        const whole = tf.tidy(() => (packed ? variable.clone() : toIntegers(variable).clone()));
        const values = await whole.data();
        whole.dispose();
        const size = sizes.get(key) as number;
        const bytes = packed ? new Uint8Array((values as Int32Array).slice().buffer, 0, size).slice() : Uint8Array.from(values);
        captured[`codes/${key}`] = { dtype: 'uint8', shape: [size], data: bytes };
      }
      return captured;
    },
    async restore(saved: State) {
      const rest = Object.fromEntries(Object.entries(saved).filter(([key]) => !codes.has(key.replace(/^codes\//, ''))));
      for (const [key, variable] of codes) {
        const value = saved[`codes/${key}`] as TensorData | undefined;
        if (value?.dtype !== 'uint8' || value.data.length !== sizes.get(key))
          fail(
            'SNAPSHOT_MISMATCH',
            name,
            `the saved state does not fit: codes/${key} is missing or of another size`,
            'Resume with the model and plugins that wrote it.',
          );
        const stored = tf.tidy(() => asStored(value.data as Uint8Array, key.startsWith('m/') ? SIGNED_ZERO : 0));
        variable.assign(stored as Tensor<tf.Rank>);
        stored.dispose();
      }
      assignAll(name, state.variables, rest);
    },
    dispose() {
      state.dispose();
      for (const variable of codes.values()) variable.dispose();
      codes.clear();
      sizes.clear();
    },
  } satisfies Optimizer & Record<string, unknown>;

  /** The same step in TensorFlow.js operations, for a device without a kernel. */
  function portable(
    { p, m, v, absmax }: Parameter8bit,
    gradient: Tensor,
    {
      learningRate,
      weightDecay,
      correction1,
      correction2,
    }: { learningRate: number; weightDecay: number; correction1: Scalar; correction2: Scalar },
    finite: Scalar,
  ): void {
    const blocks = Math.ceil(p.size / BLOCK);
    const padding: [number, number][] = [[0, blocks * BLOCK - p.size]];
    const inBlocks = (x: Tensor) => tf.pad(x.reshape([-1]), padding).reshape([blocks, BLOCK]);
    const [topM, topV] = tf.split(absmax, 2, 0).map((x) => x.reshape([blocks, 1]));
    const decode = (stored: Tensor, map: Float32Array, top: Tensor) => inBlocks(tf.gather(tf.tensor1d(map), toIntegers(stored))).mul(top);
    const g = inBlocks(gradient);
    const mean = decode(m, SIGNED, topM)
      .mul(beta1)
      .add(g.mul(1 - beta1));
    const square = decode(v, UNSIGNED, topV)
      .mul(beta2)
      .add(g.square().mul(1 - beta2));
    const direction = mean.mul(correction1).div(square.mul(correction2).sqrt().add(epsilon)).clipByValue(-bound, bound);
    const flat = direction.reshape([-1]).slice(0, p.size).reshape(p.shape);
    (p as Variable).assign(p.sub(flat.add(p.mul(weightDecay)).mul(finite.mul(learningRate))) as Tensor<tf.Rank>);

    const encode = (x: Tensor, old: Variable, map: Float32Array) => {
      const top = x.abs().max(1, true);
      const divide = tf.where(top.greater(0), top, tf.onesLike(top));
      let code = nearest(x.div(divide).reshape([-1]), map).slice(0, p.size);
      // A negative number never takes the code of 0.
      if (map === SIGNED)
        code = tf.where(
          tf.logicalAnd(x.reshape([-1]).slice(0, p.size).less(0), code.equal(SIGNED_ZERO)),
          code.sub(tf.scalar(1, 'int32')),
          code,
        );
      old.assign(toBytes(tf.where(finite.greater(0), code, toIntegers(old)).toInt()) as Tensor<tf.Rank>);
      return divide;
    };
    const next = tf.concat([encode(mean, m as Variable, SIGNED), encode(square, v as Variable, UNSIGNED)]).reshape(absmax.shape);
    (absmax as Variable).assign(tf.where(finite.greater(0), next, absmax) as Tensor<tf.Rank>);
  }
};

interface TensorFlowBackend {
  readonly binding: {
    TF_ATTR_TYPE: number;
    TF_ATTR_FLOAT: number;
    TF_ATTR_BOOL: number;
    TF_FLOAT: number;
    TF_INT32: number;
    TF_UINT8: number;
  };
  executeSingleOutput(name: string, attributes: { name: string; type: number; value: unknown }[], inputs: Tensor[]): Tensor;
}

/** TensorFlow's own backend, which has bytes and a search; null elsewhere. */
const tensorflow = (): TensorFlowBackend | null =>
  tf.getBackend() === 'tensorflow' ? (tf.backend() as unknown as TensorFlowBackend) : null;

const cast = (backend: TensorFlowBackend, x: Tensor, from: number, to: number): Tensor => {
  const { TF_ATTR_TYPE, TF_ATTR_BOOL } = backend.binding;
  const attributes = [
    { name: 'SrcT', type: TF_ATTR_TYPE, value: from },
    { name: 'DstT', type: TF_ATTR_TYPE, value: to },
    { name: 'Truncate', type: TF_ATTR_BOOL, value: false },
  ];
  return backend.executeSingleOutput('Cast', attributes, [x]);
};

/** Integers 0 to 255, one byte each where the device has bytes (TensorFlow.js goes on calling them int32). */
function toBytes(x: Tensor): Tensor {
  const backend = tensorflow();
  return backend ? cast(backend, x, backend.binding.TF_INT32, backend.binding.TF_UINT8) : x;
}

function toIntegers(x: Tensor): Tensor {
  const backend = tensorflow();
  return backend ? cast(backend, x, backend.binding.TF_UINT8, backend.binding.TF_INT32) : x;
}

/** The place of the nearest value of a rising map. */
function nearest(x: Tensor, map: Float32Array): Tensor {
  const edges = [...middles(map)];
  const backend = tensorflow();
  if (!backend) return tf.searchSorted(tf.tensor1d(edges), x, 'left').reshape([-1]);
  const { TF_ATTR_TYPE, TF_ATTR_FLOAT, TF_FLOAT } = backend.binding;
  const attributes = [
    { name: 'T', type: TF_ATTR_TYPE, value: TF_FLOAT },
    { name: 'boundaries', type: TF_ATTR_FLOAT, value: edges },
  ];
  return backend.executeSingleOutput('Bucketize', attributes, [x]);
}
