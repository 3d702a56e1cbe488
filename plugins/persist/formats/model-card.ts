import { stringify } from 'yaml';
import type { Family } from './lora/family.js';
import { LORA_FILE } from './lora-file.js';

/** What a page of the hub says of adapters. */
export interface ModelCard {
  readonly name: string;
  /** The family of the model that they belong to; null where that is none of Stable Diffusion. */
  readonly family: Family | null;
  /** That model's name on the hub, where it has one. */
  readonly baseModel?: string | undefined;
  /** The name on the hub of what was trained on, where it has one. */
  readonly dataset?: string | undefined;
  /** The words that stand for the thing that was learnt. */
  readonly instancePrompt?: string | undefined;
  /** What the pictures show. */
  readonly prompts?: readonly string[];
  /** Pictures beside the page, the most telling first. */
  readonly pictures?: readonly string[];
  /** How it was trained, by name. */
  readonly training?: Readonly<Record<string, string | number>>;
}

/** The words by which the hub finds models of a family. */
const TAGS: Readonly<Record<Family, readonly string[]>> = {
  sd1: ['stable-diffusion', 'stable-diffusion-diffusers'],
  sd2: ['stable-diffusion', 'stable-diffusion-diffusers'],
  sdxl: ['stable-diffusion-xl', 'stable-diffusion-xl-diffusers'],
};

/** Text as Markdown shows it, in a table's cell too. */
const plain = (text: string): string => text.replace(/[\\`*_{}[\]<>#|!~]/g, '\\$&').replace(/\s+/g, ' ');

/** The page of adapters on the hub, a README.md: what the hub reads of it (base model, tags, pictures with their prompts), and what people do. */
export function modelCard(card: ModelCard): string {
  const { name, family, baseModel, dataset, instancePrompt, prompts = [], pictures = [], training = {} } = card;
  const [picture] = pictures;
  const facts = {
    ...(baseModel === undefined ? {} : { base_model: baseModel }),
    ...(dataset === undefined ? {} : { datasets: [dataset] }),
    ...(instancePrompt === undefined ? {} : { instance_prompt: instancePrompt }),
    library_name: 'diffusers',
    pipeline_tag: 'text-to-image',
    tags: [...(family ? TAGS[family] : []), 'text-to-image', 'diffusers', 'lora', 'steploom'],
    ...(picture === undefined ? {} : { widget: prompts.map((text) => ({ text, output: { url: picture } })) }),
  };
  const parts = [
    `---\n${stringify(facts).trimEnd()}\n---`,
    `# ${plain(name)}`,
    `LoRA adapters${baseModel === undefined ? '' : ` for [${baseModel}](https://huggingface.co/${baseModel})`}, trained with steploom${
      dataset === undefined ? '' : ` on the data set [${dataset}](https://huggingface.co/datasets/${dataset})`
    }.${instancePrompt === undefined ? '' : ` What they have learnt is called up by **${plain(instancePrompt)}**.`}`,
    ...pictures.map((file) => `![${plain(prompts.join('; '))}](./${encodeURIComponent(file)})`),
    ...(pictures.length > 0 && prompts.length > 0 ? [`Drawn:\n\n${prompts.map((text) => `- ${plain(text)}`).join('\n')}`] : []),
    ...(baseModel === undefined ? [] : [`## Use\n\n\`\`\`python\n${inPython(baseModel, prompts[0] ?? instancePrompt)}\n\`\`\``]),
    ...(Object.keys(training).length > 0
      ? [
          `## Training\n\n| | |\n| --- | --- |\n${Object.entries(training)
            .map(([what, value]) => `| ${plain(what)} | ${plain(String(value))} |`)
            .join('\n')}`,
        ]
      : []),
    'The licence of the base model holds for what is drawn with these adapters, too.',
  ];
  return `${parts.join('\n\n')}\n`;
}

const inPython = (baseModel: string, prompt = 'a photo'): string =>
  [
    'from diffusers import AutoPipelineForText2Image',
    '',
    `pipeline = AutoPipelineForText2Image.from_pretrained(${JSON.stringify(baseModel)}).to("cuda")`,
    `pipeline.load_lora_weights("PATH_OR_NAME_OF_THIS_REPOSITORY", weight_name=${JSON.stringify(LORA_FILE)})`,
    `pipeline(${JSON.stringify(prompt)}).images[0].save("picture.png")`,
  ].join('\n');
