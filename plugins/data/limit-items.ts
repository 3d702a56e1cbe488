import type { Host, Source } from '../../core/index.js';

/** The first `most` examples of the first epoch's order, the same in every epoch, each time in that epoch's order; of data that makes batches itself, in the same batches. */
function limited(source: Source, most: number): Source {
  if (source.items <= most) return source;
  if (source.batches) {
    // Other epochs put other examples together, and these few into more or fewer batches.
    let left = most;
    const batches = source.batches(0).flatMap((batch) => {
      const kept = batch.slice(0, left);
      left -= kept.length;
      return kept.length > 0 ? [kept] : [];
    });
    return { ...source, items: most, ids: () => batches.flat(), batches: () => batches };
  }
  const kept = new Set(Array.prototype.slice.call(source.ids(0), 0, most) as number[]);
  return { ...source, items: most, ids: (epoch) => Array.from(source.ids(epoch)).filter((id) => kept.has(id)) };
}

/** Trains on so many of the examples, drawn by the seed where the order is: a model that cannot learn a few by heart has a fault somewhere. */
export const limitItems = (most: number) => ({
  name: 'limit-items',
  apply({ hooks }: Host) {
    hooks.validate.tap((problems) => {
      problems.options('limit-items').whole('limitItems', most, 1);
    });
    hooks.prepareData.tap((source) => limited(source, most));
  },
});
