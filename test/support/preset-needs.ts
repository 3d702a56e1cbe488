import { emojiBaseFolder } from '../../presets/common/package-root.js';

/** What a preset with these options cannot do without: a folder of images, with their prompt, an autoencoder. */
export const needsOf = (shape: Readonly<Record<string, unknown>>, folder: string): Record<string, unknown> => ({
  ...(shape.trainDataDir ? { trainDataDir: folder } : {}),
  ...(shape.instanceDataDir ? { instanceDataDir: folder, instancePrompt: 'a photo of sks dog' } : {}),
  ...(shape.pretrainedVaeModelNameOrPath && !shape.pretrainedModelNameOrPath ? { pretrainedVaeModelNameOrPath: emojiBaseFolder() } : {}),
});
