/**
 * What an image says of the programs in it, with what the user says instead, as docker combines the two: `Entrypoint` stays
 * before the user's words, `Cmd` gives way to them. Pure.
 */
import { InvalidInputError } from '../errors.ts';
import type { ContainerSpec } from '../spec/container.ts';
import { parseSignal } from '../spec/signal.ts';
import type { Image } from './store.ts';

export interface GivenSettings {
  readonly words: readonly string[];
  readonly entrypoint: string | undefined;
  readonly env: Readonly<Record<string, string>>;
  readonly user: string | undefined;
  readonly workdir: string | undefined;
  readonly stopSignal: string | undefined;
  readonly labels: Readonly<Record<string, string>>;
  /** Services stand in place of the image's own command. */
  readonly hasServices: boolean;
  /** Where neither says what to run. */
  readonly fallback: readonly string[];
}

type Settings = Pick<ContainerSpec, 'command' | 'env' | 'user' | 'workdir' | 'stopSignal' | 'labels' | 'exposedPorts'>;

function commandOf(image: Image['settings'], { words, entrypoint, hasServices, fallback }: GivenSettings): string[] {
  if (entrypoint !== undefined) return [...(entrypoint === '' ? [] : [entrypoint]), ...words];
  if (hasServices && words.length === 0) return [];
  const command = [...(image.Entrypoint ?? []), ...(words.length > 0 ? words : (image.Cmd ?? []))];
  return command.length > 0 ? command : [...fallback];
}

function environmentOf(image: Image['settings']): Record<string, string> {
  return Object.fromEntries(
    (image.Env ?? []).flatMap((entry) => {
      const at = entry.indexOf('=');
      return at > 0 ? [[entry.slice(0, at), entry.slice(at + 1)] as const] : [];
    }),
  );
}

/** Throws InvalidInputError for one that is none. */
function checkStopSignal(given: string | undefined, image: Image['settings']): void {
  try {
    const signal = given ?? image.StopSignal;
    if (signal) parseSignal(signal);
  } catch (error) {
    if (given !== undefined) throw error;
    throw new InvalidInputError(
      `cannot use the image: its StopSignal ${JSON.stringify(image.StopSignal)} is no signal`,
      {
        hint: '--stop-signal TERM',
      },
    );
  }
}

/** Throws InvalidInputError. */
export function combineSettings(image: Image['settings'], given: GivenSettings): Settings {
  const user = given.user ?? (image.User || undefined);
  const workdir = given.workdir ?? (image.WorkingDir || undefined);
  const stopSignal = given.stopSignal ?? (image.StopSignal || undefined);
  checkStopSignal(given.stopSignal, image);
  const labels = { ...image.Labels, ...given.labels };
  const exposedPorts = Object.keys(image.ExposedPorts ?? {});
  return {
    command: commandOf(image, given),
    env: { ...environmentOf(image), ...given.env },
    ...(user === undefined ? {} : { user }),
    ...(workdir === undefined || workdir === '/' ? {} : { workdir }),
    ...(stopSignal === undefined ? {} : { stopSignal }),
    ...(Object.keys(labels).length === 0 ? {} : { labels }),
    ...(exposedPorts.length === 0 ? {} : { exposedPorts }),
  };
}

function isPart(entry: string): boolean {
  return entry.indexOf('=') > 0 && !entry.includes('\0');
}

function mergeEnv(below: readonly string[], own: readonly string[]): string[] {
  const pairs = [...below, ...own].filter(isPart).map((entry) => [entry.slice(0, entry.indexOf('=')), entry] as const);
  return [...new Map(pairs).values()];
}

/** As docker does it: words of the image below are for its own entry point. */
export function mergeSettings(below: Image['settings'], own: Image['settings']): Image['settings'] {
  const env = mergeEnv(below.Env ?? [], own.Env ?? []);
  const command = own.Cmd ?? (own.Entrypoint ? undefined : below.Cmd);
  const merged = {
    ...below,
    ...own,
    Env: env,
    Cmd: command,
    Labels: { ...below.Labels, ...own.Labels },
    ExposedPorts: { ...below.ExposedPorts, ...own.ExposedPorts },
    Volumes: { ...below.Volumes, ...own.Volumes },
  };
  const isEmpty = (value: unknown) => value == null || Object.keys(value as object).length === 0;
  return Object.fromEntries(Object.entries(merged).filter(([, value]) => !isEmpty(value)));
}
