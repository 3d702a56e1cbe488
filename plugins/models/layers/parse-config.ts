import type { z } from 'zod';
import { fail } from '../../../core/index.js';

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
