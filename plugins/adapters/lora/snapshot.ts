import type { ModuleFacts, Settings, Snapshot } from '../../../core/index.js';
import { type ScaledLoraMatrices, scalingOf } from '../../persist/formats/lora/matrices.js';
import { loraMismatch } from '../../persist/formats/lora/mismatch.js';
import { fitLora } from '../../persist/formats/lora-file.js';
import { toPyTorch } from '../../persist/formats/pytorch-layout.js';
import { loraPaths } from './modules.js';

/**
 * The adapters of a checkpoint, whose matrices stand among its parameters as the model has them, for a model with these modules, which
 * they must fit (LORA_MISMATCH). `where` names the checkpoint in errors.
 */
export function loraOfSnapshot(
  { parameters, settings }: Snapshot,
  modules: ReadonlyMap<string, ModuleFacts>,
  where: string,
): ScaledLoraMatrices[] {
  const { rank, alpha, rslora, rankPattern, alphaPattern } = (settings?.lora ?? {}) as Settings;
  if (typeof rank !== 'number' || typeof alpha !== 'number') return loraMismatch(where, 'it is the checkpoint of a run without LoRA');
  const scaling = {
    rank,
    alpha,
    rslora: rslora === true,
    rankPattern: rankPattern as Record<string, number> | undefined,
    alphaPattern: alphaPattern as Record<string, number> | undefined,
  };
  const end = loraPaths('').a;
  const paths = Object.keys(parameters).flatMap((name) => (name.endsWith(end) ? [name.slice(0, -end.length)] : []));
  return paths.map((path) => {
    const names = loraPaths(path);
    const matrices = {
      a: toPyTorch(parameters[names.a]),
      b: parameters[names.b] && toPyTorch(parameters[names.b]),
      magnitude: parameters[names.magnitude],
    };
    return { ...fitLora(path, matrices, modules.get(path), where), ...scalingOf(path, scaling) };
  });
}
