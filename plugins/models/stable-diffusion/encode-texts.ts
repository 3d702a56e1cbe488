import type { Tensor } from '../../../core/index.js';
import type { Tensor2D, Tensor3D } from '../../../core/tf.js';
import * as tf from '../../../core/tf.js';
import type { TextOutputOptions } from '../clip/text-encoder.js';
import { remembered } from '../layers/remembered.js';
import type { Components } from './components.js';
import type { Family } from './family.js';
import type { Joined } from './join.js';
import type { TextToImage } from './text-to-image.js';

export interface TextEncodingOptions {
  /** Layers at the end of text encoders that the states do not pass through, more than the family leaves out. */
  readonly clipSkip: number;
  /** What becomes of texts that are longer than the encoders take: cut, or encoded in pieces whose states are joined. */
  readonly longCaptions: 'cut' | 'chunk';
}

/** What of each text encoder of a family is wanted. */
export const outputsOf = ({ encoders }: Family, clipSkip: number): TextOutputOptions[] =>
  encoders.map(({ outputs: { skip = 0, ...more } }) => ({ ...more, skip: skip + clipSkip }));

/** Whether zeros stand for no text at all. */
export const zerosForNoText = ({ family, index }: Pick<Components, 'family' | 'index'>): boolean =>
  typeof index?.force_zeros_for_empty_prompt === 'boolean' ? index.force_zeros_for_empty_prompt : family.zerosForNoText;

/** How a model encodes texts. In pieces, all texts of a call have as many as the longest, and the pooled state is that of the first. */
export function textEncoding(joined: Joined, { clipSkip, longCaptions }: TextEncodingOptions): TextToImage['encode'] {
  const { components, encoders } = joined;
  const { family } = components;
  const zeros = zerosForNoText(components);
  const outputs = outputsOf(family, clipSkip);
  // Every epoch has the same texts.
  const piecesOf = components.encoders.map(({ tokenizer }, i) => {
    const length = Math.min(tokenizer.length, encoders[i].config.max_position_embeddings);
    const all = (text: string) => (longCaptions === 'chunk' ? tokenizer.chunks(text) : [tokenizer.encode(text)]);
    return remembered((text: string) => all(text).map((ids) => ids.subarray(0, length)), 1 << 16);
  });

  return (context, texts) => {
    const pieces = encoders.map((_, i) => texts.map((text) => piecesOf[i](text ?? '')));
    // Tokenizers may make more or fewer tokens of a text (of `!!!`, say), and the states of all encoders are joined.
    const count = Math.max(...pieces.flat().map(({ length }) => length));
    const all = encoders.map((encoder, i) => {
      const [nothing] = piecesOf[i]('');
      const parts = Array.from({ length: count }, (_, k) =>
        encoder.outputs(
          context,
          pieces[i].map((list) => list[k] ?? nothing),
          { ...outputs[i], pooled: outputs[i].pooled === true && k === 0 },
        ),
      );
      return {
        states: joinedOn(
          parts.map(({ states }) => states),
          1,
        ),
        pooled: parts[0].pooled,
      };
    });
    const states = joinedOn(
      all.map((one) => one.states),
      2,
    );
    const pooled = all.find((one) => one.pooled)?.pooled;
    // No text at all.
    const shares = texts.map((text) => (text === null && zeros ? 0 : 1));
    const kept = (x: Tensor): Tensor =>
      shares.includes(0) ? x.mul(tf.tensor(shares, [texts.length, ...new Array(x.rank - 1).fill(1)])) : x;
    return { states: kept(states) as Tensor3D, ...(pooled ? { pooled: kept(pooled) as Tensor2D } : {}) };
  };
}

const joinedOn = (tensors: readonly Tensor[], axis: number): Tensor => (tensors.length === 1 ? tensors[0] : tf.concat([...tensors], axis));
