import { SteploomError, type TensorData } from '../../../core/index.js';
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

/** `onDamaged` is told the path of each file that is not what was written there; what it held is then missing, to be computed and written again. */
export function store(files: Files | undefined, onDamaged: (path: string) => void): Store {
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
    const name = (await hashOf(key)).slice(0, 40);
    return `${name.slice(0, 2)}/${name}.safetensors`;
  };
  return {
    async get(key) {
      const path = await pathOf(key);
      try {
        const bytes = await files.read(path);
        if (!bytes) return null;
        const { tensors, metadata } = readSafetensors(bytes);
        const value = Object.fromEntries(tensors);
        if (metadata.checksum === (await checksumOf(key, value))) return value;
      } catch (error) {
        // No safetensors file, or one that the disk does not give back.
        if (!(error instanceof SteploomError)) throw error;
      }
      onDamaged(`${files.where}/${path}`);
      return null;
    },
    async set(key, value) {
      await files.write(await pathOf(key), writeSafetensors(value, { metadata: { checksum: await checksumOf(key, value) } }));
    },
  };
}

const hashOf = (text: string): Promise<string> => sha256(new TextEncoder().encode(text));

/** Tells names, shapes and numbers, and what they belong to, from all others. */
const checksumOf = async (key: string, value: Kept): Promise<string> =>
  hashOf(`${await hashOf(key)} ${await sha256(writeSafetensors(value))}`);
