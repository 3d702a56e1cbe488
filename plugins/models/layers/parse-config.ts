import { z } from 'zod';
import { fail } from '../../../core/index.js';

/** A width or another size. No model that is in use has more; what a file may claim beyond would only take memory. */
export const size = z
  .number()
  .int()
  .positive()
  .max(1 << 16);

/** One size for all levels, or one a level. */
export const oneOrList = z.union([size, z.array(size).max(64)]);

/** Layers, in the same way: a level has not many. */
export const layerCounts = z.union([size.max(64), z.array(size.max(64)).max(64)]);

/** An option that may be left out or have one of these values: others would change the computation. */
export const only = <T extends string | number | boolean | null>(...values: T[]) =>
  z.custom<T>((value) => values.includes(value as T), `only ${values.map((v) => JSON.stringify(v)).join(' or ')} is supported`).optional();

/** The same for what is off, which files say as false or as null. */
export const off = () => only<false | null>(false, null);

/** A switch; null is off, as Python takes it. */
export const flag = (otherwise: boolean) =>
  z
    .boolean()
    .nullable()
    .default(otherwise)
    .transform((value) => value ?? false);

/** Reads a model's configuration by its schema; every unknown option and unsupported value is named in one UNSUPPORTED_OPTION. */
export function parseConfig<S extends z.ZodType>(schema: S, json: object, plugin: string, where: string): z.output<S> {
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  const issues = parsed.error.issues.map((issue) => {
    const name = issue.code === 'unrecognized_keys' ? issue.keys.join(', ') : issue.path.join('.');
    return `${name}: ${issue.message}`;
  });
  return fail('UNSUPPORTED_OPTION', plugin, `${where}: ${issues.join('; ')}`, 'This model cannot be built as it is described there.');
}

/**
 * The same for a config.json of diffusers, whose options the schema (a strict one) lists. Keys that begin with _ are diffusers' notes; an option
 * that the schema does not know, of another version, is accepted where it is off (null or false).
 */
export function parseDiffusersConfig<S extends z.ZodObject>(schema: S, json: object, plugin: string, where: string): z.output<S> {
  const matters = ([key, value]: [string, unknown]) => !key.startsWith('_') && (key in schema.shape || (value !== null && value !== false));
  return parseConfig(schema, Object.fromEntries(Object.entries(json).filter(matters)), plugin, where);
}
