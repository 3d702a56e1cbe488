/**
 * Letters and numbers that Unicode 17 (2025) added. The library behind transformers' tokenizers knows Unicode 16, where they are neither, while
 * each Node knows its own.
 */
const NEWER =
  `\\u088F\\u0C5C\\u0CDC\\uA7CE\\uA7CF\\uA7D2\\uA7D4\\uA7F1\\u{10940}-\\u{10959}\\u{10EC5}-\\u{10EC7}\\u{11DB0}-\\u{11DDB}\\u{11DE0}-\\u{11DE9}
\\u{16EA0}-\\u{16EB8}\\u{16EBB}-\\u{16ED3}\\u{16FF2}-\\u{16FF6}\\u{187F8}-\\u{187FF}\\u{18D09}-\\u{18D1E}\\u{18D80}-\\u{18DF2}\\u{1E6C0}-\\u{1E6DE}
\\u{1E6E0}-\\u{1E6E2}\\u{1E6E4}\\u{1E6E5}\\u{1E6E7}-\\u{1E6ED}\\u{1E6F0}-\\u{1E6F4}\\u{1E6FE}\\u{1E6FF}\\u{2B73A}-\\u{2B73F}\\u{2CEA2}-\\u{2CEAD}
\\u{323B0}-\\u{33479}`.replaceAll('\n', '');

/** A pattern in which \p{L} and \p{N} stand for the letters and numbers of Unicode 16. */
export const unicode16 = (pattern: string, flags: string): RegExp =>
  new RegExp(pattern.replace(/\\p\{([LN])\}/g, `(?:(?![${NEWER}])\\p{$1})`), flags);

const isNewer = new RegExp(`[${NEWER}]`, 'u');

/** A letter as Unicode 16 lowers it. */
export const lowered = (letter: string): string => (isNewer.test(letter) ? letter : letter.toLowerCase());
