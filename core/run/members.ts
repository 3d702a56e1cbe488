import { SteploomError } from '../errors.js';
import type { Ready } from '../plugin/container.js';
import type { HookName } from '../plugin/hooks.js';
import type { PluginBase } from '../plugin/plugin.js';
import { DATA, OPTIMIZER, type Optimizer, type Role } from '../plugin/roles.js';
import type { Json, Settings, State } from '../snapshot.js';

/** The plugins of a run in their order, with those that each has adopted: whose state is saved, and who is disposed when. */
export class Members {
  private readonly adopted = new Map<string, PluginBase[]>();
  /** Those that tap onEvaluate, in the order in which they are called. */
  private readonly evaluating: PluginBase[] = [];

  constructor(readonly ready: readonly Ready[]) {}

  adopt(owner: string, plugin: PluginBase): void {
    this.adopted.set(owner, [...this.adoptedBy(owner), plugin]);
  }

  /** Notes that a plugin taps a hook. */
  taps(hook: HookName, plugin: PluginBase): void {
    if (hook === 'onEvaluate') this.evaluating.push(plugin);
  }

  /** Those that have state, by name. */
  stateful(): Ready[] {
    return this.ready.filter((member) => this.hasState(member));
  }

  hasState({ facts, plugin }: Ready): boolean {
    return [plugin, ...this.adoptedBy(facts.name)].some(({ capture }) => capture);
  }

  /**
   * Throws STATE_UNSAVED for each optimizer, the one that fills OPTIMIZER and those it has adopted, that has state and cannot save it or take
   * it back: a resumed run would begin without it, and not say so.
   */
  refuseForgetfulOptimizers(): void {
    const member = this.filling(OPTIMIZER);
    const forgetful = member ? this.forgetfulOptimizers(member) : [];
    if (forgetful.length > 0)
      throw new SteploomError(
        forgetful.map(({ name, bytes }) => ({
          code: 'STATE_UNSAVED',
          plugin: name,
          what: `keeps ${bytes} bytes of state and lacks capture() or restore(): a resumed run would begin without it`,
          fix: 'Give the plugin both.',
        })),
        { everyRank: true },
      );
  }

  private forgetfulOptimizers({ facts, plugin }: Ready): { name: string; bytes: number }[] {
    const bytesOf = (member: PluginBase) => (member as Partial<Optimizer>).stateBytes?.() ?? 0;
    const adopted = this.adoptedBy(facts.name);
    // What a plugin reports holds what it has adopted; the rest is its own.
    const ownBytes = bytesOf(plugin) - adopted.reduce((sum, member) => sum + bytesOf(member), 0);
    return [
      { name: facts.name, member: plugin, bytes: ownBytes },
      ...adopted.map((member) => ({ name: member.name, member, bytes: bytesOf(member) })),
    ]
      .filter(({ member, bytes }) => bytes > 0 && !(member.capture && member.restore))
      .map(({ name, bytes }) => ({ name, bytes }));
  }

  /** The plugin that fills a role, if it is one of the run's. */
  filling(role: Role): Ready | undefined {
    return this.ready.find(({ facts }) => facts.fills === role);
  }

  /** A plugin's state; that of the plugins it has adopted stands in it as `name/key`. */
  async capture({ facts, plugin }: Ready): Promise<State> {
    const state: Record<string, State[string]> = { ...(await plugin.capture?.()) };
    for (const adopted of this.adoptedBy(facts.name))
      for (const [key, value] of Object.entries((await adopted.capture?.()) ?? {})) state[`${adopted.name}/${key}`] = value;
    return state;
  }

  /** The metrics that evaluations give; null where a plugin that taps onEvaluate does not say. */
  metrics(): readonly string[] | null {
    const given = this.evaluating.map(({ metrics }) => metrics);
    return given.some((metrics) => metrics === undefined) ? null : given.flatMap((metrics) => metrics ?? []);
  }

  /** What all plugins say of their options, by name; those of the plugins that one has adopted stand with it as `name/option`. */
  async settings(): Promise<Record<string, Settings>> {
    const all: Record<string, Settings> = {};
    for (const { facts, plugin } of this.ready) {
      const settings: Record<string, Json> = { ...(await plugin.settings?.()) };
      for (const adopted of this.adoptedBy(facts.name)) {
        const own = (await adopted.settings?.()) ?? {};
        if (adopted.fills === DATA) {
          // The run's data are the same with something around them; what is not trained on says nothing: a resumed run may begin to evaluate.
          if (facts.fills === DATA && Object.keys(own).length > 0) all[adopted.name] = own;
          continue;
        }
        for (const [name, value] of Object.entries(own)) settings[`${adopted.name}/${name}`] = value;
      }
      if (Object.keys(settings).length > 0) all[facts.name] = settings;
    }
    return all;
  }

  /** Takes back what {@link capture} gave. */
  async restore({ facts, plugin }: Ready, state: State): Promise<void> {
    let rest = Object.entries(state);
    for (const adopted of this.adoptedBy(facts.name)) {
      if (!adopted.restore) continue;
      const prefix = `${adopted.name}/`;
      const belongs = ([key]: readonly [string, unknown]) => key.startsWith(prefix);
      await adopted.restore(Object.fromEntries(rest.filter(belongs).map(([key, value]) => [key.slice(prefix.length), value])));
      rest = rest.filter((entry) => !belongs(entry));
    }
    await plugin.restore?.(Object.fromEntries(rest));
  }

  /** In the order in which they are disposed: the last first, each before those it has adopted. */
  disposals(): PluginBase[] {
    return [...this.ready].reverse().flatMap(({ facts, plugin }) => [plugin, ...[...this.adoptedBy(facts.name)].reverse()]);
  }

  private adoptedBy(name: string): readonly PluginBase[] {
    return this.adopted.get(name) ?? [];
  }
}
