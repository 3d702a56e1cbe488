import { existsSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fail, messageOf } from '../../core/index.js';
import { loraOfSnapshot } from '../../plugins/adapters/lora/snapshot.js';
import { folder } from '../../plugins/persist/formats/folder.js';
import { LORA_FILE, type LoraFile, openLoraFile, PEFT_FILES } from '../../plugins/persist/formats/lora-file.js';
import { refusePickle } from '../../plugins/persist/formats/pickle.js';
import { CHECKSUMS, readSnapshot } from '../../plugins/persist/formats/snapshot-files.js';
import { asNumber } from './options.js';

/** `path:0.5` is half of the adapter: what stands behind the last colon, if it is a number. A file may bear such a name itself. */
export function parseAdapter(given: string): { path: string; share: number } {
  const colon = given.lastIndexOf(':');
  if (colon < 0 || existsSync(given)) return { path: given, share: 1 };
  const [path, text] = [given.slice(0, colon), given.slice(colon + 1)];
  const share = asNumber(text);
  if (share !== null && Number.isFinite(share)) return { path, share };
  if (existsSync(path))
    fail(
      'OPTION_INVALID',
      'lora',
      `${given}: "${text}" is no number`,
      'Give how much of the adapter is used, as in adapter.safetensors:0.8.',
    );
  return { path: given, share: 1 };
}

async function bytesOf(path: string): Promise<Uint8Array> {
  refusePickle(path, 'lora');
  try {
    return await readFile(path);
  } catch (error) {
    const what = `${path} cannot be read: ${messageOf(error)}`;
    return fail('FILE_MISSING', 'lora', what, 'Give a .safetensors file, or the folder of a run or of a checkpoint.', error);
  }
}

/** Finds an adapter: a file, the folder of a run that has ended, one of peft's, or that of a checkpoint, which tells no family. */
export async function findAdapter(given: string): Promise<LoraFile> {
  const isFolder = await stat(given).then(
    (found) => found.isDirectory(),
    () => false,
  );
  if (isFolder && existsSync(join(given, CHECKSUMS))) {
    const snapshot = await readSnapshot(folder(given));
    return { metadata: {}, family: null, read: (modules) => loraOfSnapshot(snapshot, modules, given) };
  }
  const names = [LORA_FILE, PEFT_FILES.weights];
  const path = isFolder ? join(given, names.find((name) => existsSync(join(given, name))) ?? LORA_FILE) : given;
  const config = join(path, '..', PEFT_FILES.config);
  const peftConfig = existsSync(config) ? await readFile(config, 'utf8') : null;
  return openLoraFile(await bytesOf(path), path, { peftConfig });
}
