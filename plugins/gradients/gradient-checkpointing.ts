import { type Host, withRecomputedBlocks } from '../../core/index.js';

/**
 * Gradient checkpointing (Chen et al. 2016, "Training deep nets with sublinear memory cost"): of each of the model's blocks only what it was given is
 * kept for the way back, where the block is computed again. Memory for activations falls to about one block's and the blocks' inputs, a step takes
 * another forward pass, and gradients are the same to the last bit. MODEL_UNFIT for models without blocks.
 */
export const gradientCheckpointing = () => ({
  name: 'gradient-checkpointing',
  apply({ hooks }: Host) {
    hooks.prepareModel.tap((model, problems) => {
      if (!model.blocks?.size)
        problems.add(
          'MODEL_UNFIT',
          'gradient-checkpointing',
          'the model names no blocks that could be computed again',
          'Train without it.',
        );
      return withRecomputedBlocks(model);
    });
  },
});
