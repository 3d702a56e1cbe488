import type { TensorData } from '../../../core/index.js';
import type { Files } from '../../persist/formats/files.js';
import { readSafetensors, writeSafetensors } from '../../persist/formats/safetensors.js';
import { sha256 } from '../../persist/formats/sha256.js';

/** What is kept of one thing. */
export type Kept = Readonly<Record<string, TensorData>>;

/** Tensors that are computed once, by a text that tells them from all others: in memory, or as files of a folder, which later runs find. */
export interface Store {
  get(key: string): Promise<Kept | null>;
  set(key: string, value: Kept): Promise<void>;
}

export function store(files?: Files): Store {
  if (!files) {
    const kept = new Map<string, Kept>();
    return {
      get: async (key) => kept.get(key) ?? null,
      set: async (key, value) => {
        kept.set(key, value);
      },
    };
  }
  // Names of files are short, and the same on every system.
  const pathOf = async (key: string) => {
    const name = (await sha256(new TextEncoder().encode(key))).slice(0, 40);
    return `${name.slice(0, 2)}/${name}.safetensors`;
  };
  return {
    async get(key) {
      const path = await pathOf(key);
      const bytes = await files.read(path);
      return bytes && Object.fromEntries(readSafetensors(bytes, `${files.where}/${path}`).tensors);
    },
    set: async (key, value) => files.write(await pathOf(key), writeSafetensors(value)),
  };
}
