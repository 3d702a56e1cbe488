import type { Header } from './decode.js';

/** Whether an image has to be enlarged to the square, or has fewer pixels than the sizes that stand for it. */
export const isSmall = ({ size: [height, width] }: Header, resolution: number, hasSizes: boolean): boolean =>
  hasSizes ? height * width < resolution ** 2 : Math.min(height, width) < resolution;

/** What the headers of images say of them all, in a line; so many have the bytes of another. */
export function summaryOf(headers: readonly Header[], resolution: number, hasSizes: boolean, doubles: number): string {
  const byPixels = headers.map(({ size }) => size).sort((a, b) => a[0] * a[1] - b[0] * b[1]);
  const named = ([height, width]: readonly [number, number]) => `${width} x ${height}`;
  const [least, most] = [named(byPixels[0]), named(byPixels[byPixels.length - 1])];
  const counted = (is: (header: Header) => boolean, what: string) => {
    const count = headers.filter(is).length;
    return count > 0 ? [`${count} ${what}`] : [];
  };
  return [
    `${least === most ? least : `${least} to ${most}`} pixels`,
    ...counted((header) => isSmall(header, resolution, hasSizes), `smaller than ${resolution} x ${resolution}`),
    ...counted(({ isTurned }) => isTurned, 'turned as their cameras say'),
    ...counted(({ hasAlpha }) => hasAlpha, 'with an alpha channel'),
    ...(doubles > 0 ? [`${doubles} with the same bytes as another`] : []),
  ].join('; ');
}
