import type { ModuleFacts } from '../../../core/index.js';
import type { Files } from '../../persist/formats/files.js';
import type { Family as PublishedName } from '../../persist/formats/lora/family.js';
import { clipText } from '../clip/text-encoder.js';
import { unet2DCondition } from '../unet/unet2d-condition.js';
import type { Configurations } from './configurations.js';
import { configurationsFrom } from './configurations-from.js';
import { publishedModel } from './published-model.js';
import type { ReadOptions } from './read.js';
import type { SingleFileModel } from './single-file.js';

/** What there is to know of a model without its weights. */
export interface ModelModules {
  readonly modules: Map<string, ModuleFacts>;
  readonly predicts: string;
}

const modulesOf = ({ family, unet, encoders }: Pick<Configurations, 'family' | 'unet' | 'encoders'>): Map<string, ModuleFacts> => {
  const texts = family.encoders.map(({ folder, kind }, i) =>
    clipText(encoders[i], `${folder}.`, {}, kind === 'CLIPTextModelWithProjection'),
  );
  return new Map([unet2DCondition(unet), ...texts].flatMap(({ modules }) => [...modules]));
};

/** The modules of a family's published models, which nearly all others are made from. No weights are made. */
export function standardModules(name: PublishedName): Map<string, ModuleFacts> {
  const { family, published } = publishedModel(name);
  return modulesOf({ family, ...published });
}

/** The modules of a model, and what it predicts, by its configurations alone: no weights are read. */
export async function modulesOfModel(from: Files | SingleFileModel, options: ReadOptions = {}): Promise<ModelModules> {
  const said = await configurationsFrom(from, options);
  return { modules: modulesOf(said), predicts: options.predictionType ?? said.noise.prediction_type ?? 'epsilon' };
}
