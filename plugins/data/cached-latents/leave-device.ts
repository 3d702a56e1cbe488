import type { Model } from '../../../core/index.js';
import * as tf from '../../../core/tf.js';
import { operation } from '../../devices/compute/contract.js';

/**
 * Brings the weights that no step needs (an autoencoder's, frozen text encoders') back to the host, where a device has memory of its own and takes values late. They
 * return by themselves when they are used: a device takes a tensor's values when it first computes with it.
 */
export async function leaveDevice({ parameters }: Model): Promise<void> {
  if (!operation('upload')) return;
  const trained = new Set([...parameters.values()].flatMap(({ trainable, group }) => (trainable ? [group] : [])));
  for (const { variable, group } of parameters.values()) {
    if (trained.has(group) || !(group === 'vae' || group.startsWith('text_encoder'))) continue;
    const data = await variable.data();
    const onHost = tf.tensor(data, variable.shape, variable.dtype);
    variable.assign(onHost);
    onHost.dispose();
  }
}
