import {
  allToHost,
  type Collective,
  type Host,
  hashOf,
  hashOfText,
  isTensorData,
  type Json,
  OPTIMIZER,
  type Tensors,
  trainablePaths,
  weightsOf,
} from '../../../core/index.js';
import { buffersOf, together } from './values.js';

/** Whether weights are the same everywhere, and the optimizer's state unless ranks share it out: a few bytes, unless they are not. */
export async function compareStates(host: Host, collective: Collective, step: number, isStateShared: boolean): Promise<void> {
  const states: Record<string, Json | ArrayBufferView> = {};
  const model = host.model();
  const changing = Object.fromEntries([
    ...trainablePaths(model).map((path) => [path, weightsOf(model)[path]]),
    ...buffersOf(model),
  ]) as Tensors;
  for (const [path, { data }] of Object.entries(await allToHost(changing))) states[path] = data;
  for (const [name, value] of Object.entries(isStateShared ? {} : await host.capture(OPTIMIZER)))
    states[`the optimizer's ${name}`] = isTensorData(value) ? value.data : (value as Json);
  const hashes = Object.entries(states).map(([name, value]) => [
    name,
    ArrayBuffer.isView(value) ? hashOf(value) : hashOfText(JSON.stringify(value)),
  ]);
  const digests = await collective.gather(hashOfText(hashes.flat().join('\n')));
  const other = digests.findIndex((digest) => digest !== digests[0]);
  if (other < 0) return;
  const all = (await collective.gather(JSON.stringify(hashes))).map((text) => JSON.parse(text) as [string, string][]);
  const different = all[other].filter(([, hash], i) => hash !== all[0][i]?.[1]).map(([name]) => name);
  together(
    'RANKS_DIVERGED',
    `before step ${step + 1} rank ${other} differs from rank 0 in ${different.slice(0, 5).join(', ')}${different.length > 5 ? ` and ${different.length - 5} more` : ''}`,
    'Something computes differently there: other hardware, another driver, or a plugin that draws by itself.',
  );
}
