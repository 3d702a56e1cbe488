import type { Files } from '../../persist/formats/files.js';
import { type Configurations, readConfigurations } from './configurations.js';
import type { ReadOptions } from './read.js';
import { configurationsOfSingleFile, type SingleFileModel } from './single-file.js';

/** What is said of a model beside its weights, of which none are read. */
export const configurationsFrom = async (from: Files | SingleFileModel, options: ReadOptions = {}): Promise<Configurations> =>
  'merges' in from ? configurationsOfSingleFile(from, options) : readConfigurations(from);
