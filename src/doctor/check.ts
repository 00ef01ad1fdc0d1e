/** One line of `system doctor`, and what the checks share. */
import { existsSync, readFileSync } from 'node:fs';
import type { Roots } from '../state/paths.ts';

/** The names are the same on every host; a check may give several lines of one name. */
export interface Check {
  readonly name: string;
  readonly state: 'pass' | 'warn' | 'fail';
  readonly detail: string;
  /** A command that helps; a sentence where none can. */
  readonly fix?: string;
}

export interface Examined {
  readonly roots: Roots;
  /** Name of the default network and of its bridge. */
  readonly network: string;
}

export const pass = (name: string, detail: string): Check => ({ name, state: 'pass', detail });
export const warn = (name: string, detail: string, fix?: string): Check => ({
  name,
  state: 'warn',
  detail,
  ...withFix(fix),
});
export const fail = (name: string, detail: string, fix?: string): Check => ({
  name,
  state: 'fail',
  detail,
  ...withFix(fix),
});
const withFix = (fix: string | undefined) => (fix === undefined ? {} : { fix });

export const isRoot = () => process.getuid?.() === 0;

/** For what only root can try or read. */
export const notTried = (name: string): Check => warn(name, 'not tried: not root', 'sudo minict system doctor');

/** A one-line file of /proc or /sys; undefined where it is not there. */
export function readSetting(path: string): string | undefined {
  return existsSync(path) ? readFileSync(path, 'utf8').trim() : undefined;
}

export function atLeast(version: string, [major, minor]: readonly [number, number]): boolean {
  const [, foundMajor, foundMinor] = /(\d+)\.(\d+)/.exec(version) ?? [];
  return Number(foundMajor) > major || (Number(foundMajor) === major && Number(foundMinor) >= minor);
}
