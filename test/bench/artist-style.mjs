// The main job with an artist's style in place of one that is computed from the pictures: LoRA on 64 icons of Fluent Emoji High Contrast (MIT), black silhouettes with
// lines of white, judged like the main job on captions it was not trained on.
//   npm run build && node test/bench/artist-style.mjs [captions [steps [device]]] [--option=value ...]       options as of the preset emoji, in JSON
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeContext, seededRandom, Trainer } from '../../dist/core/index.js';
import * as tf from '../../dist/core/tf.js';
import { cachedLatents, ddim, folder } from '../../dist/plugins/index.js';
import { pictureSizes } from '../../dist/plugins/models/stable-diffusion/picture-sizes.js';
import { emojiBaseFolder } from '../../dist/presets/common/package-root.js';
import { emojiData, STYLE_SPLIT } from '../../dist/presets/emoji/data.js';
import { emojiFigures } from '../../dist/presets/emoji/figures.js';
import { galleriesOf } from '../../dist/presets/emoji/judge.js';
import { renderEmoji, splitEmoji } from '../../dist/presets/emoji/noto.js';
import { emojiOptions } from '../../dist/presets/emoji.js';
import { emoji } from '../../dist/presets/index.js';
import { wordsAndOptions } from './options.mjs';

const ARTIST = '@iconify-json/fluent-emoji-high-contrast';
const { words, options: more } = wordsAndOptions(process.argv.slice(2));
const [captions = 24, steps = 250, device = 'auto'] = words;
const outputDir = join(tmpdir(), `steploom-artist-style-${process.pid}`);
const options = { device, maxTrainSteps: Number(steps), lrWarmupSteps: Math.min(10, Number(steps)), outputDir, ...more };

const { usual: SIDE } = await pictureSizes(folder(options.pretrainedModelNameOrPath ?? emojiBaseFolder()));
const [known, theirs] = [await renderEmoji('icons', SIDE), await renderEmoji('all', SIDE, ARTIST)];
const inBoth = new Set(theirs.map(({ name }) => name));
// The same names, split as the main job splits them: by Noto's categories.
const { train, held } = splitEmoji(
  known.filter(({ name }) => inBoth.has(name)),
  STYLE_SPLIT.train,
  STYLE_SPLIT.held,
);
const asDrawn = (icons) => icons.map((icon) => theirs.find(({ name }) => name === icon.name));
/** What of the artist's pictures gets through the autoencoder, and how large its latents of them are, beside Noto's, where it was trained. */
const autoencoder = {
  name: 'autoencoder-alone',
  apply(host) {
    host.hooks.onStart.tapPromise(async () => {
      const model = host.model();
      const context = makeContext(model, {
        mode: 'evaluate',
        parameters: host.weights('sample'),
        draw: (name, id) => seededRandom(0).item(name, 0, id),
      });
      for (const [whose, icons] of Object.entries({ 'the artist': asDrawn(held), Noto: held })) {
        const [decibels, deviation] = [[], []];
        for (const icon of icons.slice(0, Number(captions))) {
          const [error, spread] = tf.tidy(() => {
            const pixels = tf.tensor(icon.draw(), [1, SIDE, SIDE, 3]);
            const latents = model.codec.encode(context, pixels.mul(2).sub(1), [0]);
            const decoded = model.codec.decode(context, latents).add(1).div(2).clipByValue(0, 1);
            return [tf.losses.meanSquaredError(pixels, decoded), tf.moments(latents).variance.sqrt()];
          });
          decibels.push(-10 * Math.log10((await error.data())[0]));
          deviation.push((await spread.data())[0]);
          tf.dispose([error, spread]);
        }
        const mean = (list) => list.reduce((a, b) => a + b) / list.length;
        console.log(
          `the autoencoder on icons of ${whose}: ${mean(decibels).toFixed(1)} dB; latents' standard deviation ${mean(deviation).toFixed(2)}`,
        );
      }
    });
  },
};
const preset = await emoji(options);
const { numInferenceSteps, guidanceScale } = emojiOptions.parse(options);
await new Trainer(
  preset
    .without('emoji-figures', 'cached-latents')
    .with(cachedLatents(emojiData(asDrawn(train).slice(0, options.limitItems), SIDE, 8)), autoencoder)
    .with(
      emojiFigures({
        outputDir,
        captions: held.slice(0, Number(captions)).map(({ caption }) => caption),
        galleries: async () => [
          ...(await galleriesOf(theirs, { artist: (pixels) => pixels })),
          ...(await galleriesOf(await renderEmoji('all', SIDE), { noto: (pixels) => pixels })),
        ],
        sampling: { steps: numInferenceSteps, guidance: guidanceScale, sampler: ddim() },
        before: true,
        onFigures(before, after) {
          for (const [when, { loss, nearest, nearestOfAll }] of Object.entries({ base: before, 'with LoRA': after }))
            console.log(
              `${when.padEnd(9)} denoising loss ${loss.artist.toFixed(3)}; nearest of the artist's is the right one ${(100 * nearest.artist).toFixed(1)} %; nearest of all is it, by the artist ${(100 * nearestOfAll.artist).toFixed(1)} %; nearest of Noto's is the right one ${(100 * nearest.noto).toFixed(1)} %`,
            );
          console.log(`pictures: ${outputDir}`);
        },
      }),
    ),
).train();
process.exit();
