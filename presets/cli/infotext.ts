import { basename, extname } from 'node:path';
import type { SamplerName } from '../common/sampling.js';

/** How a picture was drawn. */
export interface Drawing {
  readonly prompts: readonly string[];
  readonly negativePrompt?: string | readonly string[] | undefined;
  readonly steps: number;
  readonly sampler: SamplerName;
  readonly guidance: number;
  readonly guidanceRescale: number;
  readonly seed: number;
  readonly width: number;
  readonly height: number;
  /** The model's path or name; that of the package where none was given. */
  readonly model?: string | undefined;
  readonly clipSkip: number;
  readonly adapters: readonly { readonly path: string; readonly share: number }[];
  readonly version: string;
}

/** Samplers by the names that AUTOMATIC1111's web UI has for them. */
const SAMPLERS: Readonly<Record<SamplerName, string>> = {
  ddim: 'DDIM',
  'dpm-solver++': 'DPM++ 2M',
  'dpm-solver++-karras': 'DPM++ 2M Karras',
  euler: 'Euler',
  'euler-ancestral': 'Euler a',
};

/** A value of the last line: what would end it there stands in quotation marks, as JSON. */
const quoted = (value: string | number): string => (/[,:\n]/.test(String(value)) ? JSON.stringify(value) : String(value));

const nameOf = (path: string): string => basename(path, extname(path) === '.safetensors' ? '.safetensors' : '');

/**
 * Prompts and settings as AUTOMATIC1111's web UI writes them into pictures, and as it, ComfyUI's readers and collections of pictures read them: the prompt, a
 * line of what is not wanted, and a line of settings. Several prompts, of a grid, are lines of it.
 */
export function infotext(d: Drawing): string {
  const adapters = d.adapters.map(({ path, share }) => ` <lora:${nameOf(path)}:${share}>`).join('');
  const away = [d.negativePrompt ?? []].flat().filter((text) => text !== '');
  const settings: (readonly [string, string | number])[] = [
    ['Steps', d.steps],
    ['Sampler', SAMPLERS[d.sampler]],
    ['CFG scale', d.guidance],
    ...(d.guidanceRescale > 0 ? [['CFG Rescale', d.guidanceRescale] as const] : []),
    ['Seed', d.seed],
    ['Size', `${d.width}x${d.height}`],
    ['Model', d.model === undefined ? 'steploom emoji base' : nameOf(d.model)],
    // There the last layer is 1.
    ...(d.clipSkip > 0 ? [['Clip skip', d.clipSkip + 1] as const] : []),
    ['Version', `steploom ${d.version}`],
  ];
  return [
    d.prompts.join('\n') + adapters,
    ...(away.length > 0 && d.guidance !== 1 ? [`Negative prompt: ${away.join('\n')}`] : []),
    settings.map(([name, value]) => `${name}: ${quoted(value)}`).join(', '),
  ].join('\n');
}
