import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';

/** Writes images/ with three pictures and their captions into a folder. */
export async function threeImages(folder: string): Promise<void> {
  await mkdir(join(folder, 'images'));
  const rows: string[] = [];
  for (const [i, colour] of ['red', 'green', 'blue'].entries()) {
    await sharp({ create: { width: 40, height: 40, channels: 3, background: colour } }).toFile(join(folder, 'images', `${i}.png`));
    rows.push(JSON.stringify({ file_name: `${i}.png`, text: `${colour} heart` }));
  }
  await writeFile(join(folder, 'images', 'metadata.jsonl'), rows.join('\n'));
}

/** Options of a small run on them. */
export const small = [
  '--train_data_dir',
  'images',
  '--device',
  'wasm',
  '--threads',
  '1',
  '--train_batch_size',
  '2',
  '--lr_warmup_steps',
  '0',
];
/** A model of pictures of 16 pixels, where it does not matter which one is trained. */
export const pipeline = fileURLToPath(new URL('../fixtures/pipelines/sd15', import.meta.url));
export const tiny = [...small, '--pretrained_model_name_or_path', pipeline, '--resolution', '16'];
