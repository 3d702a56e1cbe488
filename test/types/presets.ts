// The types of presets' options, as a user meets them.
import { emoji, emojiBase, loraInMemory, loraTextToImage, supervised, textToImage } from 'steploom/presets';
import { type EmojiOptions, emoji as fromFile } from 'steploom/presets/emoji';

await loraTextToImage({ trainDataDir: 'images', learningRate: 1e-4, reportTo: ['csv'], validationPrompt: ['a ghost', 'a heart'] });
await loraTextToImage({ trainDataDir: 'images', maxTrainSteps: undefined, loraTargets: ['to_q'] as const });
await textToImage({ trainDataDir: 'images', useEma: true, emaWarmup: 'power' });
await textToImage({ datasetName: 'owner/pictures', imageColumn: 'picture' });
await emoji();
await emojiBase({ textLayers: 1 });
const options: EmojiOptions = { device: 'wasm' };
await fromFile(options);

// @ts-expect-error a text is no rate
await loraTextToImage({ trainDataDir: 'images', learningRate: 'fast' });
// @ts-expect-error a text is no number, though it looks like one
await loraTextToImage({ trainDataDir: 'images', rank: '8' });
// @ts-expect-error a misspelt option
await loraTextToImage({ trainDataDir: 'images', learningRat: 1 });
// @ts-expect-error pictures are missing
await textToImage();
// @ts-expect-error there is no such schedule
await emoji({ lrScheduler: 'cosin' });
// @ts-expect-error a number is no switch
await emoji({ quiet: 1 });
// @ts-expect-error a list is wanted
await emoji({ reportTo: 'csv' });
// @ts-expect-error steps are missing
loraInMemory({});
// @ts-expect-error there is no such loss
export const wrong = (o: Parameters<typeof supervised>[0]) => supervised({ ...o, loss: 'cross' });
