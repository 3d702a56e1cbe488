import type { Model, Random } from '../../core/index.js';
import type { Builder } from '../../plugins/models/layers/builder.js';
import { makeParameters } from '../../plugins/models/layers/parameters.js';

/** A model of what a builder has been asked for, all of it trained, as the group `net`. */
export const builtModel = async (build: Builder, random: Random, forward: Model['forward']): Promise<Model> => ({
  parameters: await makeParameters(build.specs, { trainable: true, group: 'net', random }),
  modules: build.modules,
  blocks: build.blocks,
  graphs: build.graphs,
  wraps: new Map(),
  forward,
});
