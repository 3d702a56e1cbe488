import { z } from 'zod';
import { fail, messageOf } from '../../../../core/index.js';
import { loraMismatch } from './mismatch.js';

/** diffusers' metadata entry with peft's configuration of each component. */
export const METADATA = 'lora_adapter_metadata';

/** What peft's LoraConfig says of scales. Its other options say how an adapter was trained. */
const schema = z.looseObject({
  // peft's default, where there is a configuration.
  lora_alpha: z.number().default(8),
  alpha_pattern: z.record(z.string(), z.number()).nullish(),
  use_rslora: z.boolean().nullish(),
  use_dora: z.boolean().nullish(),
});

/** Alpha by module, and the way of scaling, of one component. */
export interface AdapterConfig {
  readonly rslora: boolean;
  readonly dora: boolean;
  alphaOf(module: string): number;
}

/** The JSON object in a text; BAD_JSON, with the file's name, where there is none. */
function objectIn(text: unknown, what: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(String(text));
  } catch (error) {
    return fail('BAD_JSON', 'lora', `${what} is not JSON: ${messageOf(error)}`, 'Save the adapter again.', error);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return fail('BAD_JSON', 'lora', `${what} is no JSON object`, 'Save the adapter again.');
  return value as Record<string, unknown>;
}

function parse(options: Record<string, unknown>, where: string): AdapterConfig {
  const parsed = schema.safeParse(options);
  if (!parsed.success) {
    const { path, message } = parsed.error.issues[0];
    const given = path.reduce((value: unknown, key) => (value as Record<PropertyKey, unknown> | undefined)?.[key], options);
    return loraMismatch(where, `${path.join('.')} is ${JSON.stringify(given)}: ${message}`, 'Save the adapter again.');
  }
  const { lora_alpha: alpha, alpha_pattern: patterns, use_rslora: rslora, use_dora: dora } = parsed.data;
  const tests = Object.entries(patterns ?? {}).map(([pattern, value]) => ({ value, fits: patternTest(pattern, where) }));
  return { rslora: rslora === true, dora: dora === true, alphaOf: (module) => tests.find(({ fits }) => fits(module))?.value ?? alpha };
}

/**
 * Whether a module's path ends with what a key of peft's rank_pattern or alpha_pattern matches, as peft has it: the first key that fits
 * counts. Keys are paths as a rule; a regular expression from a file may not take the time that some can.
 */
function patternTest(pattern: string, where: string): (module: string) => boolean {
  const [, whole, name] = /^(\^?)(.*)$/s.exec(pattern) as RegExpExecArray;
  const plain = name.replaceAll('\\.', '.');
  if (/^[\w.]+$/.test(plain)) return (module) => module === plain || (whole === '' && module.endsWith(`.${plain}`));
  const repeats = pattern.match(/[*+{]/g)?.length ?? 0;
  try {
    if (pattern.length <= 500 && repeats <= 3 && !/\)[*+{]/.test(pattern)) {
      const compiled = new RegExp(`^(?:.*\\.)?(?:${pattern})$`);
      return (module) => compiled.test(module);
    }
  } catch {
    // Refused below.
  }
  return loraMismatch(where, `its alpha_pattern has the key ${JSON.stringify(pattern.slice(0, 100))}`, 'Name modules by their paths.');
}

/** The configurations that diffusers writes into an adapter's metadata, by component. Empty where there are none. */
export function configsOf(metadata: Readonly<Record<string, unknown>>, where: string): Map<string, AdapterConfig> {
  const components = new Map<string, [string, unknown][]>();
  if (metadata[METADATA] === undefined) return new Map();
  for (const [key, value] of Object.entries(objectIn(metadata[METADATA], `${where}: its ${METADATA}`))) {
    const dot = key.indexOf('.');
    const component = key.slice(0, Math.max(0, dot));
    components.set(component, [...(components.get(component) ?? []), [key.slice(dot + 1), value]]);
  }
  return new Map(
    [...components].map(([component, options]) => [component, parse(Object.fromEntries(options), `${where}: its ${METADATA}`)]),
  );
}

/** The configuration in peft's own adapter_config.json, which stands beside its adapters. */
export const configOfPeft = (text: string, where: string): AdapterConfig => parse(objectIn(text, where), where);
