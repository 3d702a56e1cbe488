/** Writes a tiny pipeline of test/fixtures/pipelines as a single file: `jiti write-single-file.ts <sd15|sd21|sdxl> <file>`. For make_fixtures.py. */
import { writeFile } from 'node:fs/promises';
import { writeSafetensors } from '../../plugins/persist/formats/safetensors.js';
import { toSingleFile } from '../../plugins/persist/formats/single-file/write.js';
import { type PIPELINES, pipelineParts } from '../support/pipelines.js';

const [name, path] = process.argv.slice(2);
const tensors = toSingleFile(await pipelineParts(name as keyof typeof PIPELINES));
const read = await Promise.all([...tensors].map(async ([key, stored]) => [key, await stored.read()] as const));
await writeFile(path, writeSafetensors(Object.fromEntries(read)));
