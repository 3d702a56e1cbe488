import { fail, isTensorData, type Json, type Snapshot, type State, type TensorData } from '../../core/index.js';
import { type Files, readFile, readJson } from './files.js';
import { readSafetensors, writeSafetensors } from './safetensors.js';

const TENSORS = 'state.safetensors';
const REST = 'state.json';

/** Writes a snapshot as two files: its tensors, and the rest as JSON. */
export async function writeSnapshot(files: Files, { parameters, plugins, ...rest }: Snapshot): Promise<void> {
  const tensors: Record<string, TensorData> = {};
  for (const [path, value] of Object.entries(parameters)) tensors[`parameters/${path}`] = value;
  const states: Record<string, Record<string, Json>> = {};
  for (const [name, state] of Object.entries(plugins)) {
    states[name] = {};
    for (const [key, value] of Object.entries(state))
      if (isTensorData(value)) tensors[`plugins/${name}/${key}`] = value;
      else states[name][key] = value as Json;
  }
  await files.write(TENSORS, writeSafetensors(tensors));
  await files.write(REST, `${JSON.stringify({ ...rest, plugins: states }, null, 2)}\n`);
}

/** Reads a snapshot back. */
export async function readSnapshot(files: Files): Promise<Snapshot> {
  const rest = (await readJson(files, REST)) as unknown as Snapshot;
  const { tensors } = readSafetensors(await readFile(files, TENSORS), `${files.where}/${TENSORS}`);
  if (!Number.isInteger(rest.step) || typeof rest.plugins !== 'object')
    fail('BAD_SNAPSHOT', 'checkpoint', `${files.where}/${REST} is no snapshot`, 'Give the folder of a checkpoint.');
  const parameters: Record<string, TensorData> = {};
  const plugins: Record<string, Record<string, TensorData | Json>> = {};
  for (const [name, state] of Object.entries(rest.plugins)) plugins[name] = { ...(state as Record<string, Json>) };
  for (const [key, value] of tensors) {
    const [kind, first, ...more] = key.split('/');
    if (kind === 'parameters') parameters[[first, ...more].join('/')] = value;
    else (plugins[first] ??= {})[more.join('/')] = value;
  }
  return { ...rest, parameters, plugins: plugins as Record<string, State> };
}
