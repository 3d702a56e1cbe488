import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Host, type Model, messageOf, SteploomError } from '../../core/index.js';
import { adaptersIn, CARD_FILE, picturesIn } from './folders/results.js';
import { runName } from './folders/run-name.js';
import { writeAtomically } from './formats/atomic-file.js';
import { type PushTarget, pushTarget } from './formats/hub/push.js';
import { type HubSettings, hubSettings } from './formats/hub/settings.js';
import { familyOfModel } from './formats/lora/family.js';
import { type ModelCard, modelCard } from './formats/model-card.js';

export interface PushToHubOptions {
  /** `owner/name`, or the name of one of the token's account; the folder's name by default. */
  readonly repository?: string | undefined;
  /** In place of the settings'. */
  readonly token?: string | undefined;
  /** Where the hub is; what the environment says by default. */
  readonly settings?: HubSettings;
  /** What the page says, beside what the run knows. */
  readonly card?: Pick<ModelCard, 'baseModel' | 'dataset' | 'instancePrompt' | 'prompts' | 'training'>;
  /** Waits so many seconds, between attempts. */
  readonly pause?: (seconds: number) => Promise<void>;
}

/** Settings, those of the environment by default, with another token where one is given. */
export const settingsWith = async (token: string | undefined, given?: HubSettings): Promise<HubSettings> => {
  const settings = given ?? (await hubSettings());
  return token === undefined ? settings : { ...settings, token };
};

/** Sends what is to be sent of a run's folder: adapters, pictures, and the page. Returns how many files there were. */
export async function pushFolder(folder: string, target: PushTarget, title: string): Promise<number> {
  const pictures = await picturesIn(folder);
  const page = await readFile(join(folder, CARD_FILE), 'utf8').catch(() => modelCard({ name: runName(folder), family: null, pictures }));
  const files = [...(await adaptersIn(folder)), ...pictures];
  await target.put(
    new Map<string, { text: string } | { file: string }>([
      ['README.md', { text: page }],
      ...files.map((path): [string, { file: string }] => [path, { file: join(folder, path) }]),
    ]),
    title,
  );
  return files.length + 1;
}

/** The repository that a run's adapters go to where none is named: names there have letters, digits, and - _ . alone. */
export const repositoryFor = (folder: string): string => runName(folder).replace(/[^\w.-]+/g, '-');

/** A path as shells take it. */
const quoted = (path: string): string => (/^[\w./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`);

/** Why nothing can be sent; null where it can. */
export const unfit = ({ token, offline }: HubSettings): readonly [what: string, fix: string] | null => {
  if (offline) return ['HF_HUB_OFFLINE is set', 'Leave it out, or push later.'];
  return token === undefined ? ['there is no token', 'Set HF_TOKEN to a token that may write, or log in with hf auth login.'] : null;
};

/**
 * Sends the adapters that saveLora() has written into the folder to a repository of the Hugging Face hub when the run ends, with its pictures and a page of
 * what they are (model-card.md here, README.md there). The repository is made before the first step: a token that may not is HUB_REFUSED then. What goes wrong
 * afterwards is said, with the command that sends them later, and the run ends as ever. A run that was stopped sends nothing. Needs Node.
 */
export const pushToHub = (folder: string, { repository, token, settings, card = {}, pause }: PushToHubOptions = {}) => {
  const name = repository ?? repositoryFor(folder);
  const later = `steploom push ${quoted(folder)} --hub_model_id ${name}`;
  const cardOf = async (model: Model, steps: number): Promise<string> => {
    const training = { ...card.training, steps };
    return modelCard({
      ...card,
      name: runName(folder),
      family: familyOfModel(model.modules),
      pictures: await picturesIn(folder),
      training,
    });
  };
  return {
    name: 'push-to-hub',
    requires: ['save-lora'],
    after: ['samples', 'summary'],
    apply(host: Host) {
      const { hooks, warn, isFirstRank } = host;
      let target: PushTarget | null = null;
      const reach = async () => {
        target ??= await pushTarget(name, { settings: await settingsWith(token, settings), ...(pause ? { pause } : {}) });
        return target;
      };
      hooks.validate.tapPromise(async (problems) => {
        const found = isFirstRank() ? unfit(await settingsWith(token, settings)) : null;
        if (found) problems.add('HUB_REFUSED', 'push-to-hub', `nothing can be sent to the hub: ${found[0]}`, found[1]);
      });
      hooks.onStart.tapPromise(async () => {
        if (!isFirstRank()) return;
        await reach().catch((error: unknown) => {
          if (error instanceof SteploomError && error.code === 'HUB_FAILED')
            return warn(`${messageOf(error)}: it is tried again when the run ends`);
          throw error;
        });
      });
      hooks.onEnd.tapPromise(async ({ step, stopped }) => {
        if (!isFirstRank()) return;
        const path = join(folder, CARD_FILE);
        await writeAtomically(path, await cardOf(host.model(), step));
        host.wrote(path);
        if (stopped && host.stopAsked()) return warn(`the run was stopped: nothing is sent to the hub. ${later} sends what there is`);
        try {
          const { page } = await reach().then(async (there) => {
            await pushFolder(folder, there, `Adapters after step ${step}`);
            return there;
          });
          host.wrote(page);
        } catch (error) {
          warn(`${messageOf(error)} Everything is kept in ${folder}: ${later} sends it later`);
        }
      });
    },
  };
};
