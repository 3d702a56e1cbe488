/** What a bar tells, in words. */
export interface Shown {
  readonly step: number;
  readonly total: number;
  readonly loss: string;
  readonly rate: string;
  readonly speed: string;
  readonly left: string;
}

const [WIDEST, NARROWEST] = [40, 6];

// Ours, since libraries of bars (cli-progress, progress) cut what does not fit, in place of leaving out what matters least, and draw over what others print.

/** A bar that leaves a terminal's last column free, since a full line would break: what there is no room for is left out, the rate first. */
export function barLine({ step, total, loss, rate, speed, left }: Shown, columns: number): string {
  const count = `${step}/${total}`;
  const texts = [
    [count, `loss ${loss}`, `rate ${rate}`, speed, `${left} left`],
    [count, `loss ${loss}`, speed, `${left} left`],
    [count, `loss ${loss}`, `${left} left`],
    [count, `loss ${loss}`],
  ].map((parts) => parts.join('  '));
  const room = (text: string) => columns - 2 - text.length;
  const text = texts.find((one) => room(one) >= NARROWEST) ?? texts[texts.length - 1];
  const width = Math.min(WIDEST, room(text));
  if (width < NARROWEST) return text.slice(0, Math.max(0, columns - 1));
  const done = Math.round((width * step) / total);
  return `${'█'.repeat(done)}${'░'.repeat(width - done)} ${text}`;
}
