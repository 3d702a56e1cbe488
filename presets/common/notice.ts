import type { Plugin } from '../../core/index.js';

/** Says what options were turned into, when training starts. */
export const notice = (texts: readonly string[], name = 'notice'): Plugin => ({
  name,
  apply: ({ hooks, warn, isFirstRank }) =>
    hooks.onStart.tap(() => {
      if (isFirstRank()) for (const text of texts) warn(text);
    }),
});
