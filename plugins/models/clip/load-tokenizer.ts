import { z } from 'zod';
import { fail } from '../../../core/index.js';
import { type Files, readJson } from '../../persist/formats/files.js';
import { decodeText } from '../../persist/formats/text.js';
import { parseConfig } from '../layers/parse-config.js';
import { clipTokenizer, type Tokenizer, wordTokenizer } from './tokenizer.js';

/** The files that a tokenizer's folder may have. They are written again as they were. */
const FILES = ['tokenizer_config.json', 'special_tokens_map.json', 'vocab.json', 'merges.txt', 'tokenizer.json', 'added_tokens.json'];

const special = z.union([z.string(), z.object({ content: z.string() })]).nullish();
const configSchema = z.object({
  tokenizer_class: z.enum(
    ['CLIPTokenizer', 'CLIPTokenizerFast', 'WordTokenizer'],
    'only CLIPTokenizer, CLIPTokenizerFast and WordTokenizer are supported',
  ),
  model_max_length: z.number().int().min(3).max(4096).default(77),
  pad_token: special,
});
const vocabularySchema = z.record(z.string(), z.number().int().nonnegative());
const tokenizerSchema = z.object({
  added_tokens: z.array(z.object({ id: z.number().int().nonnegative(), content: z.string().min(1) })).default([]),
  model: z.object({
    vocab: vocabularySchema,
    // Pairs; until 2024 the two of a pair in one text.
    merges: z.array(z.union([z.string(), z.tuple([z.string(), z.string()])])),
  }),
});

interface Words {
  readonly vocabulary: Readonly<Record<string, number>>;
  readonly merges: readonly string[];
  readonly added: readonly string[];
}

/** Opens a tokenizer's folder: CLIP's, with vocab.json and merges.txt or with tokenizer.json alone, or our word-level one. */
export async function loadTokenizer(files: Files, folder = 'tokenizer'): Promise<Tokenizer> {
  const json = async <S extends z.ZodType>(name: string, schema: S): Promise<z.output<S>> =>
    parseConfig(schema, await readJson(files, `${folder}/${name}`), 'tokenizer', `${files.where}/${folder}/${name}`);
  const has = async (name: string) => (await files.read(`${folder}/${name}`)) !== null;
  const config = await json('tokenizer_config.json', configSchema);
  const length = config.model_max_length;
  if (config.tokenizer_class === 'WordTokenizer') {
    const words = Object.entries(await json('vocab.json', vocabularySchema)).sort((a, b) => a[1] - b[1]);
    return wordTokenizer(
      words.slice(2).map(([word]) => word),
      length,
    );
  }
  const { vocabulary, merges, added } = (await has('vocab.json')) ? await separate() : await joined();
  // As transformers has it, special_tokens_map.json counts more where the two differ, as in Stable Diffusion 2's.
  const map = (await has('special_tokens_map.json')) ? await json('special_tokens_map.json', z.object({ pad_token: special })) : {};
  const padding = map.pad_token ?? config.pad_token ?? '<|endoftext|>';
  const tokenizer = clipTokenizer(vocabulary, merges, length, typeof padding === 'object' ? padding.content : padding, added);
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
    const text = await files.read(`${folder}/merges.txt`);
    if (!text) return fail('FILE_MISSING', 'tokenizer', `${files.where}/${folder}/merges.txt is missing`, 'Save it beside vocab.json.');
    const lines = (decodeText(text) ?? '').split(/\r?\n/).filter((line) => line !== '' && !line.startsWith('#version'));
    const more = (await has('added_tokens.json')) ? await json('added_tokens.json', vocabularySchema) : {};
    return { vocabulary: { ...(await json('vocab.json', vocabularySchema)), ...more }, merges: lines, added: Object.keys(more) };
  }

  async function joined(): Promise<Words> {
    if (!(await has('tokenizer.json')))
      return fail(
        'FILE_MISSING',
        'tokenizer',
        `${files.where}/${folder} has neither vocab.json nor tokenizer.json`,
        'Copy the tokenizer of the model there.',
      );
    const { added_tokens: added, model } = await json('tokenizer.json', tokenizerSchema);
    return {
      vocabulary: { ...model.vocab, ...Object.fromEntries(added.map(({ content, id }) => [content, id])) },
      merges: model.merges.map((merge) => (typeof merge === 'string' ? merge : merge.join(' '))),
      added: added.map(({ content }) => content),
    };
  }
}
