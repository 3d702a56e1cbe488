import type { Model } from '../../../core/index.js';
import * as tf from '../../../core/tf.js';
import { operation } from '../../devices/compute/contract.js';

/** The weights of autoencoder and frozen text encoders, which no step needs where what they give is kept; none on devices that compute in the host's memory. */
export function weightsToLeave({ parameters }: Model): string[] {
  if (!operation('upload')) return [];
  const trained = new Set([...parameters.values()].flatMap(({ trainable, group }) => (trainable ? [group] : [])));
  return [...parameters].flatMap(([path, { group }]) =>
    !trained.has(group) && (group === 'vae' || group.startsWith('text_encoder')) ? [path] : [],
  );
}

/** Brings these weights back to the host. They return by themselves when they are used: a device takes a tensor's values when it first computes with it. */
export async function leaveDevice(model: Model): Promise<void> {
  for (const path of weightsToLeave(model)) {
    const variable = model.parameters.get(path)?.variable as tf.Variable;
    const data = await variable.data();
    const onHost = tf.tensor(data, variable.shape, variable.dtype);
    variable.assign(onHost);
    onHost.dispose();
  }
}
