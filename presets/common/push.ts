import type { AnyPlugin } from '../../core/index.js';
import { isHubName } from '../../plugins/persist/formats/hub.js';
import { pushToHub } from '../../plugins/persist/push-to-hub.js';
import type { hubOptions, OptionValues } from './options.js';
import type { CommonOptions } from './plugins.js';

/** What is told on the page of adapters. */
type Told = OptionValues<typeof hubOptions> &
  Pick<CommonOptions, 'outputDir' | 'learningRate' | 'lrScheduler' | 'optimizer' | 'trainBatchSize' | 'gradientAccumulationSteps'> & {
    readonly pretrainedModelNameOrPath?: string | undefined;
    readonly datasetName?: string | undefined;
    readonly instancePrompt?: string;
    readonly validationPrompt?: string | readonly string[] | undefined;
    readonly resolution?: number | undefined;
    readonly rank: number;
  };

/** A name on the hub, which everybody may know; what a folder of this machine is called is nobody's business. */
const onHub = (name: string | undefined): string | undefined => (name !== undefined && isHubName(name) ? name : undefined);

/** Sends the adapters to the hub, where that is asked for. */
export const pushOf = (o: Told): AnyPlugin[] =>
  o.pushToHub
    ? [
        pushToHub(o.outputDir, {
          repository: o.hubModelId,
          token: o.hubToken,
          card: {
            baseModel: onHub(o.pretrainedModelNameOrPath),
            dataset: onHub(o.datasetName),
            instancePrompt: o.instancePrompt,
            prompts: [o.validationPrompt ?? []].flat(),
            training: {
              rank: o.rank,
              'learning rate': `${o.learningRate}, ${o.lrScheduler}`,
              optimizer: o.optimizer,
              batch: `${o.trainBatchSize} x accumulation ${o.gradientAccumulationSteps}`,
              ...(o.resolution === undefined ? {} : { resolution: o.resolution }),
            },
          },
        }),
      ]
    : [];
