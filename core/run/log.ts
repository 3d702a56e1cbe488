import type { Position } from '../plan.js';
import type { FinishedRecord, Hooks, LogRecord, Sum } from '../plugin/hooks.js';
import type { Rates } from '../plugin/roles.js';
import type { Scalar } from '../tf.js';
import type { History } from './history.js';
import type { Profile } from './profile.js';

/** A run's log. Values on the device are read back in the background: the next step starts at once, and one reading is under way at most. */
export class Log {
  private reading: Promise<void> = Promise.resolve();

  constructor(
    private readonly hooks: Hooks,
    private readonly groups: readonly string[],
    private readonly history: History,
    private readonly profile: Profile | null,
  ) {}

  /** Logs a step: its mean loss, the rates, and what plugins add. */
  async step(at: Position, sum: Sum, rates: Readonly<Record<string, Rates>>): Promise<void> {
    const record: Record<string, number | Scalar> = { step: at.step + 1, epoch: at.epoch, loss: sum.loss.div(sum.items) as Scalar };
    const [first, ...others] = this.groups;
    record.learningRate = rates[first].learningRate;
    for (const group of others)
      if (rates[group].learningRate !== rates[first].learningRate) record[`learningRate.${group}`] = rates[group].learningRate;
    const full = await this.hooks.onLog.promise(record, at.step);
    await this.reading;
    this.reading = this.finish(full);
    // Whoever waits for it next hears of its error.
    this.reading.catch(() => undefined);
  }

  /** Waits until the last step that was logged has reached onRecord. */
  settled(): Promise<void> {
    return this.reading;
  }

  /** Keeps a finished record and shows it to whoever writes it. */
  told(record: FinishedRecord): Promise<void> {
    this.history.add(record);
    return this.hooks.onRecord.promise(record);
  }

  private async finish(record: LogRecord): Promise<void> {
    const finished: Record<string, number | string> = {};
    const read = () =>
      Promise.all(
        Object.entries(record).map(async ([name, value]) => {
          if (typeof value !== 'object') finished[name] = value;
          else {
            finished[name] = Number.NaN; // keeps the order of the fields
            finished[name] = (await value.data())[0];
            value.dispose();
          }
        }),
      );
    await (this.profile ? this.profile.core('waiting for the device', read) : read());
    await this.told(finished as FinishedRecord);
  }
}
