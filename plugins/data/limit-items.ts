import type { Host, Source } from '../../core/index.js';

/** The first `most` examples of the first epoch's order, the same in every epoch, each time in that epoch's order. */
function limited(source: Source, most: number): Source {
  if (source.items <= most) return source;
  const kept = new Set(Array.prototype.slice.call(source.ids(0), 0, most) as number[]);
  const left = (ids: ArrayLike<number>) => Array.from(ids).filter((id) => kept.has(id));
  const { batches } = source;
  return {
    ...source,
    items: most,
    ids: (epoch) => left(source.ids(epoch)),
    ...(batches
      ? {
          batches: (epoch) =>
            batches(epoch)
              .map(left)
              .filter(({ length }) => length > 0),
        }
      : {}),
  };
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
