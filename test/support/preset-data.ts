import type { z } from 'zod';

/** The least that a preset with these options must be told of its data. */
export function dataFor({ shape }: z.ZodObject, folder: string): object {
  if (shape.trainDataDir) return { trainDataDir: folder };
  return shape.instanceDataDir ? { instanceDataDir: folder, instancePrompt: 'a photo of sks dog' } : {};
}
