import { z } from 'zod';
import { fail } from '../../../core/index.js';
import { type Files, readJson } from '../../persist/formats/files.js';
import { decodeText } from '../../persist/formats/text.js';
import { parseConfig } from '../layers/parse-config.js';
import { clipTokenizer, type Tokenizer } from './tokenizer.js';

/** The files that a tokenizer's folder may have. They are written again as they were. */
const FILES = ['tokenizer_config.json', 'special_tokens_map.json', 'vocab.json', 'merges.txt', 'tokenizer.json', 'added_tokens.json'];

const special = z.union([z.string(), z.object({ content: z.string() })]).nullish();
const configSchema = z.object({
  tokenizer_class: z.enum(['CLIPTokenizer', 'CLIPTokenizerFast'], {
    error: ({ input }) => `only CLIPTokenizer and CLIPTokenizerFast are supported, not ${input}: use a model that has one of them`,
  }),
  model_max_length: z.number().int().min(3).max(4096).default(77),
  pad_token: special,
});
/** Not z.record(), which leaves `__proto__` out: any word may be one. */
const vocabularySchema = z.custom<Readonly<Record<string, number>>>(
  (value) =>
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    Object.values(value).every((id) => Number.isSafeInteger(id) && id >= 0),
  'an id, a whole number of 0 or more, is expected for each word',
);
const tokenizerSchema = z.object({
  added_tokens: z.array(z.object({ id: z.number().int().nonnegative(), content: z.string().min(1) })).default([]),
  model: z.object({
    vocab: vocabularySchema,
    // Pairs; until 2024 the two of a pair in one text.
    merges: z.array(z.union([z.string(), z.tuple([z.string(), z.string()])])),
  }),
});

interface Words {
  /** The files that they are of, as errors name them. */
  readonly files: { readonly vocabulary: string; readonly merges: string };
  readonly vocabulary: Readonly<Record<string, number>>;
  readonly merges: readonly string[];
  readonly added: readonly string[];
}

/** Opens a tokenizer's folder: CLIP's, with vocab.json and merges.txt or with tokenizer.json alone. */
export async function loadTokenizer(files: Files, folder = 'tokenizer'): Promise<Tokenizer> {
  const json = async <S extends z.ZodType>(name: string, schema: S): Promise<z.output<S>> =>
    parseConfig(schema, await readJson(files, `${folder}/${name}`), 'tokenizer', `${files.where}/${folder}/${name}`);
  const has = async (name: string) => (await files.read(`${folder}/${name}`)) !== null;
  const config = await json('tokenizer_config.json', configSchema);
  const length = config.model_max_length;
  const { files: from, vocabulary, merges, added } = (await has('vocab.json')) ? await separate() : await joined();
  checkMerges(merges, new Set(Object.keys(vocabulary)), from.merges);
  // As transformers has it, special_tokens_map.json counts more where the two differ, as in Stable Diffusion 2's.
  const map = (await has('special_tokens_map.json')) ? await json('special_tokens_map.json', z.object({ pad_token: special })) : {};
  const padding = map.pad_token ?? config.pad_token ?? '<|endoftext|>';
  const tokenizer = clipTokenizer(vocabulary, merges, length, typeof padding === 'object' ? padding.content : padding, {
    added,
    where: from.vocabulary,
  });
  return {
    ...tokenizer,
    async save(into, there) {
      for (const name of FILES) {
        const content = await files.read(`${folder}/${name}`);
        if (content) await into.write(`${there}/${name}`, content);
      }
    },
  };

  async function separate(): Promise<Words> {
    const from = { vocabulary: `${files.where}/${folder}/vocab.json`, merges: `${files.where}/${folder}/merges.txt` };
    const bytes = await files.read(`${folder}/merges.txt`);
    if (!bytes) return fail('FILE_MISSING', 'tokenizer', `${from.merges} is missing`, files.ifMissing ?? 'Save it beside vocab.json.');
    const text = decodeText(bytes) ?? fail('BAD_TOKENIZER', 'tokenizer', `${from.merges} is no text`, REPLACE);
    const lines = text.split(/\r?\n/).filter((line) => line !== '' && !line.startsWith('#version'));
    const more = (await has('added_tokens.json')) ? await json('added_tokens.json', vocabularySchema) : {};
    return {
      files: from,
      vocabulary: { ...(await json('vocab.json', vocabularySchema)), ...more },
      merges: lines,
      added: Object.keys(more),
    };
  }

  async function joined(): Promise<Words> {
    if (!(await has('tokenizer.json')))
      return fail(
        'FILE_MISSING',
        'tokenizer',
        `${files.where}/${folder} has neither vocab.json nor tokenizer.json`,
        files.ifMissing ?? 'Copy the tokenizer of the model there.',
      );
    const { added_tokens: added, model } = await json('tokenizer.json', tokenizerSchema);
    const place = `${files.where}/${folder}/tokenizer.json`;
    return {
      files: { vocabulary: place, merges: place },
      vocabulary: { ...model.vocab, ...Object.fromEntries(added.map(({ content, id }) => [content, id])) },
      merges: model.merges.map((merge) => (typeof merge === 'string' ? merge : merge.join(' '))),
      added: added.map(({ content }) => content),
    };
  }
}

const REPLACE = 'The file is broken: copy the tokenizer of the model there again.';

/** Throws BAD_TOKENIZER where there are no merges, or one is not of two pieces that the vocabulary has and that make a third of it. */
function checkMerges(merges: readonly string[], known: ReadonlySet<string>, where: string): void {
  if (merges.length === 0) fail('BAD_TOKENIZER', 'tokenizer', `${where} has no merges: every letter would be a token`, REPLACE);
  for (const merge of merges) {
    const pieces = merge.split(' ');
    if (pieces.length !== 2 || pieces.includes(''))
      fail('BAD_TOKENIZER', 'tokenizer', `${where}: ${JSON.stringify(merge)} is no pair of pieces`, REPLACE);
    const strange = [...pieces, pieces.join('')].find((piece) => !known.has(piece));
    if (strange !== undefined)
      fail(
        'BAD_TOKENIZER',
        'tokenizer',
        `${where}: ${JSON.stringify(merge)} needs ${strange}, which the vocabulary does not have`,
        REPLACE,
      );
  }
}
