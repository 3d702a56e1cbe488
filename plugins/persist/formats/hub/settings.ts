import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** Where the hub is, and what of it is kept: what Python's huggingface_hub reads from the environment. */
export interface HubSettings {
  /** HF_ENDPOINT; https://huggingface.co by default. */
  readonly endpoint: string;
  /** HF_HOME; ~/.cache/huggingface by default. */
  readonly home: string;
  /** HF_HUB_CACHE, else hub/ in HF_HOME, which is ~/.cache/huggingface by default. */
  readonly cache: string;
  /** HF_TOKEN, else what stands in HF_TOKEN_PATH, which is token in HF_HOME by default; undefined where there is none. */
  readonly token?: string | undefined;
  /** HF_HUB_OFFLINE: only what is kept is used. */
  readonly offline: boolean;
}

const isTrue = (value: string | undefined): boolean => ['1', 'ON', 'YES', 'TRUE'].includes((value ?? '').toUpperCase());

/** The settings that the environment says. */
export async function hubSettings(env: Readonly<Record<string, string | undefined>> = process.env): Promise<HubSettings> {
  const place = (path: string) => (path === '~' || path.startsWith('~/') ? join(homedir(), path.slice(1)) : path);
  const home = place(env.HF_HOME || join(env.XDG_CACHE_HOME || '~/.cache', 'huggingface'));
  const inFile = () => readFile(place(env.HF_TOKEN_PATH || join(home, 'token')), 'utf8').catch(() => '');
  return {
    endpoint: (env.HF_ENDPOINT || 'https://huggingface.co').replace(/\/+$/, ''),
    home,
    cache: place(env.HF_HUB_CACHE || env.HUGGINGFACE_HUB_CACHE || join(home, 'hub')),
    token: (env.HF_TOKEN || env.HUGGING_FACE_HUB_TOKEN || (await inFile())).trim() || undefined,
    offline: isTrue(env.HF_HUB_OFFLINE),
  };
}
