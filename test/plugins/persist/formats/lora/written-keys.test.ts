import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import type { ModuleFacts, TensorData } from '../../../../../core/index.js';
import { standardModules } from '../../../../../plugins/models/stable-diffusion/modules.js';
import { writeLoraFile } from '../../../../../plugins/persist/formats/lora/diffusers.js';
import type { Family } from '../../../../../plugins/persist/formats/lora/family.js';
import { tagFrequency, writeKohyaLora } from '../../../../../plugins/persist/formats/lora/kohya.js';
import { loraScale, type ScaledLoraMatrices } from '../../../../../plugins/persist/formats/lora/matrices.js';
import { readLoraFile } from '../../../../../plugins/persist/formats/lora-file.js';
import { readSafetensors } from '../../../../../plugins/persist/formats/safetensors.js';

/** A module of a published model: what it is, and the names under which programs take its adapter. */
type Known = [...(['linear', number, number] | ['conv2d', number, number, number]), Partial<Record<Program | 'own', string[]>>];
type Program = 'diffusers' | 'comfyui' | 'automatic1111';

const known = JSON.parse(gunzipSync(readFileSync(new URL('../../../../fixtures/lora-keys.json.gz', import.meta.url))).toString()) as Record<
  Family,
  Record<string, Known>
>;
const FAMILIES = ['sd1', 'sd2', 'sdxl'] as const;

const full = (shape: readonly number[], value: number): TensorData => ({
  dtype: 'float32',
  shape,
  data: new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(value),
});

/** Small modules of the same names and kinds, and an adapter on each: ranks and alphas differ from module to module. */
function adapted(family: Family, rslora = false): { modules: Map<string, ModuleFacts>; adapters: ScaledLoraMatrices[] } {
  const paths = Object.entries(known[family]);
  const modules = new Map(
    paths.map(([path, [kind, , , k]]): [string, ModuleFacts] => {
      const kernel = kind === 'conv2d' ? (k as number) : 0;
      return [path, { kind, weight: `${path}.weight`, shape: kind === 'linear' ? [2, 3] : [kernel, kernel, 2, 3] }];
    }),
  );
  const adapters = paths.map(([path, [kind, , , k]], i): ScaledLoraMatrices => {
    const [rank, alpha] = [1 + (i % 2), 1 + (i % 5)];
    const kernel = kind === 'conv2d' ? [k as number, k as number] : [];
    return {
      path,
      a: full([rank, 2, ...kernel], i),
      b: full([3, rank, ...kernel.map(() => 1)], -i),
      rank,
      alpha,
      rslora,
      scale: loraScale(rank, alpha, rslora),
    };
  });
  return { modules, adapters };
}

const sorted = (adapters: readonly ScaledLoraMatrices[]) => [...adapters].sort((a, b) => (a.path < b.path ? -1 : 1));

describe.each(FAMILIES)('of %s', (family) => {
  test('the lists are those of the published models as this project builds them', () => {
    const ours = new Map(
      [...standardModules(family)].map(([path, { kind, shape }]) => [path, [kind, shape.at(-2), shape.at(-1), ...shape.slice(1, -2)]]),
    );
    const theirs = new Map(Object.entries(known[family]).map(([path, facts]) => [path, facts.slice(0, -1)]));
    expect(ours).toEqual(theirs);
  });

  test('diffusers takes every key that is written in its form, and has one for every module', () => {
    const { modules, adapters } = adapted(family);
    const owners = new Map(
      Object.entries(known[family]).flatMap(([path, facts]) => (facts.at(-1) as { own: string[] }).own.map((key) => [key, path])),
    );
    const attention = adapters.filter(({ path }) => /\.(to_[qkv]|to_out\.0)$/.test(path));
    for (const some of [adapters, attention]) {
      const bytes = writeLoraFile(some);
      const keys = [...readSafetensors(bytes).tensors.keys()];
      const first = keys.filter((key) => /\.(lora_A|down)\./.test(key));
      expect(first.map((key) => owners.get(key)).sort()).toEqual(some.map(({ path }) => path).sort());
      expect(keys.filter((key) => !first.includes(key)).sort()).toEqual(
        first.map((key) => key.replace('.lora_A.', '.lora_B.').replace('.down.', '.up.')).sort(),
      );
      expect(sorted(readLoraFile(bytes, modules))).toEqual(sorted(some));
    }
  });

  test.each(['diffusers', 'comfyui', 'automatic1111'] as const)(
    '%s takes every key that is written in kohya’s form, and has one for every module',
    async (program) => {
      const { modules, adapters } = adapted(family);
      const owners = new Map(
        Object.entries(known[family]).flatMap(([path, facts]) =>
          ((facts.at(-1) as Known[3] & object)[program] ?? []).map((name: string) => [name, path]),
        ),
      );
      // AUTOMATIC1111 knows no adapter of the second encoder's projection.
      const some = adapters.filter(({ path }) => program !== 'automatic1111' || !path.endsWith('text_projection'));
      const bytes = await writeKohyaLora(some, { family, name: 'cat', modules: modules.keys() });
      const names = new Map<string | undefined, string[]>();
      for (const key of readSafetensors(bytes).tensors.keys()) {
        const [, name, part] = /^([^.]+)\.(.+)$/.exec(key) as RegExpExecArray;
        names.set(owners.get(name), [...(names.get(owners.get(name)) ?? []), part]);
      }
      expect(names).toEqual(new Map(some.map(({ path }) => [path, ['alpha', 'lora_down.weight', 'lora_up.weight']])));
      expect(sorted(readLoraFile(bytes, modules))).toEqual(sorted(some));
    },
  );
});

test('scales by the square root of the rank come back, in both forms', async () => {
  const { modules, adapters } = adapted('sd1', true);
  expect(sorted(readLoraFile(writeLoraFile(adapters), modules))).toEqual(sorted(adapters));
  const kohya = readLoraFile(await writeKohyaLora(adapters, { family: 'sd1', name: 'cat', modules: modules.keys() }), modules);
  for (const [i, { scale }] of sorted(kohya).entries()) expect(scale).toBeCloseTo(sorted(adapters)[i].scale, 6);
  // One switch cannot say both.
  const mixed = adapters.map((adapter, i) =>
    i % 3 > 0 ? adapter : { ...adapter, rslora: false, scale: loraScale(adapter.rank, adapter.alpha, false) },
  );
  for (const [i, { scale }] of sorted(readLoraFile(writeLoraFile(mixed), modules)).entries())
    expect(scale).toBeCloseTo(sorted(mixed)[i].scale, 6);
});

test('magnitudes come back in both forms, in the shapes that peft and LyCORIS have', async () => {
  const { modules, adapters } = adapted('sd1');
  const dora = adapters.map((adapter, i) => ({ ...adapter, magnitude: full([3], 1 + i) }));
  const diffusers = writeLoraFile(dora);
  expect(sorted(readLoraFile(diffusers, modules))).toEqual(sorted(dora));
  const kohya = await writeKohyaLora(dora, { family: 'sd1', name: 'cat', modules: modules.keys() });
  expect(sorted(readLoraFile(kohya, modules))).toEqual(sorted(dora));
  const shapes = (bytes: Uint8Array, end: RegExp) =>
    new Set([...readSafetensors(bytes).tensors].flatMap(([key, { shape }]) => (end.test(key) ? [String(shape)] : [])));
  expect([...shapes(diffusers, /lora_magnitude_vector$/)].sort()).toEqual(['1,3,1,1', '3']);
  expect([...shapes(kohya, /dora_scale$/)].sort()).toEqual(['3,1', '3,1,1,1']);
  expect(JSON.parse(readSafetensors(diffusers).metadata.lora_adapter_metadata)).toMatchObject({ 'unet.use_dora': true });
});

test('the configuration of peft names each component’s modules, and those whose rank or alpha is not the usual one', () => {
  const { adapters } = adapted('sdxl');
  const one = adapters.filter(({ path }) =>
    /mid_block.*attn1.to_q$|text_encoder(_2)?\.encoder\.layers\.[01]\.self_attn\.q_proj$/.test(path),
  );
  const { metadata } = readSafetensors(writeLoraFile(one));
  const config = JSON.parse(metadata.lora_adapter_metadata) as Record<string, unknown>;
  for (const component of ['unet', 'text_encoder', 'text_encoder_2']) {
    const own = one.filter(({ path }) => path.startsWith(`${component}.`));
    const of = (name: string) => config[`${component}.${name}`];
    const names = own.map(({ path }) => path.slice(component.length + 1));
    expect(of('target_modules')).toEqual([...names].sort());
    for (const [i, name] of names.entries()) {
      expect((of('rank_pattern') as Record<string, number>)[name] ?? of('r')).toBe(own[i].rank);
      expect((of('alpha_pattern') as Record<string, number>)[name] ?? of('lora_alpha')).toBe(own[i].alpha);
    }
  }
});

test('kohya’s metadata say what AUTOMATIC1111 and ComfyUI look at', async () => {
  const { modules, adapters } = adapted('sd2');
  const metadataOf = async (some: readonly ScaledLoraMatrices[], more: Partial<Parameters<typeof writeKohyaLora>[1]>) => {
    const bytes = await writeKohyaLora(some, { family: 'sd2', name: 'my cat', modules: modules.keys(), ...more });
    const start = 8 + Number(new DataView(bytes.buffer).getBigUint64(0, true));
    const { sshs_model_hash: hash, ...rest } = readSafetensors(bytes).metadata;
    expect(hash).toBe(createHash('sha256').update(bytes.subarray(start)).digest('hex'));
    return rest;
  };
  const alike = adapters.map((adapter) => ({ ...adapter, rank: 2, alpha: 4, scale: 2 }));
  const tags = tagFrequency(['a cat, Indoors', 'a cat,, outdoors ', '']);
  expect(await metadataOf(alike, { vPrediction: true, tags, resolution: 704 })).toEqual({
    format: 'pt',
    ss_base_model_version: 'sd_v2_v',
    ss_v2: 'True',
    ss_network_module: 'networks.lora',
    ss_network_dim: '2',
    ss_network_alpha: '4',
    ss_output_name: 'my cat',
    ss_tag_frequency: '{"my cat":{"a cat":2,"indoors":1,"outdoors":1}}',
    'modelspec.sai_model_spec': '1.0.0',
    'modelspec.architecture': 'stable-diffusion-v2-768-v/lora',
    'modelspec.implementation': 'diffusers',
    'modelspec.title': 'my cat',
    'modelspec.resolution': '704x704',
    'modelspec.prediction_type': 'v',
  });
  expect(await metadataOf(adapters, {})).toMatchObject({
    ss_base_model_version: 'sd_v2',
    ss_network_dim: 'Dynamic',
    ss_network_alpha: 'Dynamic',
  });
  expect(await metadataOf(alike, { family: 'sd1' })).toMatchObject({
    ss_base_model_version: 'sd_v1',
    ss_v2: 'False',
    'modelspec.architecture': 'stable-diffusion-v1/lora',
  });
  expect(await metadataOf(alike, { family: 'sdxl', metadata: { note: 'mine', ss_v2: 'True' } })).toMatchObject({
    ss_base_model_version: 'sdxl_base_v1-0',
    ss_v2: 'False',
    note: 'mine',
  });
  expect(Object.keys(await metadataOf(alike, { metadata: {} }))).not.toContain('modelspec.resolution');
  expect(await metadataOf(alike, { half: true })).toMatchObject({ ss_network_alpha: '4' });
});
