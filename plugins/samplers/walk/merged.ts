import { type Context, type Model, makeContext, type Tensors } from '../../../core/index.js';
import { operation } from '../../devices/compute/contract.js';

/** Bytes that merged weights may take beside the model's own; where they would take more, nothing is merged. */
const MOST = 256 * 2 ** 20;

/**
 * A context for many passes without a gradient: adapters are added to copies of the weights once, in place of being computed beside them in every pass. The
 * model's weights stay as they are. Not where parts of the model are replayed, which know its weights, nor what is stored in half precision, which would lose by it.
 */
export function mergedContext(model: Model, parameters: Tensors): { readonly context: Context; dispose(): void } {
  const precision = operation('precision');
  const isReplayed = [...(model.graphs ?? [])].some((path) => model.wraps.has(path));
  const modules = [...model.wraps].flatMap(([path, [wrap, ...more]]) => {
    const facts = model.modules.get(path);
    if (!facts || !wrap?.merged || more.length > 0 || precision?.isHalf(parameters[facts.weight])) return [];
    return [{ path, weight: facts.weight, merged: wrap.merged }];
  });
  const bytes = modules.reduce((sum, { weight }) => sum + 4 * parameters[weight].size, 0);
  if (isReplayed || bytes > MOST) return { context: makeContext(model, { mode: 'evaluate', parameters }), dispose: () => undefined };
  const own: Tensors = {};
  const dispose = () => {
    for (const tensor of Object.values(own)) tensor.dispose();
  };
  try {
    for (const { weight, merged } of modules) own[weight] = merged(parameters);
  } catch (error) {
    dispose();
    throw error;
  }
  operation('keepsValues')?.(Object.values(own));
  const wraps = new Map(model.wraps);
  for (const { path } of modules) wraps.delete(path);
  return { context: makeContext({ ...model, wraps }, { mode: 'evaluate', parameters: { ...parameters, ...own } }), dispose };
}
