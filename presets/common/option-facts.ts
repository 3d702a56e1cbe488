import type { z } from 'zod';

/** What kind of value an option takes: `texts` is one text or several, `names` a list, of `choices` where there are some. */
export type OptionKind = 'whole' | 'number' | 'boolean' | 'text' | 'choice' | 'names' | 'texts';

/** What there is to say about an option: for the command line, the reference and the published types. */
export interface OptionFacts {
  readonly name: string;
  readonly kind: OptionKind;
  readonly choices?: readonly string[];
  readonly fallback?: unknown;
  /** Whether it must be given. */
  readonly required: boolean;
  readonly description: string;
}

/** The part of zod's nodes that is read here. */
interface SchemaNode {
  readonly def: {
    readonly type: string;
    readonly innerType?: SchemaNode;
    readonly element?: SchemaNode;
    readonly defaultValue?: unknown;
    readonly entries?: Readonly<Record<string, string>>;
  };
  readonly isInt?: boolean;
  readonly description?: string;
}

const choicesOf = ({ def }: SchemaNode) => def.entries && Object.values(def.entries);

function optionKindOf(node: SchemaNode): OptionKind {
  switch (node.def.type) {
    case 'number':
      return node.isInt ? 'whole' : 'number';
    case 'boolean':
      return 'boolean';
    case 'enum':
      return 'choice';
    case 'array':
      return 'names';
    case 'union':
      return 'texts';
    default:
      return 'text';
  }
}

/** The options of a schema, in its order. */
export const optionFacts = (schema: z.ZodObject): OptionFacts[] =>
  Object.entries(schema.shape as unknown as Record<string, SchemaNode>).map(([name, node]) => {
    // A preset may put its default around that of the shared option: the outer one holds. Descriptions may stand anywhere.
    let fallback: unknown;
    let required = true;
    let { description } = node;
    let inner = node;
    while (inner.def.innerType) {
      if (inner.def.type === 'default') fallback ??= inner.def.defaultValue;
      if (inner.def.type === 'default' || inner.def.type === 'optional') required = false;
      inner = inner.def.innerType;
      description ??= inner.description;
    }
    const choices = choicesOf(inner) ?? (inner.def.element && choicesOf(inner.def.element));
    return {
      name,
      kind: optionKindOf(inner),
      ...(choices ? { choices } : {}),
      ...(fallback === undefined ? {} : { fallback }),
      required,
      description: description ?? '',
    };
  });

/** camelCase to the spelling of the command line and of diffusers' scripts: adam_beta1, use_8bit_adam. */
export const snake = (name: string): string => numbersApart(name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`));

/** A number that begins a word stands apart from the word before it. */
export const numbersApart = (name: string): string => name.replace(/(?<=[a-z])(?=\d+[a-z])/g, '_');
