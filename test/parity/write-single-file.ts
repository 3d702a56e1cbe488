/** Writes a tiny pipeline of test/fixtures/pipelines as a single file: `jiti write-single-file.ts <sd15|sd21|sdxl> <file>`. For make_fixtures.py. */
import { basename, dirname } from 'node:path';
import { folder } from '../../plugins/persist/formats/folder.js';
import { writeSafetensorsTo } from '../../plugins/persist/formats/safetensors.js';
import { toSingleFile } from '../../plugins/persist/formats/single-file/write.js';
import { type PIPELINES, pipelineParts } from '../support/pipelines.js';

const [name, path] = process.argv.slice(2);
const tensors = toSingleFile(await pipelineParts(name as keyof typeof PIPELINES));
await writeSafetensorsTo(
  folder(dirname(path)),
  basename(path),
  [...tensors].map(([key, { shape, read }]) => ({ name: key, shape, read })),
);
