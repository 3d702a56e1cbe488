import { emojiBaseFolder } from '../../presets/common/package-root.js';

/** What a preset with these options cannot do without: a folder of images, an autoencoder. */
export const needsOf = (shape: Readonly<Record<string, unknown>>, folder: string): Record<string, unknown> => ({
  ...(shape.trainDataDir ? { trainDataDir: folder } : {}),
  ...(shape.pretrainedVaeModelNameOrPath && !shape.pretrainedModelNameOrPath ? { pretrainedVaeModelNameOrPath: emojiBaseFolder() } : {}),
});
