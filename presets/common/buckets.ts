import type { BucketOptions } from '../../plugins/data/image-folder/buckets.js';
import type { bucketOptions, OptionValues } from './options.js';

/** The sizes that options ask for, for imageFolder(); nothing where they ask for none. */
export const bucketsFrom = (o: OptionValues<typeof bucketOptions>): { readonly buckets?: BucketOptions } =>
  o.useAspectRatioBuckets
    ? {
        buckets: {
          step: o.bucketStep,
          ...(o.bucketMin === undefined ? {} : { min: o.bucketMin }),
          ...(o.bucketMax === undefined ? {} : { max: o.bucketMax }),
          upscale: o.bucketUpscale,
        },
      }
    : {};
