/** Picks parameters by path: a regular expression, or a text that is the path or some of its dotted parts, * standing for any part of a name. */
export type NamePattern = string | RegExp;

/** Whether a pattern fits a path: `bias` fits `unet.conv_in.bias`, `text_encoder.*` all below, `norm*` any part that begins so. */
export function matches(pattern: NamePattern, path: string): boolean {
  if (typeof pattern !== 'string') {
    pattern.lastIndex = 0;
    return pattern.test(path);
  }
  const escaped = pattern.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replaceAll('*', '[^.]*');
  return new RegExp(`(^|\\.)${escaped}($|\\.)`).test(path);
}
